/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "log-fixture.h"

typedef struct Listener {
        LogRelay *relay;
        char text[256];        /* id, stream and text of the first lines */
        uint64_t n_lines, n_skipped, n_calls;
        uint64_t end_after;    /* calls, 0: never */
        bool torn;
        char expected;
} Listener;

static void on_line(const LogTapLine *line, void *userdata) {
        Listener *l = ASSERT_PTR(userdata);
        size_t n = strlen(l->text);

        l->n_calls++;
        l->n_skipped += line->n_skipped;
        if (l->n_calls == l->end_after)
                log_relay_set_tap(l->relay, false, NULL, NULL);
        if (!line->line.data)
                return;

        l->n_lines++;
        (void) snprintf(l->text + n, sizeof l->text - n, "%u %s %.*s\n", line->id, log_stream_kind_to_string(line->kind),
                        (int) MIN(line->line.size, (size_t) 40), line->line.data);
        if (l->expected)
                for (size_t i = 0; i < line->line.size; i++)
                        l->torn = l->torn || line->line.data[i] != l->expected;
}

/* Runs the loop until so many lines have come or were skipped, or for a long time. */
static bool run_until_lines(Fixture *f, const Listener *l, uint64_t n) {
        usec_t deadline = now(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

        while (l->n_lines + l->n_skipped < n && now(CLOCK_MONOTONIC) < deadline)
                assert(sd_event_run(f->event, USEC_PER_SEC) >= 0);
        return l->n_lines + l->n_skipped == n;
}

TEST(lines_of_both_streams) {
        Fixture f;
        Listener l = {};
        int fds[2];

        fixture_init(&f);
        log_relay_set_tap(f.relay, true, on_line, &l);
        LogStreamSpec out = spec_of(LOG_STREAM_OUT), err = spec_of(LOG_STREAM_ERR);
        fds[0] = add(&f, &out, NULL);
        fds[1] = add(&f, &err, NULL);
        put(fds[0], "one\ntwo\n\nlast");
        safe_close(fds[0]);
        ASSERT_TRUE(run_until_lines(&f, &l, 4));
        put(fds[1], "three\n");
        safe_close(fds[1]);
        ASSERT_TRUE(run_until_lines(&f, &l, 5));
        ASSERT_STREQ(l.text, "7 out one\n7 out two\n7 out \n7 out last\n7 err three\n");
        ASSERT_EQ(l.n_skipped, 0);
        fixture_done(&f);
}

/* What comes while nobody listens, or what nobody has looked at by then, is not told to the next one. */
TEST(only_while_somebody_listens) {
        Listener first = {}, second = {};
        Fixture f;
        int fds[3];

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        for (size_t i = 0; i < 3; i++)
                fds[i] = add(&f, &spec, NULL);

        put(fds[0], "too early\n");
        safe_close(fds[0]);
        ASSERT_TRUE(run_until_closed(&f, 1));

        log_relay_set_tap(f.relay, true, on_line, &first);
        put(fds[1], "not looked at\n");
        safe_close(fds[1]);
        while (f.n_closed < 2) /* the lines have the lowest priority, and each turn takes one event */
                ASSERT_OK(sd_event_run(f.event, USEC_PER_SEC));
        log_relay_set_tap(f.relay, false, NULL, NULL);

        log_relay_set_tap(f.relay, true, on_line, &second);
        put(fds[2], "now\n");
        safe_close(fds[2]);
        ASSERT_TRUE(run_until_lines(&f, &second, 1));
        ASSERT_STREQ(second.text, "7 out now\n");
        fixture_done(&f);
}

TEST(listener_that_ends_itself) {
        Listener l = { .end_after = 2 };
        Fixture f;
        int fd;

        fixture_init(&f);
        l.relay = f.relay;
        log_relay_set_tap(f.relay, true, on_line, &l);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        fd = add(&f, &spec, NULL);
        put(fd, "one\ntwo\nthree\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_lines(&f, &l, 2));
        ASSERT_TRUE(run_until_closed(&f, 1));
        while (sd_event_run(f.event, 0) > 0)
                ;
        ASSERT_STREQ(l.text, "7 out one\n7 out two\n");
        fixture_done(&f);
}

/* A main loop that does not run holds up no lines, keeps few of them, and tells exactly how many are missing. */
TEST(slow_listener_is_skipped) {
        enum { LINES = 200000, SIZE = 100 };
        _cleanup_free_ char *path = NULL, *text = malloc((size_t) LINES * SIZE);
        struct stat st = {};
        Listener l = { .expected = 'x' };
        usec_t deadline;
        Fixture f;
        int fd;

        ASSERT_TRUE(text);
        memset(text, 'x', (size_t) LINES * SIZE);
        for (size_t i = 1; i <= LINES; i++)
                text[i * SIZE - 1] = '\n';

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        log_relay_set_tap(f.relay, true, on_line, &l);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fd = add(&f, &spec, NULL);
        ASSERT_OK(write_all(fd, text, (size_t) LINES * SIZE));
        deadline = now(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;
        while (st.st_size < (off_t) LINES * SIZE && now(CLOCK_MONOTONIC) < deadline)
                (void) stat(path, &st);
        ASSERT_EQ(st.st_size, (off_t) LINES * SIZE);
        safe_close(fd);

        ASSERT_TRUE(run_until_lines(&f, &l, LINES));
        ASSERT_TRUE(l.n_lines > 0 && l.n_lines * SIZE <= 1024 * 1024);
        ASSERT_TRUE(!l.torn);
        ASSERT_TRUE(run_until_closed(&f, 1));
        fixture_done(&f);
}
