/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/app-config.h"
#include "shared/macro.h"
#include "shared/time-util.h"

/* What restarts an app besides an exit and a request: a file that changes, the time, and too much memory. Each of them ends in a job like
 * any other, which says why in RestartReason. */

int triggers_new(Manager *m, Triggers **ret);
Triggers *triggers_free(Triggers *t); /* no app is left */
DEFINE_CLEANUP_FUNC(Triggers *, triggers_free);

/* What the objects tell. */
void app_triggers_process_added(Process *p);
void app_triggers_process_changed(Process *p); /* its state */
void app_triggers_stop(Process *p);            /* a stop was asked for, which ends watching too, as in pm2 */
void app_triggers_done(App *a);

/* The definition of p is another one now. Who was told to stop watching, or to begin, stays so unless the definitions differ in that. */
void app_triggers_reconfigure(Process *p, const AppConfig *before);

/* What its definition says counts again, whatever was told since. */
void app_triggers_follow_definition(Process *p);

/* As "restart --watch" does. */
void app_triggers_toggle_watch(Process *p);

typedef enum WatchState {
        WATCH_STATE_OFF,
        WATCH_STATE_ON,
        WATCH_STATE_DEGRADED, /* not all of it: process_watch_fault() says why */
        _WATCH_STATE_MAX,
        _WATCH_STATE_INVALID = -EINVAL,
} WatchState;

const char *watch_state_to_string(WatchState s);
WatchState watch_state_from_string(const char *s);

WatchState process_watch_state(const Process *p);
const char *process_watch_fault(const Process *p); /* "" if there is none */

/* When cron restarts it next, CLOCK_REALTIME; 0: never. */
usec_t process_next_run(const Process *p);
