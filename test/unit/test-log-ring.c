/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "pmd/log-ring.h"

static LogRecord *push(LogRing *r, const char *text, LogCounter *counter) {
        return log_ring_push(r, &(struct iovec) { (char *) text, strlen(text) }, 1, 0, 1, counter, true, true);
}

/* Without that their records would be larger than they are. */
TEST(short_lines_share_records) {
        enum { LINES = 20000 };
        _cleanup_(log_counter_unrefp) LogCounter *counter = log_counter_new();
        uint64_t n_lines = 0, n = 0;
        LogRing r = {};

        ASSERT_TRUE(counter);
        for (unsigned i = 0; i < LINES; i++) {
                char line[16];

                (void) snprintf(line, sizeof line, "line %05u\n", i);
                ASSERT_TRUE(push(&r, line, counter));
        }
        ASSERT_EQ(log_counter_get(counter), 0);
        ASSERT_TRUE(r.size < LINES * 16);

        for (; r.first; log_ring_pop(&r)) {
                n_lines += r.first->n_lines;
                for (size_t k = 0; k < r.first->size; k += STRLEN("line 00000\n"), n++)
                        ASSERT_EQ(strtoul(r.first->data + k + STRLEN("line "), NULL, 10), n);
        }
        ASSERT_EQ(n, LINES);
        ASSERT_EQ(n_lines, LINES);
        ASSERT_EQ(r.size, 0);
        ASSERT_TRUE(log_ring_is_empty(&r));
}

TEST(who_does_not_share) {
        _cleanup_(log_counter_unrefp) LogCounter *a = log_counter_new(), *b = log_counter_new();
        LogRing r = {};
        LogRecord *x;

        ASSERT_TRUE(a && b);
        x = push(&r, "a\n", a);
        ASSERT_TRUE(push(&r, "a\n", a) == x);
        ASSERT_TRUE(push(&r, "b\n", b) != x);
        ASSERT_EQ(x->size, 4);
        ASSERT_EQ(x->n_lines, 2);

        x = log_ring_push(&r, &(struct iovec) { (char *) "whole\n", 6 }, 1, 0, 1, b, true, false);
        ASSERT_TRUE(x == r.last && x->size == 6);
        ASSERT_TRUE(push(&r, "b\n", b) != x);

        ASSERT_EQ(log_ring_clear(&r), 5);
        ASSERT_EQ(log_counter_get(a), 2);
        ASSERT_EQ(log_counter_get(b), 3);
        ASSERT_EQ(r.size, 0);
}

/* All that is dropped is counted, the newest are there, and the gap is in front of them. */
TEST(oldest_are_dropped) {
        enum { LINES = 200000 };
        _cleanup_(log_counter_unrefp) LogCounter *counter = log_counter_new();
        unsigned long expected;
        uint64_t gap;
        LogRing r = {};

        ASSERT_TRUE(counter);
        for (unsigned i = 0; i < LINES; i++) {
                char line[16];

                (void) snprintf(line, sizeof line, "line %06u\n", i);
                ASSERT_TRUE(push(&r, line, counter));
        }
        ASSERT_TRUE(r.size <= LOG_RING_MAX);

        gap = log_ring_get_gap(&r);
        ASSERT_TRUE(gap > 0 && gap == log_counter_get(counter));
        expected = gap;
        log_ring_close_gap(&r);
        for (; r.first; log_ring_pop(&r))
                for (size_t k = 0; k < r.first->size; k += STRLEN("line 000000\n"), expected++)
                        ASSERT_EQ(strtoul(r.first->data + k + STRLEN("line "), NULL, 10), expected);
        ASSERT_EQ(expected, LINES);
        ASSERT_TRUE(log_ring_is_empty(&r));
}

/* What a target has a part of stays, and so the gap is behind it: later lines must not come before that. */
TEST(gap_behind_one_that_is_being_written) {
        _cleanup_free_ char *large = malloc(LOG_RING_MAX);
        const struct iovec begun = { (char *) "begun\n", 6 };
        LogRing r = {};
        LogRecord *x;

        ASSERT_TRUE(large);
        memset(large, 'x', LOG_RING_MAX);

        x = log_ring_push(&r, &begun, 1, 3, 1, NULL, true, true);
        ASSERT_TRUE(x);
        ASSERT_TRUE(push(&r, "joined\n", NULL) == x);
        ASSERT_TRUE(log_ring_push(&r, &(struct iovec) { large, LOG_RING_MAX / 2 }, 1, 0, 1, NULL, true, true));
        ASSERT_TRUE(log_ring_push(&r, &(struct iovec) { large, LOG_RING_MAX - 8192 }, 1, 0, 1, NULL, true, true));
        ASSERT_TRUE(r.first == x && x->next == r.last);
        ASSERT_EQ(r.n_dropped, 1);
        ASSERT_EQ(log_ring_get_gap(&r), 0);

        /* Nothing but the one that is being written is left, and there is a gap. */
        ASSERT_TRUE(log_ring_push(&r, &(struct iovec) { large, LOG_RING_MAX }, 1, 0, 1, NULL, true, true));
        ASSERT_EQ(r.n_dropped, 2);
        log_ring_pop(&r);
        ASSERT_EQ(log_ring_get_gap(&r), 2);
        ASSERT_EQ(log_ring_clear(&r), 3);

        x = log_ring_push(&r, &begun, 1, 3, 1, NULL, true, true);
        r.n_dropped = 1;
        ASSERT_TRUE(push(&r, "later\n", NULL) != x);
        ASSERT_EQ(log_ring_clear(&r), 3);
}

/* So that it can be told that they do. */
TEST(it_is_known_since_when_lines_wait) {
        _cleanup_(log_counter_unrefp) LogCounter *a = log_counter_new(), *b = log_counter_new();
        usec_t begin = now(CLOCK_MONOTONIC), since;
        LogRing r = {};

        ASSERT_TRUE(a && b);
        ASSERT_EQ(log_counter_get_since(a), 0);
        ASSERT_TRUE(push(&r, "a\n", a));
        log_counter_set_error(a, &r, -ENOSPC);
        log_counter_set_error(a, &b, 0); /* another target is well */
        ASSERT_EQ(log_counter_get_error(a), -ENOSPC);
        since = log_counter_get_since(a);
        ASSERT_TRUE(since >= begin && since <= now(CLOCK_MONOTONIC));
        ASSERT_TRUE(push(&r, "b\n", b));
        ASSERT_TRUE(push(&r, "a\n", a));
        ASSERT_EQ(log_counter_get_since(a), since);

        while (now(CLOCK_MONOTONIC) == since)
                ;
        log_ring_pop(&r);
        ASSERT_TRUE(log_counter_get_since(a) > since);
        ASSERT_EQ(log_counter_get_error(a), 0);
        ASSERT_EQ(log_ring_clear(&r), 2);
        ASSERT_EQ(log_counter_get_since(a), 0);
        ASSERT_EQ(log_counter_get_since(b), 0);
}
