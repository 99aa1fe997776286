/* SPDX-License-Identifier: MIT */
#include "shared/restart-budget.h"
#include "test.h"

#define MSEC USEC_PER_MSEC
#define START ((usec_t) 1000 * USEC_PER_SEC)

TEST(table) {
        /* 10 a second, 3 at once: an interval is 100 ms. */
        static const struct {
                usec_t at, delay;
                unsigned available; /* afterwards */
        } rows[] = {
                { 0,           0,          2 },
                { 0,           0,          1 },
                { 0,           0,          0 },
                { 0,           100 * MSEC, 0 },
                { 0,           200 * MSEC, 0 }, /* a row, not a heap */
                { 50 * MSEC,   250 * MSEC, 0 },
                { 300 * MSEC,  100 * MSEC, 0 }, /* all three have gone by now, and it is one interval until the next */
                { 500 * MSEC,  0,          0 },
                { 599 * MSEC,  1 * MSEC,   0 },
                { 1000 * MSEC, 0,          2 }, /* full again */
                { 9000 * MSEC, 0,          2 }, /* and no fuller than that */
        };
        RestartBudget b = { .rate = 10, .burst = 3 };

        ASSERT_EQ(restart_budget_available(&b, START), 3);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                usec_t delay = restart_budget_take(&b, START + rows[i].at, 25 * MSEC);

                if (delay != rows[i].delay)
                        TEST_FAIL("row %zu: delay %llu", i, (unsigned long long) delay);
                ASSERT_EQ(restart_budget_available(&b, START + rows[i].at), rows[i].available);
        }
}

TEST(rate_holds_in_the_long_run) {
        RestartBudget b = { .rate = 50, .burst = 200 };
        unsigned done = 0;

        /* 100 that crash at once, whenever they may run, for ten seconds. */
        usec_t next[100];

        for (size_t i = 0; i < ELEMENTSOF(next); i++)
                next[i] = START;
        for (usec_t t = START; t < START + 10 * USEC_PER_SEC; t += MSEC)
                for (size_t i = 0; i < ELEMENTSOF(next); i++)
                        if (next[i] <= t) {
                                next[i] = t + restart_budget_take(&b, t, 0) + MSEC;
                                done++;
                        }

        /* Those that were granted a place in the row count when they run, hence the 100. */
        ASSERT_TRUE(done >= 200 + 50 * 10);
        ASSERT_TRUE(done <= 200 + 50 * 10 + 100 + 1);
}

TEST(slow_ones_count_as_several) {
        RestartBudget b = { .rate = 10, .burst = 3 };

        /* 75 ms of work: 300 ms of the 300 ms that the bucket holds. */
        ASSERT_EQ(restart_budget_take(&b, START, 75 * MSEC), 0);
        ASSERT_EQ(restart_budget_available(&b, START), 0);
        ASSERT_EQ(restart_budget_take(&b, START, 75 * MSEC), 300 * MSEC);
        ASSERT_EQ(restart_budget_take(&b, START, 0), 400 * MSEC);
        ASSERT_EQ(restart_budget_take(&b, START + USEC_PER_SEC, 0), 0);
}

TEST(no_limit) {
        RestartBudget b = { .rate = 0, .burst = 7 };

        for (unsigned i = 0; i < 1000; i++)
                ASSERT_EQ(restart_budget_take(&b, START, 0), 0);
        ASSERT_EQ(restart_budget_available(&b, START), 7);
}

TEST(default_crash_looper_is_not_delayed) {
        RestartBudget b = { .rate = 30, .burst = 200 };

        for (unsigned i = 0; i < 15; i++)
                ASSERT_EQ(restart_budget_take(&b, START + i * MSEC, 0), 0);
}
