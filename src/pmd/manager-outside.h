/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "pmd/pmd-forward.h"

/* What the service manager does to all apps. */

int manager_watch_systemd(Manager *m);
void manager_set_stopping(Manager *m, bool stopping);
