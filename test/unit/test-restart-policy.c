/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "shared/restart-policy.h"

#define SEC USEC_PER_SEC
#define MSEC USEC_PER_MSEC

/* Far from 0, as a clock is. */
#define T0 (1000 * SEC)

static const int stop_codes[] = { 3, 0, 7 };

#define POLICY_OF(autorestart_, min_uptime_, max_restarts_, ...)                                                \
        { .autorestart = autorestart_, .min_uptime = min_uptime_, .max_restarts = max_restarts_, __VA_ARGS__ }
#define POLICY(...) POLICY_OF(true, SEC, 16, __VA_ARGS__)
#define POLICY_OFF(...) POLICY_OF(false, SEC, 16, __VA_ARGS__)
#define STOP_CODES .stop_exit_codes = stop_codes, .n_stop_exit_codes = ELEMENTSOF(stop_codes)
#define EXIT(at, uptime, ...) { .now = T0 + (at), .started_at = T0 + (at) - (uptime), __VA_ARGS__ }

/* unstable_restarts, created_at, prev_delay */
#define HISTORY(unstable) { unstable, T0, 0 }
#define GAVE_UP { 0, 0, 0 }

static const struct {
        const char *what;
        RestartPolicy policy;
        RestartHistory history;
        RestartExit exit;
        RestartAction action;
        usec_t delay;
        RestartHistory after;
} cases[] = {
        { "a crash", POLICY(), HISTORY(0), EXIT(SEC / 2, SEC / 2, .code = 1), RESTART_NOW, 0, HISTORY(1) },
        { "a clean exit is restarted too", POLICY(), HISTORY(0), EXIT(SEC / 2, SEC / 2), RESTART_NOW, 0, HISTORY(1) },
        { "ran for min_uptime", POLICY(), HISTORY(4), EXIT(SEC, SEC), RESTART_NOW, 0, HISTORY(4) },
        { "just below min_uptime", POLICY(), HISTORY(4), EXIT(SEC, SEC - 1), RESTART_NOW, 0, HISTORY(5) },
        { "just inside the window", POLICY(), HISTORY(4), EXIT(16 * SEC - 1, 1), RESTART_NOW, 0, HISTORY(5) },
        { "outside the window", POLICY(), HISTORY(4), EXIT(16 * SEC, 1), RESTART_NOW, 0, HISTORY(4) },
        { "the last one before the end", POLICY(), HISTORY(14), EXIT(SEC, 1), RESTART_NOW, 0, HISTORY(15) },
        { "the last one", POLICY(), HISTORY(15), EXIT(SEC, 1), RESTART_GIVE_UP, 0, GAVE_UP },
        { "stable, but over the limit by an earlier policy", POLICY(), HISTORY(20), EXIT(SEC, SEC), RESTART_GIVE_UP, 0, GAVE_UP },
        { "after giving up nothing is counted", POLICY(), GAVE_UP, EXIT(SEC, 1), RESTART_NOW, 0, GAVE_UP },
        { "max_restarts 0", POLICY_OF(true, SEC, 0), HISTORY(0), EXIT(SEC, SEC), RESTART_GIVE_UP, 0, GAVE_UP },
        { "max_restarts 1", POLICY_OF(true, SEC, 1), HISTORY(0), EXIT(1, 1), RESTART_GIVE_UP, 0, GAVE_UP },
        { "a window too large for 64 bits", POLICY_OF(true, USEC_INFINITY / 2, 3), HISTORY(0), EXIT(1, 1), RESTART_NOW, 0,
          HISTORY(1) },
        { "a clock behind the start", POLICY(), HISTORY(0), { .now = 1, .started_at = T0 }, RESTART_NOW, 0, HISTORY(1) },

        { "autorestart off", POLICY_OFF(), HISTORY(0), EXIT(1, 1), RESTART_NOT, 0, HISTORY(1) },
        { "autorestart off, over the limit", POLICY_OFF(), HISTORY(15), EXIT(1, 1), RESTART_GIVE_UP, 0, GAVE_UP },
        { "autorestart off, with delays", POLICY_OFF(.restart_delay = SEC, .exp_backoff_delay = SEC), HISTORY(0), EXIT(1, 1),
          RESTART_NOT, 0, HISTORY(1) },
        { "the first stop code", POLICY(STOP_CODES), HISTORY(0), EXIT(SEC, SEC, .code = 3), RESTART_NOT, 0, HISTORY(0) },
        { "the last stop code", POLICY(STOP_CODES), HISTORY(0), EXIT(SEC, SEC, .code = 7), RESTART_NOT, 0, HISTORY(0) },
        { "another code", POLICY(STOP_CODES), HISTORY(0), EXIT(SEC, SEC, .code = 4), RESTART_NOW, 0, HISTORY(0) },
        { "stop code 0", POLICY(STOP_CODES), HISTORY(0), EXIT(SEC, SEC, .code = 0), RESTART_NOT, 0, HISTORY(0) },
        { "a signal is not code 0", POLICY(STOP_CODES), HISTORY(0), EXIT(SEC, SEC, .signaled = true), RESTART_NOW, 0, HISTORY(0) },

        { "restart_delay", POLICY(.restart_delay = 3 * SEC), HISTORY(0), EXIT(SEC, SEC), RESTART_LATER, 3 * SEC, HISTORY(0) },
        { "restart_delay, over the limit", POLICY(.restart_delay = 3 * SEC), HISTORY(15), EXIT(1, 1), RESTART_GIVE_UP, 0, GAVE_UP },
        { "backoff wins", POLICY(.restart_delay = 3 * SEC, .exp_backoff_delay = 100 * MSEC), HISTORY(0), EXIT(SEC, SEC), RESTART_LATER,
          100 * MSEC, { 0, T0, 100 * MSEC } },
        { "backoff, second", POLICY(.exp_backoff_delay = 100 * MSEC), { 0, T0, 100 * MSEC }, EXIT(SEC, SEC), RESTART_LATER, 150 * MSEC,
          { 0, T0, 150 * MSEC } },
        { "backoff is rounded down", POLICY(.exp_backoff_delay = 100 * MSEC), { 0, T0, 225 * MSEC }, EXIT(SEC, SEC), RESTART_LATER, 337 * MSEC,
          { 0, T0, 337 * MSEC } },
        { "backoff just below its end", POLICY(.exp_backoff_delay = 100 * MSEC), { 0, T0, 9999 * MSEC }, EXIT(SEC, SEC), RESTART_LATER,
          14998 * MSEC, { 0, T0, 14998 * MSEC } },
        { "backoff ends at 15 s", POLICY(.exp_backoff_delay = 100 * MSEC), { 0, T0, 12000 * MSEC }, EXIT(SEC, SEC), RESTART_LATER, 15 * SEC,
          { 0, T0, 15 * SEC } },
        { "a base above the end", POLICY(.exp_backoff_delay = 20 * SEC), HISTORY(0), EXIT(SEC, SEC), RESTART_LATER, 20 * SEC,
          { 0, T0, 20 * SEC } },
        { "after a base above the end", POLICY(.exp_backoff_delay = 20 * SEC), { 0, T0, 20 * SEC }, EXIT(SEC, SEC), RESTART_LATER, 15 * SEC,
          { 0, T0, 15 * SEC } },
        { "a previous delay too large to multiply", POLICY(.exp_backoff_delay = SEC), { 0, T0, USEC_INFINITY }, EXIT(SEC, SEC), RESTART_LATER,
          15 * SEC, { 0, T0, 15 * SEC } },
        { "backoff after 30 s goes on", POLICY(.exp_backoff_delay = SEC), { 0, T0, 4 * SEC }, EXIT(60 * SEC, 30 * SEC), RESTART_LATER, 6 * SEC,
          { 0, T0, 6 * SEC } },
        { "backoff after more begins anew", POLICY(.exp_backoff_delay = SEC), { 0, T0, 4 * SEC }, EXIT(60 * SEC, 30 * SEC + 1), RESTART_LATER,
          SEC, { 0, T0, SEC } },
};

TEST(cases) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                RestartVerdict v = restart_decide(&cases[i].policy, &cases[i].history, &cases[i].exit);

                printf("# %s\n", cases[i].what);
                ASSERT_STREQ(restart_action_to_string(v.action), restart_action_to_string(cases[i].action));
                ASSERT_EQ(v.delay, cases[i].delay);
                ASSERT_EQ(v.history.unstable_restarts, cases[i].after.unstable_restarts);
                ASSERT_EQ(v.history.created_at, cases[i].after.created_at);
                ASSERT_EQ(v.history.prev_delay, cases[i].after.prev_delay);
                ASSERT_TRUE(!isempty(v.reason));
        }
}

/* What pm2 shows for an app that exits at once: 15 restarts, then errored. */
TEST(crash_loop) {
        RestartPolicy policy = POLICY();
        RestartHistory history = HISTORY(0);
        unsigned n = 0;

        for (usec_t t = 10 * MSEC;; t += 10 * MSEC) {
                RestartExit exit = EXIT(t, 10 * MSEC, .code = 1);
                RestartVerdict v = restart_decide(&policy, &history, &exit);

                if (v.action == RESTART_GIVE_UP)
                        break;
                ASSERT_EQ(v.action, RESTART_NOW);
                ASSERT_TRUE(++n < 100);
                history = v.history;
        }

        ASSERT_EQ(n, 15);
}

/* 100, 150, 225, 337, 505, … as documented, never above 15 s. */
TEST(backoff_sequence) {
        static const unsigned expected[] = { 100,  150,  225,  337,  505,   757,   1135,  1702,
                                             2553, 3829, 5743, 8614, 12921, 15000, 15000 };
        RestartPolicy policy = POLICY(.exp_backoff_delay = 100 * MSEC);
        RestartHistory history = HISTORY(0);

        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                RestartExit exit = EXIT(20 * SEC, 2 * SEC);
                RestartVerdict v = restart_decide(&policy, &history, &exit);

                ASSERT_EQ(v.action, RESTART_LATER);
                ASSERT_EQ(v.delay, expected[i] * MSEC);
                history = v.history;
        }
}

TEST(restart_action_names) {
        ASSERT_STRING_TABLE(restart_action, _RESTART_ACTION_MAX);
}
