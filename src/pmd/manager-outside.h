/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "pmd/pmd-forward.h"

/* What the service manager does to all apps. */

int manager_watch_systemd(Manager *m);
void manager_set_stopping(Manager *m, bool stopping);
/* The connection to it is lost: what ends waits for the next pmd, which has one again. */
void manager_hold_without_systemd(Manager *m);
const char *manager_hold_reason(const Manager *m); /* NULL: what ends is started again */
