/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/event-log.h"
#include "pmd/manager.h"
#include "pmd/process-history.h"
#include "pmd/process.h"
#include "shared/bus-util.h"
#include "shared/pmd-protocol.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define TARGETS_MAX 4096U
#define TARGET_LENGTH_MAX 4096U

int bus_request_set_error(sd_bus_error *reterr, int error) {
        switch (error) {
        case -ESHUTDOWN:
                return sd_bus_error_set(reterr, PMD_ERROR_EXITING, "pmd is stopping all apps and about to exit.");
        case -EBUSY:
                return sd_bus_error_set(reterr, PMD_ERROR_TOO_MANY_JOBS,
                                        "Too many requests wait for this app already. Try again when some have ended.");
        default:
                return sd_bus_error_set_errno(reterr, error);
        }
}

int bus_request_no_such_process(sd_bus_error *reterr, unsigned id) {
        return sd_bus_error_setf(reterr, PMD_ERROR_NO_SUCH_PROCESS, "There is no process %u.", id);
}

/* ---- who asks ---- */

int bus_request_authorize(Manager *m, sd_bus_message *message, const char *action, uid_t *ret_uid,
                          sd_bus_error *reterr) {
        return bus_polkit_check(m->bus_face->polkit, message, action, NULL, (uid_t) -1, ret_uid, reterr);
}

int bus_request_authorize_owner(Manager *m, sd_bus_message *message, uid_t owner, sd_bus_error *reterr) {
        return bus_polkit_check(m->bus_face->polkit, message, PMD_ACTION_READ_ENVIRONMENT, NULL, owner, NULL, reterr);
}

/* Who sits at the other end of a socket of ours is known; of a sender on the bus only the uid is, asking for more would make us wait. */
static pid_t sender_pid(sd_bus_message *message) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        pid_t pid;

        if (sd_bus_message_get_sender(message) || sd_bus_get_owner_creds(sd_bus_message_get_bus(message), SD_BUS_CREDS_PID, &creds) < 0)
                return 0;
        return sd_bus_creds_get_pid(creds, &pid) < 0 ? 0 : pid;
}

void bus_request_log(Manager *m, sd_bus_message *message, uid_t uid, JobVerb verb, Process *const *processes, size_t n) {
        const char *word = job_verb_to_string(verb);
        Requester by = requester_make(uid, sender_pid(message));

        for (size_t i = 0; i < n; i++) {
                if (i == 0 || processes[i]->app != processes[i - 1]->app)
                        event_log_request(m, word, processes[i]->app->name, &by);
                process_history_request(processes[i], word, &by);
        }
}

void bus_request_log_app(Manager *m, sd_bus_message *message, uid_t uid, JobVerb verb, const App *a) {
        const char *word = job_verb_to_string(verb);
        Requester by = requester_make(uid, sender_pid(message));

        event_log_request(m, word, a->name, &by);
        LIST_FOREACH(siblings, p, a->processes)
                process_history_request(p, word, &by);
}

void bus_request_note_signal(sd_bus_message *message, uid_t uid, int signo, Process *const *processes, size_t n) {
        _cleanup_free_ char *what = strjoin("the signal ", signal_to_string(signo));
        Requester by = requester_make(uid, sender_pid(message));

        for (size_t i = 0; what && i < n; i++)
                process_history_request(processes[i], what, &by);
}

/* ---- what is asked ---- */

/* The strings belong to the message. */
static int read_target_strings(sd_bus_message *message, char ***ret, sd_bus_error *reterr) {
        _cleanup_free_ char **targets = NULL;
        size_t n = 0, allocated = 0;
        const char *s;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read_basic(message, 's', &s)) > 0) {
                if (n >= TARGETS_MAX)
                        return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "More than %u targets.",
                                                 TARGETS_MAX);
                if (strlen(s) > TARGET_LENGTH_MAX)
                        return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "A target is longer than %u bytes.",
                                                 TARGET_LENGTH_MAX);
                if (!GREEDY_REALLOC(targets, allocated, n + 2))
                        return -ENOMEM;
                targets[n++] = (char *) s;
                targets[n] = NULL;
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(targets);
        return 0;
}

int bus_request_read_targets(Manager *m, sd_bus_message *message, bool none_is_all, Process ***ret, size_t *ret_n,
                             sd_bus_error *reterr) {
        _cleanup_free_ char **targets = NULL;
        const char *unknown = NULL;
        int r;

        r = read_target_strings(message, &targets, reterr);
        if (r < 0)
                return r;
        if (strv_isempty(targets)) {
                Process **all;

                if (!none_is_all)
                        return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "No targets.");
                all = new(Process *, m->n_processes);
                if (!all)
                        return -ENOMEM;
                if (m->n_processes > 0)
                        memcpy(all, m->processes, m->n_processes * sizeof(Process *));
                *ret = all;
                *ret_n = m->n_processes;
                return 0;
        }

        r = manager_resolve_targets(m, targets, ret, ret_n, &unknown);
        if (r == -ENOENT)
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_SUCH_PROCESS,
                                         "No process, app or namespace answers to '%s'.", strempty(unknown));
        if (r == -E2BIG)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS,
                                         "The regular expression '%s' repeats too much, or refers back to a group; use a simpler one.", strempty(unknown));
        if (r == -EINVAL)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "'%s' is no valid regular expression.",
                                         strempty(unknown));
        return r;
}

int bus_request_read_options(sd_bus_message *message, const char *const *known, json_object **ret,
                             sd_bus_error *reterr) {
        json_object *options;
        int r;

        r = bus_message_read_json_dict(message, &options);
        if (r == -EINVAL || r == -E2BIG)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "The options are malformed.");
        if (r < 0)
                return r;

        json_object_object_foreach(options, key, value) {
                (void) value;
                if (strv_contains((char *const *) known, key) || streq(key, "token")) /* for request-journal.c */
                        continue;
                r = sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "Unknown option '%s'.", key);
                json_object_put(options);
                return r;
        }

        *ret = options;
        return 0;
}

int bus_request_read_signal(sd_bus_message *message, bool *ret_whole_unit, int *ret_signo, sd_bus_error *reterr) {
        const char *whom;
        int r, signo;

        r = sd_bus_message_read(message, "si", &whom, &signo);
        if (r < 0)
                return r;
        if (!streq(whom, "main") && !streq(whom, "all"))
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "Whom must be \"main\" or \"all\".");
        if (!signal_to_string(signo))
                return sd_bus_error_setf(reterr, PMD_ERROR_INVALID_SIGNAL, "%d is no signal.", signo);

        *ret_whole_unit = streq(whom, "all");
        *ret_signo = signo;
        return 0;
}

/* ---- what is done ---- */

int bus_request_send_signal(Process *const *processes, size_t n, bool whole_unit, int signo, uint32_t **ret_ids,
                            size_t *ret_n, sd_bus_error *reterr) {
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n_ids = 0;
        int r, error = 0;

        ids = new(uint32_t, n);
        if (!ids)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                r = process_signal(processes[i], signo, whole_unit);
                if (r >= 0)
                        ids[n_ids++] = processes[i]->id;
                else if (r != -ESRCH)
                        RET_GATHER(error, r);
        }

        if (n_ids == 0)
                return error < 0 ? sd_bus_error_set_errno(reterr, error) :
                       n == 1    ? sd_bus_error_set(reterr, PMD_ERROR_NOT_RUNNING, "The process does not run.") :
                                   sd_bus_error_set(reterr, PMD_ERROR_NOT_RUNNING, "None of the processes runs.");

        *ret_ids = TAKE_PTR(ids);
        *ret_n = n_ids;
        return 0;
}

int bus_request_reply_job(Manager *m, sd_bus_message *message, JobVerb verb, Process *const *processes, size_t n,
                          sd_bus_error *reterr) {
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n_ids;
        uid_t uid;
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        if (n == 0)
                return sd_bus_error_set(reterr, PMD_ERROR_NO_SUCH_PROCESS, "The app has no processes.");

        bus_request_log(m, message, uid, verb, processes, n);
        r = manager_enqueue_jobs(m, verb, processes, n, &ids, &n_ids);
        if (r < 0)
                return bus_request_set_error(reterr, r);
        return sd_bus_reply_method_return(message, "u", ids[0]);
}

int bus_request_reply_u32_array(sd_bus_message *message, const uint32_t *values, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', values, n * sizeof(uint32_t));
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}
