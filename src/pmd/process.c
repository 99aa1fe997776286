/* SPDX-License-Identifier: MIT */
#include "pmd/process.h"

#include "pmd/credentials.h"
#include "shared/log.h"
#include "shared/string-table.h"
#include "shared/string-util.h"

static const char *const process_event_table[_PROCESS_EVENT_MAX] = {
        [PROCESS_EVENT_UP] = "up",
        [PROCESS_EVENT_DOWN] = "down",
        [PROCESS_EVENT_RETIRE] = "retire",
        [PROCESS_EVENT_RESTART] = "restart",
        [PROCESS_EVENT_ATTACHED] = "attached",
        [PROCESS_EVENT_ATTACH_FAILED] = "attach-failed",
        [PROCESS_EVENT_EXEC_OK] = "exec-ok",
        [PROCESS_EVENT_EXEC_FAILED] = "exec-failed",
        [PROCESS_EVENT_READY] = "ready",
        [PROCESS_EVENT_EXITED] = "exited",
        [PROCESS_EVENT_DRAINED] = "drained",
        [PROCESS_EVENT_TIMER] = "timer",
        [PROCESS_EVENT_WATCHDOG] = "watchdog",
};

DEFINE_STRING_TABLE(ProcessEvent, process_event);

static const char *const process_goal_table[_PROCESS_GOAL_MAX] = {
        [PROCESS_DOWN] = "down",
        [PROCESS_UP] = "up",
};

DEFINE_STRING_TABLE(ProcessGoal, process_goal);

static const char *const exit_reason_table[_EXIT_REASON_MAX] = {
        [EXIT_REASON_NONE] = "none",
        [EXIT_REASON_EXITED] = "exited",
        [EXIT_REASON_SIGNAL] = "signal",
        [EXIT_REASON_CORE_DUMP] = "core-dump",
        [EXIT_REASON_OOM_KILL] = "oom-kill",
        [EXIT_REASON_KILL_TIMEOUT] = "kill-timeout",
        [EXIT_REASON_EXEC_FAILED] = "exec-failed",
        [EXIT_REASON_SPAWN_FAILED] = "spawn-failed",
        [EXIT_REASON_WATCHDOG] = "watchdog",
        [EXIT_REASON_UNKNOWN] = "unknown",
};

DEFINE_STRING_TABLE(ExitReason, exit_reason);

static const char *const process_role_table[_PROCESS_ROLE_MAX] = {
        [PROCESS_CURRENT] = "current",
        [PROCESS_SUCCESSOR] = "successor",
        [PROCESS_RETIRED] = "retired",
};

DEFINE_STRING_TABLE(ProcessRole, process_role);

/* How long a successor that is ready has to live before the old incarnation is told to finish. */
#define PROVE_USEC (50 * USEC_PER_MSEC)

void process_init(Process *p, const ProcessHostVTable *host, App *app, AppConfig *config, unsigned id, unsigned instance) {
        *p = (Process) {
                .host = host,
                .app = app,
                .config = app_config_ref(config),
                .id = id,
                .instance = instance,
                .main = PIDREF_NULL,
                .gate_fd = -EBADF,
                .error_fd = -EBADF,
                .last_exit.code = -1,
                .goal = PROCESS_DOWN,
                .state = PROCESS_STOPPED,
                .watching = config->watch,
        };
}

const char *process_status(const Process *p) {
        return process_state_shown(p->state);
}

bool process_is_running(const Process *p) {
        return IN_SET(p->state, PROCESS_SPAWNING, PROCESS_STARTING, PROCESS_ONLINE, PROCESS_STOPPING, PROCESS_KILLING);
}

static void arm(Process *p, ProcessTimer timer, usec_t delay) {
        p->timer = timer;
        p->timer_at = timer == PROCESS_TIMER_NONE ? USEC_INFINITY : usec_add(p->host->now(p), delay);
        p->host->arm_timer(p, p->timer_at);
}

/* The timer that belongs to a state. DRAINING inherits the patience that STOPPING or KILLING has left. */
static void arm_for_state(Process *p) {
        switch (p->state) {

        case PROCESS_STARTING:
                return arm(p, PROCESS_TIMER_READY, p->config->listen_timeout);

        case PROCESS_STOPPING:
        case PROCESS_KILLING:
                return arm(p, PROCESS_TIMER_KILL, p->config->kill_timeout);

        case PROCESS_DRAINING:
                if (p->timer != PROCESS_TIMER_KILL)
                        arm(p, PROCESS_TIMER_KILL, p->config->kill_timeout);
                return;

        default:
                if (p->timer != PROCESS_TIMER_NONE)
                        arm(p, PROCESS_TIMER_NONE, 0);
        }
}

static void process_set_state(Process *p, ProcessState state) {
        log_debug("Process %u: %s → %s", p->id, process_state_to_string(p->state), process_state_to_string(state));

        p->state = state;
        arm_for_state(p);
        p->host->changed(p, PROCESS_FIELD_STATUS);

        if (state == PROCESS_ONLINE) {
                p->reached_online = true;
                p->asked_for = false;
                p->n_spawn_failures = 0;
        }
        if (IN_SET(state, PROCESS_STOPPED, PROCESS_ERRORED, PROCESS_ONLINE, PROCESS_BACKOFF))
                p->host->settled(p);
}

static void take_next_config(Process *p) {
        _cleanup_app_config_unref_ AppConfig *before = NULL;

        if (!p->next_config)
                return;

        before = p->config;
        p->config = TAKE_PTR(p->next_config);
        p->credentials = credentials_unref(p->credentials);
        p->restore_error = 0;
        p->start_fault = mfree(p->start_fault);
        p->host->changed(p, PROCESS_FIELD_CONFIG);
        p->host->reconfigured(p, before);
}

void process_change_config(Process *p, AppConfig *config) {
        app_config_unref(p->next_config);
        p->next_config = app_config_ref(config);
        if (IN_SET(p->state, PROCESS_STOPPED, PROCESS_ERRORED))
                take_next_config(p);
}

#define SPAWN_LATER_MAX_USEC (30 * USEC_PER_SEC)

/* What the machine, or its service manager, is short of now may be there later. Who asked for a start is told instead; but nobody waits for a restart after
 * a crash, by cron, or at boot, and an app is not given up because of a bad moment. */
static bool spawn_later(Process *p) {
        usec_t delay = USEC_PER_SEC << MIN(p->n_spawn_failures, 5U);

        if (p->asked_for ||
            !IN_SET(p->spawn_error, -EAGAIN, -ENOMEM, -EMFILE, -ENFILE, -ENOBUFS, -ENOSPC, -EIO, -ETIMEDOUT, -ECANCELED, -ETXTBSY))
                return false;

        p->n_spawn_failures++;
        p->restart_reason = "no process could be made for it, and that is tried again";
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
        process_set_state(p, PROCESS_BACKOFF);
        arm(p, PROCESS_TIMER_RESTART, MIN(delay, SPAWN_LATER_MAX_USEC));
        return true;
}

static void enter_spawning(Process *p) {
        int r;

        take_next_config(p);

        p->incarnation = MAX(p->last_incarnation, p->peer ? p->peer->last_incarnation : 0) + 1;
        p->last_incarnation = p->incarnation;
        p->restart_wanted = p->restart_granted = p->kill_tried = p->stuck = p->reached_online = p->gate_opened = p->gate_unsure = p->watchdog_missed = false;
        p->start_timed_out = p->listening = p->ready_missed = false;
        p->spawn_error = 0;
        p->spawn_failed_step = SPAWN_STEP_NONE;
        p->started_monotonic = p->host->now(p);
        p->started_realtime = now(CLOCK_REALTIME);
        process_set_state(p, PROCESS_SPAWNING);
        p->host->changed(p, PROCESS_FIELD_START);

        r = p->host->spawn(p);
        if (r >= 0)
                return;

        p->spawn_error = r;
        p->last_exit = (LastExit) { -1, 0, EXIT_REASON_SPAWN_FAILED };
        p->host->changed(p, PROCESS_FIELD_EXIT);
        if (!spawn_later(p))
                process_set_state(p, PROCESS_ERRORED);
}

static void count_restart(Process *p) {
        p->n_restarts++;
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
}

/* A start or restart that somebody asked for wipes the slate of the restart policy, as in pm2. */
static void forget_history(Process *p) {
        p->history = (RestartHistory) { .created_at = p->host->now(p) };
        p->created_realtime = now(CLOCK_REALTIME);
        p->restart_reason = NULL;
        p->n_spawn_failures = 0;
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
}

static void on_start(Process *p) {
        forget_history(p);
        enter_spawning(p);
}

static void enter_killing(Process *p) {
        process_set_state(p, PROCESS_KILLING);
        p->host->kill(p);
}

static void on_stop(Process *p) {
        process_set_state(p, PROCESS_STOPPING);
        p->host->ask_to_end(p);
}

static void want_restart(Process *p) {
        forget_history(p);
        p->restart_wanted = true;
}

static void on_restart(Process *p) {
        want_restart(p);
        count_restart(p);
        on_stop(p);
}

/* The child still waits at its gate, or is about to execute: nothing of the app runs that could end in its own way. */
static void on_restart_while_spawning(Process *p) {
        want_restart(p);
        enter_killing(p);
}

static void drop_restart(Process *p) {
        p->restart_wanted = false;
}

static void on_attached(Process *p) {
        int r = p->host->open_gate(p);

        if (r >= 0)
                return;
        p->spawn_error = r;
        enter_killing(p);
}

static void on_attach_failed(Process *p) {
        p->last_exit = (LastExit) { -1, 0, EXIT_REASON_SPAWN_FAILED };
        enter_killing(p);
}

bool process_may_overlap(const Process *p) {
        return p->config->exec_mode == EXEC_MODE_CLUSTER || p->config->listen;
}

bool process_can_overlap(const Process *p) {
        return p->state == PROCESS_ONLINE && process_may_overlap(p);
}

static bool says_when_ready(const Process *p) {
        if (p->config->wait_ready || p->config->notify)
                return true;
        /* What does not serve now is not waited for to do so. */
        return p->role == PROCESS_SUCCESSOR && p->peer && p->peer->listening;
}

static void on_exec_ok(Process *p) {
        if (says_when_ready(p))
                return process_set_state(p, PROCESS_STARTING);
        if (p->role != PROCESS_SUCCESSOR)
                return process_set_state(p, PROCESS_ONLINE);

        process_set_state(p, PROCESS_STARTING);
        arm(p, PROCESS_TIMER_PROVE, p->config->min_uptime);
}

/* The child ends by itself: EXITED comes next. */
static void on_exec_failed(Process *p) {
        p->last_exit = (LastExit) { -1, 0, EXIT_REASON_EXEC_FAILED };
}

static void on_ready(Process *p) {
        if (p->role != PROCESS_SUCCESSOR)
                return process_set_state(p, PROCESS_ONLINE);
        if (p->timer == PROCESS_TIMER_PROVE)
                return;
        arm(p, PROCESS_TIMER_PROVE, PROVE_USEC);
        p->host->changed(p, 0);
}

/* As pm2: an app that is not ready in time is taken for online. One that would take the place of another that works is not. */
static void on_start_timeout(Process *p) {
        if (p->role != PROCESS_SUCCESSOR || p->timer == PROCESS_TIMER_PROVE) {
                p->ready_missed = p->role != PROCESS_SUCCESSOR;
                return process_set_state(p, PROCESS_ONLINE);
        }

        p->start_timed_out = true;
        on_stop(p);
}

static void on_late_ready(Process *p) {
        if (TAKE_GENERIC(p->ready_missed, false))
                p->host->changed(p, PROCESS_FIELD_PID); /* with which notes are told */
}

/* It ends as any crash does, but gets no more time for that than for a stop. */
static void on_watchdog(Process *p) {
        p->watchdog_missed = true;
        process_set_state(p, PROCESS_STOPPING);
        p->host->abort(p);
}

static void on_exited(Process *p) {
        if (p->stuck)
                p->stuck = false;
        process_set_state(p, PROCESS_DRAINING);
        p->host->changed(p, PROCESS_FIELD_EXIT | PROCESS_FIELD_PID);
        p->host->drain(p);
}

static void end_now(Process *p) {
        arm(p, PROCESS_TIMER_KILL, p->config->kill_timeout);
        p->host->ask_to_end(p);
}

static void on_retire(Process *p) {
        process_set_state(p, PROCESS_STOPPING);
        if (p->host->ask_to_finish(p))
                arm(p, PROCESS_TIMER_FINISH, p->config->drain_timeout);
        else
                p->host->ask_to_end(p);
}

static void on_down_while_stopping(Process *p) {
        p->restart_wanted = false;
        if (p->timer == PROCESS_TIMER_FINISH)
                end_now(p);
}

static void on_stop_timeout(Process *p) {
        if (p->timer == PROCESS_TIMER_FINISH)
                return end_now(p);

        log_info("Process %u (%s) did not end within its kill timeout, killing it.", p->id, p->config->name);
        enter_killing(p);
}

static void on_kill_failed(Process *p) {
        log_warning("Process %u (%s) cannot be killed; it is waited for.", p->id, p->config->name);
        p->stuck = true;
        arm(p, PROCESS_TIMER_NONE, 0);
        p->host->settled(p);
}

static void on_drain_timeout(Process *p) {
        if (p->kill_tried) {
                p->host->give_up_drain(p);
                return;
        }
        p->kill_tried = true;
        arm(p, PROCESS_TIMER_KILL, p->config->kill_timeout);
        p->host->kill(p);
}

static void spawn_again(Process *p) {
        p->asked_for = false;
        count_restart(p);
        enter_spawning(p);
}

/* It ended with the machine, or there is nobody to start it now. When that is over TIMER comes. */
static void wait_while_held(Process *p) {
        p->restart_reason = p->held;
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
        process_set_state(p, PROCESS_BACKOFF);
}

/* However many apps crash, pmd stays within what it may cost. The wait does not count as time in which the process could have proved
 * stable: it would not be given up any more if it did. */
static void restart_within_budget(Process *p) {
        usec_t delay;

        if (p->held)
                return wait_while_held(p);
        delay = p->host->take_restart(p);
        if (delay == 0)
                return spawn_again(p);

        p->restart_granted = true;
        p->restart_reason = "it exited, and waits for the machine-wide restart budget";
        if (p->history.created_at > 0)
                p->history.created_at = usec_add(p->history.created_at, delay);
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
        process_set_state(p, PROCESS_BACKOFF);
        arm(p, PROCESS_TIMER_RESTART, delay);
}

static void restart_by_policy(Process *p) {
        const AppConfig *c = p->config;
        RestartPolicy policy = {
                .autorestart = c->autorestart,
                .min_uptime = c->min_uptime,
                .max_restarts = c->max_restarts,
                .restart_delay = c->restart_delay,
                .exp_backoff_delay = c->exp_backoff_restart_delay,
                .stop_exit_codes = c->stop_exit_codes,
                .n_stop_exit_codes = c->n_stop_exit_codes,
        };
        RestartExit last = {
                .signaled = p->last_exit.signal != 0,
                .code = p->last_exit.code,
                .started_at = p->started_monotonic,
                .now = p->host->now(p),
        };
        RestartVerdict v = restart_decide(&policy, &p->history, &last);

        p->history = v.history;
        p->restart_reason = v.reason;
        p->host->changed(p, PROCESS_FIELD_COUNTERS);

        switch (v.action) {

        case RESTART_NOW:
                return restart_within_budget(p);

        case RESTART_LATER:
                process_set_state(p, PROCESS_BACKOFF);
                arm(p, PROCESS_TIMER_RESTART, v.delay);
                return;

        case RESTART_GIVE_UP:
                log_warning("Process %u (%s) gives up: %s.", p->id, c->name, v.reason);
                process_set_state(p, PROCESS_ERRORED);
                return;

        default:
                p->goal = PROCESS_DOWN;
                process_set_state(p, PROCESS_STOPPED);
        }
}

static void on_drained(Process *p) {
        if (p->goal == PROCESS_DOWN)
                return process_set_state(p, PROCESS_STOPPED);
        if (p->held && p->role == PROCESS_CURRENT)
                return wait_while_held(p);
        if (p->start_timed_out)
                return process_set_state(p, PROCESS_ERRORED);
        if (p->restart_wanted)
                return enter_spawning(p);
        /* The unit's name was taken, left over from another pmd: the next incarnation has another one. */
        if (p->spawn_error == -EEXIST && p->last_exit.reason == EXIT_REASON_SPAWN_FAILED)
                return enter_spawning(p);
        if (p->spawn_error < 0 && p->role == PROCESS_CURRENT && spawn_later(p))
                return;
        if (p->spawn_error < 0 || p->role != PROCESS_CURRENT)
                return process_set_state(p, PROCESS_ERRORED);

        restart_by_policy(p);
}

static void on_backoff_elapsed(Process *p) {
        if (TAKE_GENERIC(p->restart_granted, false) && !p->held)
                return spawn_again(p);
        restart_within_budget(p);
}

static void enter_stopped(Process *p) {
        process_set_state(p, PROCESS_STOPPED);
}

/* What each event does in each state; an empty cell means that it changes nothing but, perhaps, the goal. */
static void (*const transitions[_PROCESS_STATE_MAX][_PROCESS_EVENT_MAX])(Process *p) = {
        [PROCESS_STOPPED] = {
                [PROCESS_EVENT_UP] = on_start,
                [PROCESS_EVENT_RESTART] = on_start,
        },
        [PROCESS_SPAWNING] = {
                [PROCESS_EVENT_DOWN] = enter_killing,
                [PROCESS_EVENT_RETIRE] = enter_killing,
                [PROCESS_EVENT_RESTART] = on_restart_while_spawning,
                [PROCESS_EVENT_ATTACHED] = on_attached,
                [PROCESS_EVENT_ATTACH_FAILED] = on_attach_failed,
                [PROCESS_EVENT_EXEC_OK] = on_exec_ok,
                [PROCESS_EVENT_EXEC_FAILED] = on_exec_failed,
                [PROCESS_EVENT_EXITED] = on_exited,
        },
        [PROCESS_STARTING] = {
                [PROCESS_EVENT_DOWN] = on_stop,
                [PROCESS_EVENT_RETIRE] = on_stop,
                [PROCESS_EVENT_RESTART] = on_restart,
                [PROCESS_EVENT_READY] = on_ready,
                [PROCESS_EVENT_TIMER] = on_start_timeout,
                [PROCESS_EVENT_EXITED] = on_exited,
                [PROCESS_EVENT_WATCHDOG] = on_watchdog,
        },
        [PROCESS_ONLINE] = {
                [PROCESS_EVENT_DOWN] = on_stop,
                [PROCESS_EVENT_RETIRE] = on_retire,
                [PROCESS_EVENT_RESTART] = on_restart,
                [PROCESS_EVENT_READY] = on_late_ready,
                [PROCESS_EVENT_EXITED] = on_exited,
                [PROCESS_EVENT_WATCHDOG] = on_watchdog,
        },
        [PROCESS_STOPPING] = {
                [PROCESS_EVENT_UP] = want_restart,
                [PROCESS_EVENT_DOWN] = on_down_while_stopping,
                [PROCESS_EVENT_RETIRE] = drop_restart,
                [PROCESS_EVENT_RESTART] = want_restart,
                [PROCESS_EVENT_EXITED] = on_exited,
                [PROCESS_EVENT_TIMER] = on_stop_timeout,
        },
        [PROCESS_KILLING] = {
                [PROCESS_EVENT_UP] = want_restart,
                [PROCESS_EVENT_DOWN] = drop_restart,
                [PROCESS_EVENT_RETIRE] = drop_restart,
                [PROCESS_EVENT_RESTART] = want_restart,
                [PROCESS_EVENT_EXITED] = on_exited,
                [PROCESS_EVENT_TIMER] = on_kill_failed,
        },
        [PROCESS_DRAINING] = {
                [PROCESS_EVENT_UP] = want_restart,
                [PROCESS_EVENT_DOWN] = drop_restart,
                [PROCESS_EVENT_RETIRE] = drop_restart,
                [PROCESS_EVENT_RESTART] = want_restart,
                [PROCESS_EVENT_DRAINED] = on_drained,
                [PROCESS_EVENT_TIMER] = on_drain_timeout,
        },
        [PROCESS_BACKOFF] = {
                [PROCESS_EVENT_UP] = on_start,
                [PROCESS_EVENT_DOWN] = enter_stopped,
                [PROCESS_EVENT_RETIRE] = enter_stopped,
                [PROCESS_EVENT_RESTART] = on_start,
                [PROCESS_EVENT_TIMER] = on_backoff_elapsed,
        },
        [PROCESS_ERRORED] = {
                [PROCESS_EVENT_UP] = on_start,
                [PROCESS_EVENT_DOWN] = enter_stopped,
                [PROCESS_EVENT_RETIRE] = enter_stopped,
                [PROCESS_EVENT_RESTART] = on_start,
        },
};

void process_event(Process *p, ProcessEvent e) {
        void (*act)(Process *p) = transitions[p->state][e];

        log_debug("Process %u: %s in state %s%s", p->id, process_event_to_string(e), process_state_to_string(p->state), act ? "" : ", nothing to do");

        if (IN_SET(e, PROCESS_EVENT_UP, PROCESS_EVENT_RESTART))
                p->goal = PROCESS_UP;
        else if (IN_SET(e, PROCESS_EVENT_DOWN, PROCESS_EVENT_RETIRE))
                p->goal = PROCESS_DOWN;

        if (act)
                act(p);
}

void process_reset_counters(Process *p) {
        p->n_restarts = 0;
        forget_history(p);
}

void process_set_restart_trigger(Process *p, const char *reason) {
        if (free_and_strdup(&p->restart_trigger, reason) < 0) {
                log_oom();
                return;
        }
        p->restart_reason = p->restart_trigger;
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
}

char *process_failure_message(const Process *p) {
        const AppConfig *c = p->config;

        return spawn_error_message(p->spawn_failed_step, -p->spawn_error, c->interpreter_path ?: c->exec_path, c->cwd, c->user);
}
