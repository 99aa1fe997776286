/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "pmd/job.h"
#include "pmd/pmd-forward.h"

/* What the methods of the three interfaces have in common. Each function sets reterr where it returns a negative
 * errno. */

/* Whether the sender may do that, a PMD_ACTION_… of bus-polkit.h. 1: yes, with the sender's uid in ret_uid (may be
 * NULL). 0: not known yet; the handler returns 1 and is called again for the same message, so it must not have
 * changed anything. */
int bus_request_authorize(Manager *m, sd_bus_message *message, const char *action, uid_t *ret_uid,
                          sd_bus_error *reterr);

/* Whether the sender may read the environment of an owner's apps; the same results. */
int bus_request_authorize_owner(Manager *m, sd_bus_message *message, uid_t owner, sd_bus_error *reterr);

/* Notes in the log who asked for it, and in the history of the processes, which are ordered by app. */
void bus_request_log(Manager *m, sd_bus_message *message, uid_t uid, JobVerb verb, Process *const *processes, size_t n);
/* The same for all processes of an app. */
void bus_request_log_app(Manager *m, sd_bus_message *message, uid_t uid, JobVerb verb, const App *a);
/* In the history only. */
void bus_request_note_signal(sd_bus_message *message, uid_t uid, int signo, Process *const *processes, size_t n);

/* Reads an array of operands and looks up what they mean. none_is_all: an empty array is "all", else an error. */
int bus_request_read_targets(Manager *m, sd_bus_message *message, bool none_is_all, Process ***ret, size_t *ret_n,
                             sd_bus_error *reterr);

/* Reads options of which only those in known (NULL-terminated) are allowed. New reference. */
int bus_request_read_options(sd_bus_message *message, const char *const *known, json_object **ret,
                             sd_bus_error *reterr);

/* Reads "whom" and a signal. */
int bus_request_read_signal(sd_bus_message *message, bool *ret_whole_unit, int *ret_signo, sd_bus_error *reterr);

/* Sends it to the processes that run. The ids of those that got it are new memory; NotRunning if there are none. */
int bus_request_send_signal(Process *const *processes, size_t n, bool whole_unit, int signo, uint32_t **ret_ids,
                            size_t *ret_n, sd_bus_error *reterr);

/* Authorises, makes a job for these processes of one app and replies with its number. A handler returns what this
 * returns. */
int bus_request_reply_job(Manager *m, sd_bus_message *message, JobVerb verb, Process *const *processes, size_t n,
                          sd_bus_error *reterr);

/* Turns what the manager's requests return into an error with a name. */
int bus_request_set_error(sd_bus_error *reterr, int error);

int bus_request_no_such_process(sd_bus_error *reterr, unsigned id);

int bus_request_reply_u32_array(sd_bus_message *message, const uint32_t *values, size_t n);
