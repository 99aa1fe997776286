/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* Restores the saved list if this is pmd's first start since the machine (or the container) came up, and either
 * resurrect says so or the service manager has pmd.service enabled. Failures are logged. */
void manager_boot(Manager *m, bool resurrect);

/* The mark by which the next start knows that there was one, if it is gone. */
void manager_boot_remember(Manager *m);

/* The service manager ends pmd: its next start is like the first. */
void manager_boot_forget(Manager *m);
