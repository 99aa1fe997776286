/* SPDX-License-Identifier: MIT */
#include "pmd/process.h"
#include "test.h"

/* The state machine under a fake host and a fake clock: every state × every event, then whole stories. */

static usec_t clock_now;
static usec_t timer_at;
static int spawn_result;
static usec_t restart_delay; /* of the machine-wide budget */
static char trace[256];

static void note(const char *what) {
        ASSERT_TRUE(strlen(trace) + strlen(what) + 2 < sizeof trace);
        if (*trace)
                strcat(trace, " ");
        strcat(trace, what);
}

static usec_t fake_now(Process *p) {
        return clock_now;
}
static int fake_spawn(Process *p) {
        note("spawn");
        return spawn_result;
}
static int fake_open_gate(Process *p) {
        note("gate");
        return 0;
}
static bool finish_result; /* whether it can be told to finish */
static bool fake_ask_to_finish(Process *p) {
        note("finish");
        return finish_result;
}
static void fake_ask_to_end(Process *p) {
        note("ask");
}
static void fake_abort(Process *p) {
        note("abort");
}
static void fake_kill(Process *p) {
        note("kill");
}
static void fake_drain(Process *p) {
        note("drain");
}
static void fake_give_up_drain(Process *p) {
        note("give-up");
}
static void fake_arm_timer(Process *p, usec_t at) {
        timer_at = at;
}
static usec_t fake_take_restart(Process *p) {
        return restart_delay;
}
static void fake_changed(Process *p, ProcessField f) {
}
static void fake_reconfigured(Process *p, const AppConfig *before) {
        ASSERT_TRUE(before != p->config);
        note("reconfigured");
}
static void fake_settled(Process *p) {
        note("settled");
}

static const ProcessHostVTable fake_host = {
        fake_now, fake_spawn, fake_open_gate, fake_ask_to_finish, fake_ask_to_end, fake_abort, fake_kill, fake_drain, fake_give_up_drain, fake_arm_timer, fake_take_restart, fake_changed,
        fake_reconfigured, fake_settled,
};

static AppConfig config;

static void reset(Process *p) {
        config = (AppConfig) {
                .n_ref = 1000,
                .name = (char *) "app",
                .autorestart = true,
                .min_uptime = 1 * USEC_PER_SEC,
                .max_restarts = 16,
                .kill_timeout = 1600 * USEC_PER_MSEC,
                .listen_timeout = 3 * USEC_PER_SEC,
                .drain_timeout = 10 * USEC_PER_SEC,
        };
        clock_now = 1000 * USEC_PER_SEC;
        timer_at = USEC_INFINITY;
        spawn_result = 0;
        finish_result = false;
        restart_delay = 0;
        *trace = 0;
        process_init(p, &fake_host, NULL, &config, 0, 0);
}

typedef struct Cell {
        ProcessState next;
        const char *operations;
        ProcessGoal goal;
        bool restart_wanted;
} Cell;

#define TO(state, ops, goal) { PROCESS_##state, ops, PROCESS_##goal, false }
#define WANT(state, ops) { PROCESS_##state, ops, PROCESS_UP, true }

/* Starting point of each state: goal up and no restart wanted, except that STOPPED has goal down. */
static const struct Row {
        ProcessState state;
        Cell cells[_PROCESS_EVENT_MAX];
} rows[] = {
        { PROCESS_STOPPED, {
                [PROCESS_EVENT_UP] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_DOWN] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_RESTART] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_ATTACHED] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_EXEC_OK] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_EXEC_FAILED] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_READY] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_EXITED] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_DRAINED] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_TIMER] = TO(STOPPED, "", DOWN),
                [PROCESS_EVENT_WATCHDOG] = TO(STOPPED, "", DOWN),
        } },
        { PROCESS_SPAWNING, {
                [PROCESS_EVENT_UP] = TO(SPAWNING, "", UP),
                [PROCESS_EVENT_DOWN] = TO(KILLING, "kill", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(KILLING, "kill", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(KILLING, "kill"),
                [PROCESS_EVENT_ATTACHED] = TO(SPAWNING, "gate", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(KILLING, "kill", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(ONLINE, "settled", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(SPAWNING, "", UP),
                [PROCESS_EVENT_READY] = TO(SPAWNING, "", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "drain", UP),
                [PROCESS_EVENT_DRAINED] = TO(SPAWNING, "", UP),
                [PROCESS_EVENT_TIMER] = TO(SPAWNING, "", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(SPAWNING, "", UP),
        } },
        { PROCESS_STARTING, {
                [PROCESS_EVENT_UP] = TO(STARTING, "", UP),
                [PROCESS_EVENT_DOWN] = TO(STOPPING, "ask", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPING, "ask", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(STOPPING, "ask"),
                [PROCESS_EVENT_ATTACHED] = TO(STARTING, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(STARTING, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(STARTING, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(STARTING, "", UP),
                [PROCESS_EVENT_READY] = TO(ONLINE, "settled", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "drain", UP),
                [PROCESS_EVENT_DRAINED] = TO(STARTING, "", UP),
                [PROCESS_EVENT_TIMER] = TO(ONLINE, "settled", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(STOPPING, "abort", UP),
        } },
        { PROCESS_ONLINE, {
                [PROCESS_EVENT_UP] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_DOWN] = TO(STOPPING, "ask", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPING, "finish ask", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(STOPPING, "ask"),
                [PROCESS_EVENT_ATTACHED] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_READY] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "drain", UP),
                [PROCESS_EVENT_DRAINED] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_TIMER] = TO(ONLINE, "", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(STOPPING, "abort", UP),
        } },
        { PROCESS_STOPPING, {
                [PROCESS_EVENT_UP] = WANT(STOPPING, ""),
                [PROCESS_EVENT_DOWN] = TO(STOPPING, "", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPING, "", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(STOPPING, ""),
                [PROCESS_EVENT_ATTACHED] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_READY] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "drain", UP),
                [PROCESS_EVENT_DRAINED] = TO(STOPPING, "", UP),
                [PROCESS_EVENT_TIMER] = TO(KILLING, "kill", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(STOPPING, "", UP),
        } },
        { PROCESS_KILLING, {
                [PROCESS_EVENT_UP] = WANT(KILLING, ""),
                [PROCESS_EVENT_DOWN] = TO(KILLING, "", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(KILLING, "", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(KILLING, ""),
                [PROCESS_EVENT_ATTACHED] = TO(KILLING, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(KILLING, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(KILLING, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(KILLING, "", UP),
                [PROCESS_EVENT_READY] = TO(KILLING, "", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "drain", UP),
                [PROCESS_EVENT_DRAINED] = TO(KILLING, "", UP),
                [PROCESS_EVENT_TIMER] = TO(KILLING, "settled", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(KILLING, "", UP),
        } },
        { PROCESS_DRAINING, {
                [PROCESS_EVENT_UP] = WANT(DRAINING, ""),
                [PROCESS_EVENT_DOWN] = TO(DRAINING, "", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(DRAINING, "", DOWN),
                [PROCESS_EVENT_RESTART] = WANT(DRAINING, ""),
                [PROCESS_EVENT_ATTACHED] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_READY] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_EXITED] = TO(DRAINING, "", UP),
                [PROCESS_EVENT_DRAINED] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_TIMER] = TO(DRAINING, "kill", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(DRAINING, "", UP),
        } },
        { PROCESS_BACKOFF, {
                [PROCESS_EVENT_UP] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_DOWN] = TO(STOPPED, "settled", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPED, "settled", DOWN),
                [PROCESS_EVENT_RESTART] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_ATTACHED] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_READY] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_EXITED] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_DRAINED] = TO(BACKOFF, "", UP),
                [PROCESS_EVENT_TIMER] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(BACKOFF, "", UP),
        } },
        { PROCESS_ERRORED, {
                [PROCESS_EVENT_UP] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_DOWN] = TO(STOPPED, "settled", DOWN),
                [PROCESS_EVENT_RETIRE] = TO(STOPPED, "settled", DOWN),
                [PROCESS_EVENT_RESTART] = TO(SPAWNING, "spawn", UP),
                [PROCESS_EVENT_ATTACHED] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_ATTACH_FAILED] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_EXEC_OK] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_EXEC_FAILED] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_READY] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_EXITED] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_DRAINED] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_TIMER] = TO(ERRORED, "", UP),
                [PROCESS_EVENT_WATCHDOG] = TO(ERRORED, "", UP),
        } },
};

TEST(every_state_and_event) {
        ASSERT_EQ(ELEMENTSOF(rows), _PROCESS_STATE_MAX);

        for (size_t s = 0; s < ELEMENTSOF(rows); s++)
                for (int e = 0; e < _PROCESS_EVENT_MAX; e++) {
                        const Cell *want = &rows[s].cells[e];
                        Process p;

                        ASSERT_EQ(rows[s].state, s);
                        ASSERT_TRUE(want->operations); /* no cell was forgotten */

                        reset(&p);
                        p.state = rows[s].state;
                        p.goal = p.state == PROCESS_STOPPED ? PROCESS_DOWN : PROCESS_UP;
                        process_event(&p, e);

                        if (p.state != want->next || !streq(trace, want->operations) || p.goal != want->goal || p.restart_wanted != want->restart_wanted)
                                TEST_FAIL("%s in %s: state %s, operations \"%s\", goal %s, restart wanted %d", process_event_to_string(e),
                                          process_state_to_string(rows[s].state), process_state_to_string(p.state), trace,
                                          process_goal_to_string(p.goal), p.restart_wanted);
                }
}

TEST(names) {
        ASSERT_STRING_TABLE(process_state, _PROCESS_STATE_MAX);
        ASSERT_STRING_TABLE(process_event, _PROCESS_EVENT_MAX);
        ASSERT_STRING_TABLE(process_goal, _PROCESS_GOAL_MAX);
        ASSERT_STRING_TABLE(exit_reason, _EXIT_REASON_MAX);
        ASSERT_STRING_TABLE(process_role, _PROCESS_ROLE_MAX);

        for (int s = 0; s < _PROCESS_STATE_MAX; s++) {
                Process p = { .state = s };

                ASSERT_TRUE(process_status(&p));
        }
}

static void go(Process *p, ProcessEvent e, const char *operations, ProcessState state) {
        *trace = 0;
        process_event(p, e);
        ASSERT_STREQ(trace, operations);
        ASSERT_STREQ(process_state_to_string(p->state), process_state_to_string(state));
}

static void bring_up(Process *p) {
        go(p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(p, PROCESS_EVENT_EXEC_OK, "settled", PROCESS_ONLINE);
}

static void crash(Process *p, int code) {
        p->last_exit = (LastExit) { code, 0, EXIT_REASON_EXITED };
        go(p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
}

TEST(stop_is_patient_then_kills) {
        Process p;

        reset(&p);
        bring_up(&p);
        go(&p, PROCESS_EVENT_DOWN, "ask", PROCESS_STOPPING);
        ASSERT_EQ(timer_at, clock_now + 1600 * USEC_PER_MSEC);

        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "kill", PROCESS_KILLING);
        ASSERT_EQ(timer_at, clock_now + 1600 * USEC_PER_MSEC);

        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_STOPPED);
        ASSERT_EQ(timer_at, USEC_INFINITY);
        ASSERT_EQ(p.n_restarts, 0);
}

TEST(draining_has_only_the_patience_that_is_left) {
        usec_t deadline;
        Process p;

        reset(&p);
        bring_up(&p);
        go(&p, PROCESS_EVENT_DOWN, "ask", PROCESS_STOPPING);
        deadline = timer_at;

        clock_now += 1000 * USEC_PER_MSEC;
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        ASSERT_EQ(timer_at, deadline);

        clock_now = deadline;
        go(&p, PROCESS_EVENT_TIMER, "kill", PROCESS_DRAINING);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "give-up", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_STOPPED);
}

TEST(notify_waits_until_it_is_ready) {
        Process p;

        reset(&p);
        config.notify = true;
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_EXEC_OK, "", PROCESS_STARTING);
        ASSERT_EQ(timer_at, clock_now + 3 * USEC_PER_SEC);
        go(&p, PROCESS_EVENT_READY, "settled", PROCESS_ONLINE);
        ASSERT_EQ(timer_at, USEC_INFINITY);
}

/* It is told until it is, or starts anew. */
TEST(readiness_that_is_missed) {
        Process p;

        reset(&p);
        config.notify = true;
        for (unsigned i = 0; i < 2; i++) {
                go(&p, i == 0 ? PROCESS_EVENT_UP : PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
                ASSERT_TRUE(!p.ready_missed);
                go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
                go(&p, PROCESS_EVENT_EXEC_OK, "", PROCESS_STARTING);
                clock_now = timer_at;
                go(&p, PROCESS_EVENT_TIMER, "settled", PROCESS_ONLINE);
                ASSERT_TRUE(p.ready_missed);
                if (i > 0)
                        break;
                p.last_exit = (LastExit) { 1, 0, EXIT_REASON_EXITED };
                go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        }
        go(&p, PROCESS_EVENT_READY, "", PROCESS_ONLINE);
        ASSERT_TRUE(!p.ready_missed);
}

TEST(watchdog_ends_it_and_the_policy_restarts_it) {
        Process p;

        reset(&p);
        bring_up(&p);
        go(&p, PROCESS_EVENT_WATCHDOG, "abort", PROCESS_STOPPING);
        ASSERT_TRUE(p.watchdog_missed);
        ASSERT_EQ(timer_at, clock_now + 1600 * USEC_PER_MSEC);
        go(&p, PROCESS_EVENT_WATCHDOG, "", PROCESS_STOPPING);

        /* One that has lost its mind may not die of SIGABRT. */
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "kill", PROCESS_KILLING);
        p.last_exit = (LastExit) { -1, 9, EXIT_REASON_WATCHDOG };
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
        ASSERT_TRUE(!p.watchdog_missed);
}

TEST(unkillable_is_told_and_waited_for) {
        Process p;

        reset(&p);
        bring_up(&p);
        go(&p, PROCESS_EVENT_DOWN, "ask", PROCESS_STOPPING);
        go(&p, PROCESS_EVENT_TIMER, "kill", PROCESS_KILLING);
        go(&p, PROCESS_EVENT_TIMER, "settled", PROCESS_KILLING);
        ASSERT_TRUE(p.stuck);

        /* No second copy while the first may still live. */
        go(&p, PROCESS_EVENT_UP, "", PROCESS_KILLING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        ASSERT_TRUE(!p.stuck);
        go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
}

TEST(restart_counts_once_and_forgets_history) {
        Process p;

        reset(&p);
        bring_up(&p);
        p.history.unstable_restarts = 7;
        go(&p, PROCESS_EVENT_RESTART, "ask", PROCESS_STOPPING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
        ASSERT_EQ(p.history.unstable_restarts, 0);
        ASSERT_EQ(p.incarnation, 2);
        ASSERT_TRUE(!p.reached_online);
}

TEST(stop_during_restart_wins) {
        Process p;

        reset(&p);
        bring_up(&p);
        go(&p, PROCESS_EVENT_RESTART, "ask", PROCESS_STOPPING);
        go(&p, PROCESS_EVENT_DOWN, "", PROCESS_STOPPING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_STOPPED);
}

TEST(another_definition_comes_with_the_next_start) {
        AppConfig other = { .n_ref = 1, .name = (char *) "app", .autorestart = true };
        Process p;

        reset(&p);
        process_event(&p, PROCESS_EVENT_UP);
        process_event(&p, PROCESS_EVENT_ATTACHED);
        process_event(&p, PROCESS_EVENT_EXEC_OK);
        process_change_config(&p, &other);
        ASSERT_TRUE(p.config == &config);

        process_event(&p, PROCESS_EVENT_RESTART);
        process_event(&p, PROCESS_EVENT_EXITED);
        ASSERT_TRUE(p.config == &config);
        ASSERT_STREQ(strstr(trace, "reconfigured") ?: "", "");
        *trace = 0;
        process_event(&p, PROCESS_EVENT_DRAINED);
        ASSERT_TRUE(p.config == &other);
        ASSERT_TRUE(!p.next_config);
        ASSERT_STREQ(trace, "reconfigured spawn");

        reset(&p);
        process_change_config(&p, &other);
        ASSERT_TRUE(p.config == &other);
}

TEST(crash_restarts_once_per_drained) {
        Process p;

        reset(&p);
        bring_up(&p);
        clock_now += 60 * USEC_PER_SEC;
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_DRAINED, "", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
}

TEST(crash_loop_ends_errored_after_15_restarts) {
        Process p;

        reset(&p);
        bring_up(&p);
        for (unsigned i = 0; i < 15; i++) {
                clock_now += 100 * USEC_PER_MSEC;
                crash(&p, 1);
                go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
                go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
                go(&p, PROCESS_EVENT_EXEC_OK, "settled", PROCESS_ONLINE);
        }
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_ERRORED);
        ASSERT_EQ(p.n_restarts, 15);
        ASSERT_EQ(p.goal, PROCESS_UP);
}

/* What the budget makes it wait is no time in which it could have proved stable. */
TEST(budget_delays_but_does_not_change_the_outcome) {
        Process p;

        reset(&p);
        restart_delay = 10 * USEC_PER_SEC;
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        for (unsigned i = 0; i < 15; i++) {
                crash(&p, 1);
                go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
                ASSERT_EQ(timer_at, clock_now + restart_delay);
                ASSERT_EQ(p.n_restarts, i);
                ASSERT_STREQ(p.restart_reason, "it exited, and waits for the machine-wide restart budget");
                clock_now = timer_at;
                go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
                ASSERT_EQ(p.n_restarts, i + 1);
        }
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_ERRORED);
        ASSERT_EQ(p.n_restarts, 15);
}

TEST(budget_counts_delayed_restarts_too) {
        Process p;

        reset(&p);
        config.restart_delay = 1 * USEC_PER_SEC;
        restart_delay = 3 * USEC_PER_SEC;
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "settled", PROCESS_BACKOFF);
        ASSERT_EQ(timer_at, clock_now + restart_delay);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
}

TEST(request_does_not_wait_for_the_budget) {
        Process p;

        reset(&p);
        restart_delay = 3 * USEC_PER_SEC;
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        go(&p, PROCESS_EVENT_RESTART, "spawn", PROCESS_SPAWNING);
        ASSERT_TRUE(!p.restart_granted);
}

/* Neither what crashes nor what ends well is started again, and none of it is forgotten. */
TEST(machine_goes_down) {
        Process p;

        reset(&p);
        bring_up(&p);
        clock_now += 60 * USEC_PER_SEC;
        p.held = "the machine goes";
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        ASSERT_EQ(timer_at, USEC_INFINITY);
        ASSERT_EQ(p.goal, PROCESS_UP);
        ASSERT_EQ(p.n_restarts, 0);
        ASSERT_STREQ(p.restart_reason, "the machine goes");
        go(&p, PROCESS_EVENT_DOWN, "settled", PROCESS_STOPPED);

        /* One that is not to be restarted by itself was up as well. */
        reset(&p);
        config.autorestart = false;
        bring_up(&p);
        p.held = "the machine goes";
        crash(&p, 0);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        ASSERT_EQ(p.goal, PROCESS_UP);
}

TEST(machine_stays_up_after_all) {
        Process p;

        reset(&p);
        config.restart_delay = 5 * USEC_PER_SEC;
        bring_up(&p);
        clock_now += 60 * USEC_PER_SEC;
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        p.held = "the machine goes";
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "settled", PROCESS_BACKOFF);
        ASSERT_EQ(timer_at, USEC_INFINITY);
        p.held = NULL;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
}

TEST(restart_delay_is_waited) {
        Process p;

        reset(&p);
        config.restart_delay = 5 * USEC_PER_SEC;
        bring_up(&p);
        clock_now += 60 * USEC_PER_SEC;
        crash(&p, 1);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        ASSERT_EQ(timer_at, clock_now + 5 * USEC_PER_SEC);
        ASSERT_EQ(p.n_restarts, 0);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.n_restarts, 1);
}

TEST(no_autorestart_stops) {
        Process p;

        reset(&p);
        config.autorestart = false;
        bring_up(&p);
        crash(&p, 3);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_STOPPED);
        ASSERT_EQ(p.goal, PROCESS_DOWN);
        ASSERT_EQ(p.last_exit.code, 3);
}

TEST(exec_failure_does_not_loop) {
        Process p;

        reset(&p);
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        p.spawn_error = -ENOENT;
        go(&p, PROCESS_EVENT_EXEC_FAILED, "", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_ERRORED);
        ASSERT_EQ(p.last_exit.reason, EXIT_REASON_EXEC_FAILED);
        ASSERT_EQ(p.n_restarts, 0);
        ASSERT_TRUE(!p.reached_online);
}

TEST(fork_failure_is_errored_at_once) {
        Process p;

        reset(&p);
        spawn_result = -EAGAIN;
        p.asked_for = true;
        go(&p, PROCESS_EVENT_UP, "spawn settled", PROCESS_ERRORED);
        ASSERT_EQ(p.last_exit.reason, EXIT_REASON_SPAWN_FAILED);
        ASSERT_EQ(p.spawn_error, -EAGAIN);
}

static void crash_into_shortage(Process *p) {
        reset(p);
        go(p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(p, PROCESS_EVENT_EXEC_OK, "settled", PROCESS_ONLINE);
        clock_now += 10 * USEC_PER_SEC;
        p->last_exit = (LastExit) { 1, 0, EXIT_REASON_EXITED };
        go(p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        spawn_result = -EAGAIN;
        go(p, PROCESS_EVENT_DRAINED, "spawn settled", PROCESS_BACKOFF);
}

/* Longer and longer between, but for ever: whoever is up at 3 a.m. cannot know that there was no memory at 2. */
TEST(a_restart_that_finds_no_resources_is_tried_again) {
        usec_t last = 0;
        Process p;

        crash_into_shortage(&p);
        ASSERT_EQ(timer_at, clock_now + USEC_PER_SEC);
        for (unsigned i = 0; i < 40; i++) {
                ASSERT_TRUE(timer_at - clock_now >= last && timer_at - clock_now <= 30 * USEC_PER_SEC);
                last = timer_at - clock_now;
                clock_now = timer_at;
                go(&p, PROCESS_EVENT_TIMER, "spawn settled", PROCESS_BACKOFF);
        }
        ASSERT_EQ(last, 30 * USEC_PER_SEC);

        spawn_result = 0;
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
        p.spawn_error = -EIO;
        go(&p, PROCESS_EVENT_ATTACH_FAILED, "kill", PROCESS_KILLING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "settled", PROCESS_BACKOFF);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_EXEC_OK, "settled", PROCESS_ONLINE);
        ASSERT_EQ(p.n_spawn_failures, 0);
}

/* At boot, or by cron. */
TEST(a_start_that_nobody_asked_for_is_tried_again) {
        Process p;

        reset(&p);
        spawn_result = -ENOMEM;
        go(&p, PROCESS_EVENT_UP, "spawn settled", PROCESS_BACKOFF);
        spawn_result = 0;
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn", PROCESS_SPAWNING);
}

TEST(what_is_wrong_with_the_app_is_not_tried_again) {
        Process p;

        crash_into_shortage(&p);
        spawn_result = -ENOENT;
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "spawn settled", PROCESS_ERRORED);

        crash_into_shortage(&p);
        p.asked_for = true; /* who is told */
        go(&p, PROCESS_EVENT_UP, "spawn settled", PROCESS_ERRORED);
}

TEST(taken_unit_name_gets_the_next_incarnation) {
        Process p;

        reset(&p);
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        p.spawn_error = -EEXIST;
        go(&p, PROCESS_EVENT_ATTACH_FAILED, "kill", PROCESS_KILLING);
        go(&p, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&p, PROCESS_EVENT_DRAINED, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(p.incarnation, 2);
        ASSERT_EQ(p.n_restarts, 0);
}

TEST(wait_ready_waits_for_it_or_for_the_timeout) {
        Process p;

        reset(&p);
        config.wait_ready = true;
        go(&p, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(&p, PROCESS_EVENT_EXEC_OK, "", PROCESS_STARTING);
        ASSERT_EQ(timer_at, clock_now + 3 * USEC_PER_SEC);
        go(&p, PROCESS_EVENT_READY, "settled", PROCESS_ONLINE);
        ASSERT_EQ(timer_at, USEC_INFINITY);
}

/* ---- reload: two incarnations of one process ---- */

static void make_pair(Process *current, Process *successor) {
        reset(successor);
        reset(current);
        config.exec_mode = EXEC_MODE_CLUSTER;
        bring_up(current);
        current->listening = true;
        successor->role = PROCESS_SUCCESSOR;
        successor->peer = current;
        current->peer = successor;
        go(successor, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        ASSERT_EQ(successor->incarnation, current->incarnation + 1);
        go(successor, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(successor, PROCESS_EVENT_EXEC_OK, "", PROCESS_STARTING);
}

TEST(a_successor_proves_itself_for_a_moment) {
        Process p, s;

        make_pair(&p, &s);
        ASSERT_EQ(timer_at, clock_now + 3 * USEC_PER_SEC);
        go(&s, PROCESS_EVENT_READY, "", PROCESS_STARTING);
        ASSERT_EQ(timer_at, clock_now + 50 * USEC_PER_MSEC);
        clock_now += 10 * USEC_PER_MSEC;
        go(&s, PROCESS_EVENT_READY, "", PROCESS_STARTING); /* a second one does not make it wait longer */
        ASSERT_EQ(timer_at, clock_now + 40 * USEC_PER_MSEC);
        clock_now = timer_at;
        go(&s, PROCESS_EVENT_TIMER, "settled", PROCESS_ONLINE);
}

TEST(a_successor_that_is_not_ready_in_time_fails) {
        Process p, s;

        make_pair(&p, &s);
        clock_now = timer_at;
        go(&s, PROCESS_EVENT_TIMER, "ask", PROCESS_STOPPING);
        ASSERT_TRUE(s.start_timed_out);
        go(&s, PROCESS_EVENT_EXITED, "drain", PROCESS_DRAINING);
        go(&s, PROCESS_EVENT_DRAINED, "settled", PROCESS_ERRORED);
        ASSERT_EQ(p.state, PROCESS_ONLINE);
}

TEST(a_successor_that_exits_is_not_restarted) {
        Process p, s;

        make_pair(&p, &s);
        go(&s, PROCESS_EVENT_READY, "", PROCESS_STARTING);
        crash(&s, 1);
        go(&s, PROCESS_EVENT_DRAINED, "settled", PROCESS_ERRORED);
        ASSERT_EQ(s.n_restarts, 0);
}

TEST(what_never_listened_need_not_listen_now) {
        Process p, s;

        make_pair(&p, &s);
        reset(&s);
        config.exec_mode = EXEC_MODE_CLUSTER;
        p.listening = false;
        s.role = PROCESS_SUCCESSOR;
        s.peer = &p;
        go(&s, PROCESS_EVENT_UP, "spawn", PROCESS_SPAWNING);
        go(&s, PROCESS_EVENT_ATTACHED, "gate", PROCESS_SPAWNING);
        go(&s, PROCESS_EVENT_EXEC_OK, "", PROCESS_STARTING);
        ASSERT_EQ(timer_at, clock_now + config.min_uptime);
        clock_now = timer_at;
        go(&s, PROCESS_EVENT_TIMER, "settled", PROCESS_ONLINE);
}

TEST(a_retired_process_may_finish_then_is_asked_then_killed) {
        Process p;

        reset(&p);
        finish_result = true;
        bring_up(&p);
        go(&p, PROCESS_EVENT_RETIRE, "finish", PROCESS_STOPPING);
        ASSERT_EQ(timer_at, clock_now + 10 * USEC_PER_SEC);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "ask", PROCESS_STOPPING);
        ASSERT_EQ(timer_at, clock_now + 1600 * USEC_PER_MSEC);
        clock_now = timer_at;
        go(&p, PROCESS_EVENT_TIMER, "kill", PROCESS_KILLING);
}

TEST(a_stop_does_not_wait_for_what_was_begun) {
        Process p;

        reset(&p);
        finish_result = true;
        bring_up(&p);
        go(&p, PROCESS_EVENT_RETIRE, "finish", PROCESS_STOPPING);
        go(&p, PROCESS_EVENT_DOWN, "ask", PROCESS_STOPPING);
        ASSERT_EQ(timer_at, clock_now + 1600 * USEC_PER_MSEC);
        go(&p, PROCESS_EVENT_DOWN, "", PROCESS_STOPPING);
}
