/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"

/* The runtime directory: the lock that tells other pmds that this one serves, and a watch over both and the socket. Somebody may remove them, by
 * accident or with a cleaner of old files; then all is made anew, so that clients find this pmd, and no second one is started beside. */

/* The directories must be there. 0, -EBUSY if another pmd serves, or another negative errno; it has been logged. */
int manager_take_lock(Manager *m);

/* Once the socket is there. */
int manager_watch_runtime(Manager *m);
/* What goes to a log that was removed goes to a new one. */
void manager_repair_log(const Manager *m);
void manager_unwatch_runtime(Manager *m);
