/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/process.h"
#include "pmd/requester.h"

/* What happens to processes, as entries of the journal that can be found again (shared/pmd-messages.h), or as lines of pmd's own log where
 * there is no journal. */

void event_log_process(Process *p, ProcessField changed);

/* The kernel has killed one of its processes, see last_oom_kill. */
void event_log_oom_kill(Process *p);

/* Somebody asked for it; pid 0: it is not known who. app NULL: all. */
void event_log_request(Manager *m, const char *verb, const char *app, const Requester *by);

/* The app's log was emptied: "pmctl logs" shows nothing that is older. */
void event_log_flushed(Manager *m, const char *app);
