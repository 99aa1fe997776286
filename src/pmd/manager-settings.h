/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"

/* Reads pmd.conf again; what it says holds for what is started from now on. Faults of the files are logged. 0 or a negative
 * errno, the settings as they were then. */
int manager_load_settings(Manager *m);

/* What takes effect at the start only. */
void manager_use_settings_of_start(Manager *m);
