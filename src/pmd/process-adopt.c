/* SPDX-License-Identifier: MIT */
#include "pmd/process-run-internal.h"

#include "pmd/app-sockets.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "shared/log.h"

/* The pidfd of the store is good even when the process has been reaped; without it only a live process can be found. */
static int adopt_main(Process *p, const ProcessRemains *remains, int fd) {
        if (fd < 0)
                return pidref_reopen(&p->main, remains->pid, remains->pid_start_time, remains->pid_id);

        p->main = (PidRef) { remains->pid, fd, remains->pid_start_time, remains->pid_id };
        return 0;
}

static void adopt_stream(Process *p, LogStreamKind kind, int fd) {
        int r;

        if (fd < 0)
                return; /* it was at its end, or goes nowhere */

        r = process_follow_stream(p, kind, fd);
        if (r >= 0)
                r = log_relay_set_pid(p->manager->log_relay, p->streams[kind], p->main.pid, p->unit->name);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the output of process %u, ignoring: %m", p->id);
}

static int adopt_incarnation(Process *p, const ProcessRemains *remains) {
        int stored[_STORED_FD_MAX], r, k;

        r = process_make_unit(p);
        if (r < 0)
                return r;
        r = runner_unit_adopt(p->unit, remains->cgroup, remains->invocation_id);
        if (r < 0)
                return r;
        process_take_incarnation(p, stored);
        k = adopt_main(p, remains, stored[STORED_PIDFD]);
        adopt_stream(p, LOG_STREAM_OUT, stored[STORED_OUT]);
        adopt_stream(p, LOG_STREAM_ERR, stored[STORED_ERR]);
        process_adopt_input(p);
        process_adopt_channel(p);
        process_oom_resume(p);
        if (k < 0)
                return k;

        r = process_adopt_notify(p);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the notification socket of process %u, ignoring: %m", p->id);

        return process_watch_main(p);
}

static void drain(Process *p) {
        if (p->unit) {
                p->host->drain(p);
                return;
        }
        p->unit_empty = true;
        process_check_drained(p);
}

/* Nothing of the app ran yet: what was begun is begun again, without counting as a restart. */
static void begin_again(Process *p) {
        log_debug("Process %u was being started, beginning again.", p->id);

        p->state = PROCESS_DRAINING;
        p->restart_wanted = p->goal == PROCESS_UP;
        drain(p);
}

/* A main process that lived when pmd ended is found again, or is gone. */
static void adopt_running(Process *p, const ProcessRemains *remains) {
        bool spawning = p->state == PROCESS_SPAWNING;
        int r;

        r = remains->pid > 0 ? adopt_incarnation(p, remains) : -ESRCH;
        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Failed to take over process %u, taking it for ended: %m", p->id);

        if (r < 0 && spawning && !p->gate_opened) {
                begin_again(p);
                return;
        }
        if (r < 0) {
                p->last_exit = (LastExit) { -1, 0, EXIT_REASON_UNKNOWN };
                process_event(p, PROCESS_EVENT_EXITED);
                return;
        }
        if (!spawning)
                return;
        p->gate_unsure = true;
        if (p->role == PROCESS_CURRENT)
                process_write_pid_file(p);
        process_event(p, PROCESS_EVENT_EXEC_OK);
}

static usec_t timer_due(const Process *p) {
        if (p->timer != PROCESS_TIMER_NONE)
                return p->timer_at;
        return p->state == PROCESS_BACKOFF ? 0 : USEC_INFINITY;
}

void process_adopt(Process *p, ProcessState state, const ProcessRemains *remains) {
        p->state = state;
        app_adopt_sockets(p);
        if (p->timer == PROCESS_TIMER_READY) /* nobody has answered its requests, or heard that it is ready */
                p->timer_at = MAX(p->timer_at, usec_add(p->host->now(p), p->config->listen_timeout));
        p->host->arm_timer(p, timer_due(p));

        if (process_is_running(p))
                adopt_running(p, remains);
        else if (state == PROCESS_DRAINING) {
                if (remains->pid > 0 && adopt_incarnation(p, remains) >= 0)
                        process_unwatch_main(p);
                drain(p);
        }

        if (p->state == PROCESS_STARTING && p->listening && !p->config->wait_ready && !p->config->notify)
                process_event(p, PROCESS_EVENT_READY);

        process_update_watchdog(p);
        process_mark_new(p);
}
