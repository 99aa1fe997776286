/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "pmd/process-history.h"
#include "shared/log.h"
#include "shared/string-util.h"

static void add(Process *p, const HistoryEvent *e) {
        if (event_history_add(&p->events, e, now(CLOCK_REALTIME), NULL) < 0)
                log_oom();
}

static char *describe_failure(const Process *p) {
        if (p->last_exit.reason == EXIT_REASON_EXEC_FAILED)
                return process_failure_message(p);
        return p->start_fault ? strdup(p->start_fault) : strprintf("No process could be made for it: %s", strerror(-p->spawn_error));
}

static void decide(Process *p, EventDecision decision, const char *text) {
        if (event_history_decide(&p->events, decision, text) < 0)
                log_oom();
}

static void add_exit(Process *p) {
        const LastExit *x = &p->last_exit;
        bool failed = IN_SET(x->reason, EXIT_REASON_EXEC_FAILED, EXIT_REASON_SPAWN_FAILED);
        _cleanup_free_ char *message = failed ? describe_failure(p) : NULL;
        HistoryEvent e = {
                .kind = failed ? EVENT_FAILED : EVENT_EXITED,
                .code = x->code,
                .signal = x->signal,
                .ran = usec_sub(now(CLOCK_MONOTONIC), p->started_monotonic),
                .text = message,
        };

        (void) snprintf(e.reason, sizeof e.reason, "%s", exit_reason_to_string(x->reason));
        add(p, &e);

        /* What it does then is no matter of the restart policy. */
        if (p->goal == PROCESS_DOWN)
                decide(p, EVENT_DECISION_STAY_DOWN, "it was to stop");
        else if (p->restart_wanted)
                decide(p, EVENT_DECISION_RESTART, "it was to be restarted");
}

static void add_oom_kill(Process *p) {
        _cleanup_free_ char *text = process_oom_describe(p);

        add(p, &(HistoryEvent) { .kind = EVENT_OOM_KILL, .code = -1, .text = text });
}

void process_history_changed(Process *p, ProcessField changed) {
        if (changed & PROCESS_FIELD_OOM_KILL)
                add_oom_kill(p);
        if (changed & PROCESS_FIELD_EXIT)
                add_exit(p);
        if (!(changed & PROCESS_FIELD_STATUS))
                return;

        switch (p->state) {
        case PROCESS_SPAWNING:
                return decide(p, EVENT_DECISION_RESTART, p->restart_reason);
        case PROCESS_BACKOFF:
                return decide(p, EVENT_DECISION_RESTART_LATER, p->restart_reason);
        case PROCESS_ERRORED:
                return decide(p, EVENT_DECISION_GIVE_UP, p->restart_reason);
        case PROCESS_STOPPED:
                return decide(p, EVENT_DECISION_STAY_DOWN, p->restart_reason);
        default:
                return;
        }
}

void process_history_request(Process *p, const char *what, const Requester *by) {
        HistoryEvent e = { .kind = EVENT_REQUESTED, .code = -1, .text = (char *) what, .uid = by->uid, .pid = (uint32_t) by->pid };

        static_assert(sizeof(e.command) == sizeof(by->command), "the same name");
        memcpy(e.command, by->command, sizeof(e.command));
        add(p, &e);
        p->host->changed(p, PROCESS_FIELD_EVENTS);
}

void process_history_trigger(Process *p, const char *what) {
        add(p, &(HistoryEvent) { .kind = EVENT_TRIGGERED, .code = -1, .text = (char *) what });
}

void process_history_reload_failed(Process *p, const char *why) {
        add(p, &(HistoryEvent) { .kind = EVENT_RELOAD_FAILED, .code = -1, .text = (char *) why });
        p->host->changed(p, PROCESS_FIELD_EVENTS);
}
