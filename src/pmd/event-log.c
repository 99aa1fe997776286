/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "pmd/app.h"
#include "pmd/event-bus.h"
#include "pmd/event-log.h"
#include "pmd/manager.h"
#include "pmd/runner.h"
#include "shared/log-json.h"
#include "shared/log.h"
#include "shared/pmd-messages.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"

/* Fields are gathered as text; the first error is kept, and the entry not sent. */
typedef struct Event {
        LogJson fields;
        int r;
} Event;

static void add(Event *e, const char *name, const char *value) {
        RET_GATHER(e->r, log_json_add_field(&e->fields, name, strempty(value), strlen(strempty(value))));
}

static void addf(Event *e, const char *name, const char *format, ...) _printf_(3, 4);
static void addf(Event *e, const char *name, const char *format, ...) {
        char *value;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&value, format, ap);
        va_end(ap);
        if (n < 0) {
                e->r = -ENOMEM;
                return;
        }
        add(e, name, value);
        free(value);
}

/* The text goes to where pmd's own messages go, unless that is the journal: there it is in the entry. */
static void send_event(Manager *m, Event *e, int priority, const char *id, const char *text) {
        int r = e->r;

        event_bus_own_line(m, text);
        if (!m->log_to_journal)
                (void) log_full_errno(priority, 0, "%s", text);
        else {
                add(e, "MESSAGE", text);
                add(e, "MESSAGE_ID", id);
                addf(e, "PRIORITY", "%d", priority);
                add(e, "SYSLOG_IDENTIFIER", "pmd");
                r = e->r;
                if (r >= 0)
                        r = log_relay_send_event(m->log_relay, e->fields.fields, e->fields.n_fields);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to log an event, ignoring: %m");
        log_json_done(&e->fields);
}

/* ---- processes ---- */

static void send_process(Process *p, Event *e, int priority, const char *id, const char *what, const char *reason) {
        _cleanup_free_ char *text = NULL;

        text = strprintf("Process %u (%s) %s%s%s", p->id, p->app->name, what, reason ? ": " : ".", strempty(reason));
        if (!text)
                e->r = -ENOMEM;

        add(e, "PM_APP", p->app->name);
        addf(e, "PM_ID", "%u", p->id);
        addf(e, "PM_INSTANCE", "%u", p->instance);
        add(e, "PM_NAMESPACE", p->config->name_space);
        addf(e, "PM_RESTARTS", "%u", p->n_restarts);
        if (reason)
                add(e, "PM_REASON", reason);
        if (p->unit)
                add(e, "PM_UNIT", p->unit->name);
        if (p->main.pid > 0 && p->manager->uid == 0)
                addf(e, "OBJECT_PID", "%d", (int) p->main.pid);
        send_event(p->manager, e, priority, id, strempty(text));
}

static char *describe_exit(const Process *p) {
        const LastExit *x = &p->last_exit;
        const char *signal = x->signal != 0 ? signal_to_string(x->signal) : NULL;

        switch (x->reason) {
        case EXIT_REASON_EXITED:
                return strprintf("it exited with code %d", x->code);
        case EXIT_REASON_SIGNAL:
                return strprintf("it was killed by %s", strna(signal));
        case EXIT_REASON_CORE_DUMP:
                return strprintf("it was killed by %s and dumped core", strna(signal));
        case EXIT_REASON_OOM_KILL:
                return process_oom_describe(p);
        case EXIT_REASON_KILL_TIMEOUT:
                return strdup("it did not end within its kill timeout and was killed");
        case EXIT_REASON_EXEC_FAILED:
                return strdup("its program could not be executed");
        case EXIT_REASON_SPAWN_FAILED:
                return strdup("it could not be started");
        default:
                return strdup("nobody could see how");
        }
}

static void add_oom_kill(Event *e, const Process *p) {
        const OomKill *k = &p->last_oom_kill;

        if (k->pid > 0) {
                addf(e, "PM_OOM_PID", "%d", (int) k->pid);
                add(e, "PM_OOM_NAME", k->name);
        }
        if (k->limit != UINT64_MAX)
                addf(e, "PM_OOM_LIMIT", "%" PRIu64, k->limit);
        if (k->peak != UINT64_MAX)
                addf(e, "PM_OOM_PEAK", "%" PRIu64, k->peak);
}

void event_log_oom_kill(Process *p) {
        _cleanup_free_ char *reason = process_oom_describe(p);
        Event e = {};

        add_oom_kill(&e, p);
        send_process(p, &e, LOG_WARNING, PMD_MESSAGE_OOM_KILL_STR, "has run out of memory", strempty(reason));
}

static void send_exit(Process *p) {
        static const char *const ends[_PROCESS_ROLE_MAX] = {
                [PROCESS_CURRENT] = "has ended",
                [PROCESS_SUCCESSOR] = "is not reloaded, the new process has ended",
                [PROCESS_RETIRED] = "runs on, the process beside it has ended",
        };
        const LastExit *x = &p->last_exit;
        _cleanup_free_ char *reason = describe_exit(p);
        bool wanted = p->goal == PROCESS_DOWN || p->restart_wanted;
        Event e = {};

        add(&e, "EXIT_CODE", x->signal == 0 ? "exited" : x->reason == EXIT_REASON_CORE_DUMP ? "dumped" : "killed");
        addf(&e, "EXIT_STATUS", "%d", x->signal ?: x->code);
        add(&e, "PM_EXIT_REASON", exit_reason_to_string(x->reason));
        if (x->reason == EXIT_REASON_OOM_KILL)
                add_oom_kill(&e, p);
        send_process(p, &e, wanted || (x->signal == 0 && x->code == 0) ? LOG_INFO : LOG_WARNING, PMD_MESSAGE_EXITED_STR, ends[p->role],
                     strempty(reason));
}

static void send_state(Process *p) {
        Event e = {};

        /* What ends beside the current one has been told. */
        if (p->role != PROCESS_CURRENT && p->state != PROCESS_ONLINE)
                return;

        switch (p->state) {
        case PROCESS_ONLINE:
                return send_process(p, &e, LOG_INFO, PMD_MESSAGE_STARTED_STR, "is online", NULL);
        case PROCESS_SPAWNING:
                if (p->restart_reason)
                        send_process(p, &e, LOG_INFO, PMD_MESSAGE_RESTART_STR, "is restarted", p->restart_reason);
                return;
        case PROCESS_BACKOFF:
                return send_process(p, &e, LOG_INFO, PMD_MESSAGE_RESTART_STR, "is restarted later", p->restart_reason);
        case PROCESS_ERRORED:
                return send_process(p, &e, LOG_ERR, PMD_MESSAGE_GAVE_UP_STR, "is given up", p->restart_reason ?: "it cannot be started");
        case PROCESS_STOPPED:
                return send_process(p, &e, LOG_INFO, PMD_MESSAGE_STOPPED_STR, "is stopped", p->restart_reason);
        default:
                return;
        }
}

void event_log_process(Process *p, ProcessField changed) {
        if (changed & PROCESS_FIELD_EXIT)
                send_exit(p);
        if (changed & PROCESS_FIELD_STATUS)
                send_state(p);
}

/* ---- requests ---- */

void event_log_request(Manager *m, const char *verb, const char *app, const Requester *by) {
        const char *command = isempty(by->command) ? "unknown program" : by->command;
        _cleanup_free_ char *text = NULL;
        Event e = {};

        text = strprintf("User %u asked for: %s %s (%s, pid %d)", by->uid, verb, app ?: "all", command, (int) by->pid);
        if (app)
                add(&e, "PM_APP", app);
        add(&e, "PM_VERB", verb);
        addf(&e, "PM_REQUEST_UID", "%u", by->uid);
        if (by->pid > 0)
                addf(&e, "PM_REQUEST_PID", "%d", (int) by->pid);
        add(&e, "PM_REQUEST_COMM", by->command);
        send_event(m, &e, LOG_INFO, PMD_MESSAGE_REQUESTED_STR, strempty(text));
}

void event_log_flushed(Manager *m, const char *app) {
        _cleanup_free_ char *text = strjoin("The log of ", app, " was emptied.");
        Event e = {};

        add(&e, "PM_APP", app);
        send_event(m, &e, LOG_NOTICE, PMD_MESSAGE_FLUSHED_STR, strempty(text));
}
