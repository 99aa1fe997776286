/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <sys/syscall.h>

#include "log-fixture.h"

TEST(kind_names) {
        ASSERT_STRING_TABLE(log_stream_kind, _LOG_STREAM_KIND_MAX);
}

TEST(all_targets_get_each_line) {
        _cleanup_free_ char *out = NULL, *err = NULL, *both = NULL, *got = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        out = in_dir(&f, "out.log");
        err = in_dir(&f, "error.log");
        both = in_dir(&f, "both.log");

        for (LogStreamKind k = 0; k < _LOG_STREAM_KIND_MAX; k++) {
                LogStreamSpec spec = spec_of(k);

                spec.path = k == LOG_STREAM_OUT ? out : err;
                spec.combined_path = both;
                spec.journal = true;
                fd = add(&f, &spec, NULL);
                put(fd, k == LOG_STREAM_OUT ? "from out\n" : "from err");
                safe_close(fd);
                ASSERT_TRUE(run_until_closed(&f, k + 1));
        }

        got = content(out, NULL);
        ASSERT_STREQ(got, "from out\n");
        free(got);
        got = content(err, NULL);
        ASSERT_STREQ(got, "from err\n");
        free(got);
        got = content(both, NULL);
        ASSERT_STREQ(got, "from out\nfrom err\n");
        ASSERT_TRUE(journal_wait(2));
        fixture_done(&f);
}

/* The same file for the stream and for both streams gets a line once. */
TEST(one_file_named_twice) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = spec.combined_path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        got = content(path, NULL);
        ASSERT_STREQ(got, "x\n");
        fixture_done(&f);
}

/* Longer than the limit: whole in the file, in marked pieces in the journal, with the priority of the first. */
TEST(line_of_a_megabyte) {
        const size_t size = 1024 * 1024;
        _cleanup_free_ char *text = malloc(size), *path = NULL, *got = NULL;
        size_t n_got, total = 0;
        Fixture f;
        int fd;

        ASSERT_TRUE(text);
        for (size_t i = 0; i < size; i++)
                text[i] = (char) ('a' + i % 26);
        memcpy(text, "<4>", 3);

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.journal = true;
        fd = add(&f, &spec, NULL);
        ASSERT_OK(write_all(fd, text, size));
        put(fd, "\nshort\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        got = content(path, &n_got);
        ASSERT_TRUE(got);
        ASSERT_EQ(n_got, size + STRLEN("\nshort\n"));
        ASSERT_EQ(memcmp(got, text, size), 0);
        ASSERT_STREQ(got + size, "\nshort\n");

        ASSERT_TRUE(journal_wait(size / LOG_LINE_MAX + 1));
        for (size_t i = 0; i + 1 < journal.n; i++) {
                ASSERT_TRUE(entry_has(i, "PRIORITY=4"));
                ASSERT_EQ(entry_has(i, "PM_LINE_BREAK=line-max"), i + 2 < journal.n);
                total += (size_t) (strchr(journal.entries[i], '\n') - journal.entries[i]) - STRLEN("MESSAGE=");
        }
        ASSERT_EQ(total, size - 3);
        ASSERT_TRUE(entry_has(journal.n - 1, "MESSAGE=short") && entry_has(journal.n - 1, "PRIORITY=6"));
        fixture_done(&f);
}

TEST(never_a_newline) {
        const size_t size = 3 * LOG_LINE_MAX + 1000;
        _cleanup_free_ char *text = malloc(size), *path = NULL, *got = NULL;
        size_t n_got;
        Fixture f;
        int fd;

        ASSERT_TRUE(text);
        memset(text, 'x', size);
        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fd = add(&f, &spec, NULL);
        for (size_t i = 0; i < size; i += 1000)
                ASSERT_OK(write_all(fd, text + i, MIN((size_t) 1000, size - i)));
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        got = content(path, &n_got);
        ASSERT_TRUE(got);
        ASSERT_EQ(n_got, size + 1);
        ASSERT_EQ(memcmp(got, text, size), 0);
        ASSERT_EQ(got[size], '\n');
        fixture_done(&f);
}

/* ---- two writers, one file ---- */

typedef struct Writer {
        int fd;
        char name;
        unsigned n_lines;
} Writer;

static void *write_lines(void *arg) {
        Writer *w = arg;
        char line[256];

        for (unsigned i = 0; i < w->n_lines; i++) {
                int n = snprintf(line, sizeof line, "%c %u %0*d\n", w->name, i, (int) (1 + i * 7 % 150), 0);

                /* In two writes, so that the reader meets half lines. */
                assert(write_all(w->fd, line, (size_t) n / 2) >= 0);
                assert(write_all(w->fd, line + n / 2, (size_t) (n - n / 2)) >= 0);
        }
        safe_close(w->fd);
        return NULL;
}

/* Whether every line is one that some writer wrote, each writer's in order and all there. */
static bool lines_are_whole(char *text, unsigned n_lines) {
        unsigned next[2] = {};

        for (char *line = text, *end; *line; line = end + 1) {
                size_t which, zeros;
                unsigned i;
                int at = 0;

                end = strchr(line, '\n');
                if (!end)
                        return false;
                *end = 0;
                which = (size_t) (line[0] - 'A');
                if (which >= 2 || sscanf(line + 1, " %u %n", &i, &at) != 1 || i != next[which]++)
                        return false;
                zeros = strspn(line + 1 + at, "0");
                if (zeros != 1 + i * 7 % 150 || line[1 + (size_t) at + zeros])
                        return false;
        }
        return next[0] == n_lines && next[1] == n_lines;
}

TEST(two_streams_into_one_file) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        pthread_t threads[2];
        Writer writers[2];
        Fixture f;

        fixture_init(&f);
        path = in_dir(&f, "both.log");
        for (size_t i = 0; i < 2; i++) {
                LogStreamSpec spec = spec_of(i == 0 ? LOG_STREAM_OUT : LOG_STREAM_ERR);

                spec.combined_path = path;
                writers[i] = (Writer) { add(&f, &spec, NULL), (char) ('A' + i), 50000 };
        }
        for (size_t i = 0; i < 2; i++)
                ASSERT_EQ(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
        ASSERT_TRUE(run_until_closed(&f, 2));
        for (size_t i = 0; i < 2; i++)
                ASSERT_EQ(pthread_join(threads[i], NULL), 0);

        got = content(path, NULL);
        ASSERT_TRUE(got);
        ASSERT_TRUE(lines_are_whole(got, 50000));
        fixture_done(&f);
}

/* A piece of an overlong line is in the file already when another stream writes: the other's line stands alone. */
TEST(overlong_line_and_another_stream) {
        _cleanup_free_ char *text = malloc(LOG_LINE_MAX + 100), *path = NULL, *got = NULL;
        struct stat st = {};
        Fixture f;
        int a, b;

        ASSERT_TRUE(text);
        memset(text, 'x', LOG_LINE_MAX + 100);
        fixture_init(&f);
        path = in_dir(&f, "both.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        a = add(&f, &spec, NULL);
        b = add(&f, &spec, NULL);

        ASSERT_OK(write_all(a, text, LOG_LINE_MAX + 100));
        while (st.st_size < (off_t) LOG_LINE_MAX)
                (void) stat(path, &st);
        put(b, "other\n");
        safe_close(b);
        ASSERT_TRUE(run_until_closed(&f, 1));
        put(a, "end\n");
        safe_close(a);
        ASSERT_TRUE(run_until_closed(&f, 2));

        got = content(path, NULL);
        ASSERT_TRUE(got);
        ASSERT_TRUE(startswith(got + LOG_LINE_MAX, "\nother\nxxx"));
        ASSERT_TRUE(endswith(got, "xend\n"));
        ASSERT_EQ(strlen(got), LOG_LINE_MAX + STRLEN("\nother\n") + 100 + STRLEN("end\n"));
        fixture_done(&f);
}

TEST(hundred_thousand_lines_to_the_journal) {
        const unsigned n = 100000;
        _cleanup_free_ char *path = NULL;
        pthread_t thread;
        Writer writer;
        Fixture f;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        writer = (Writer) { add(&f, &spec, NULL), 'A', n };
        ASSERT_EQ(pthread_create(&thread, NULL, write_lines, &writer), 0);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(pthread_join(thread, NULL), 0);

        ASSERT_TRUE(journal_wait(n));
        for (unsigned i = 0; i < n; i++) {
                unsigned k;

                ASSERT_EQ(sscanf(journal.entries[i], "MESSAGE=A %u ", &k), 1);
                ASSERT_EQ(k, i);
        }
        fixture_done(&f);
}

/* ---- ends that are no EOF ---- */

TEST(give_up_with_a_stray_holder) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fd = add(&f, &spec, &stream);
        put(fd, "whole\nhalf");
        ASSERT_OK(log_relay_give_up(f.relay, stream));
        ASSERT_OK(log_relay_give_up(f.relay, stream));
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);

        got = content(path, NULL);
        ASSERT_STREQ(got, "whole\nhalf\n");
        safe_close(fd);
        fixture_done(&f);
}

/* A disk that hangs, for others than the main thread: instead of libc's. */
static pthread_mutex_t hang = PTHREAD_MUTEX_INITIALIZER;

ssize_t write(int fd, const void *data, size_t n) {
        if (gettid() != getpid() && n == 5 && memcmp(data, "hang\n", 5) == 0) {
                pthread_mutex_lock(&hang);
                pthread_mutex_unlock(&hang);
        }
        return syscall(SYS_write, fd, data, n);
}

TEST(give_up_does_not_wait_for_a_hanging_thread) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fd = add(&f, &spec, &stream);
        pthread_mutex_lock(&hang);
        put(fd, "hang\n");
        ASSERT_OK(log_relay_give_up(f.relay, stream));
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);

        /* The line is not lost, and its end is not told twice. */
        pthread_mutex_unlock(&hang);
        f.relay = log_relay_free(f.relay);
        ASSERT_EQ(f.n_closed, 1);
        got = content(path, NULL);
        ASSERT_STREQ(got, "hang\n");
        safe_close(fd);
        fixture_done(&f);
}

/* What hangs in one directory holds up nothing in another, nor what goes to the journal. */
TEST(disk_that_hangs_delays_its_own_lines_only) {
        _cleanup_free_ char *stuck = NULL, *other = NULL, *got = NULL;
        Fixture f;
        int fds[3];

        fixture_init(&f);
        stuck = in_dir(&f, "a/out.log");
        other = in_dir(&f, "b/out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);

        pthread_mutex_lock(&hang);
        spec.path = stuck;
        fds[0] = add(&f, &spec, NULL);
        put(fds[0], "hang\n");
        spec.path = other;
        fds[1] = add(&f, &spec, NULL);
        put(fds[1], "goes on\n");
        spec.path = NULL;
        spec.journal = true;
        fds[2] = add(&f, &spec, NULL);
        put(fds[2], "goes on\n");
        safe_close(fds[1]);
        safe_close(fds[2]);
        ASSERT_TRUE(run_until_closed(&f, 2));
        got = content(other, NULL);
        ASSERT_STREQ(got, "goes on\n");
        ASSERT_TRUE(journal_wait(1));

        pthread_mutex_unlock(&hang);
        safe_close(fds[0]);
        ASSERT_TRUE(run_until_closed(&f, 3));
        fixture_done(&f);
}

TEST(forgotten_stream_lives_on) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        uint64_t stream;
        Fixture f;
        int fds[2];

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fds[0] = add(&f, &spec, &stream);
        ASSERT_OK(log_relay_forget(f.relay, stream));
        ASSERT_OK(log_relay_forget(f.relay, stream));
        put(fds[0], "forgotten\n");
        fds[0] = safe_close(fds[0]);

        fds[1] = add(&f, &spec, NULL);
        safe_close(fds[1]);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(f.closed[0] != stream);

        f.relay = log_relay_free(f.relay);
        got = content(path, NULL);
        ASSERT_STREQ(got, "forgotten\n");
        fixture_done(&f);
}

TEST(free_writes_out_the_pipes) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        fd = add(&f, &spec, NULL);
        put(fd, "whole\nhalf");
        f.relay = log_relay_free(f.relay);

        got = content(path, NULL);
        ASSERT_STREQ(got, "whole\nhalf\n");
        ASSERT_EQ(f.n_closed, 0);
        safe_close(fd);
        fixture_done(&f);
}

TEST(reopen_after_a_rename) {
        _cleanup_free_ char *path = NULL, *old = NULL, *got = NULL;
        uint64_t stream;
        Fixture f;
        int fds[2];

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        old = in_dir(&f, "out.log.1");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        /* The second stream keeps the file open while the first one ends: its closed() tells that the line is
         * written. */
        fds[0] = add(&f, &spec, &stream);
        fds[1] = add(&f, &spec, NULL);
        put(fds[0], "before\n");
        fds[0] = safe_close(fds[0]);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_OK(rename(path, old));
        ASSERT_OK(log_relay_reopen_files(f.relay));
        put(fds[1], "after\n");
        fds[1] = safe_close(fds[1]);
        ASSERT_TRUE(run_until_closed(&f, 2));

        got = content(old, NULL);
        ASSERT_STREQ(got, "before\n");
        free(got);
        got = content(path, NULL);
        ASSERT_STREQ(got, "after\n");
        fixture_done(&f);
}

TEST(what_cannot_be_read) {
        uint64_t stream = 0;
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        ASSERT_EQ(log_relay_add_stream(f.relay, -EBADF, &spec, on_closed, &f, &stream), -EBADF);
        ASSERT_EQ(stream, 0);

        /* What epoll cannot watch is closed, and said to be. */
        fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(log_relay_add_stream(f.relay, fd, &spec, on_closed, &f, &stream));
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);
        ASSERT_TRUE(fcntl(fd, F_GETFD) < 0);
        fixture_done(&f);
}

static void count(void *userdata) {
        ++*(unsigned *) userdata;
}

/* What was asked for before it has been done when it answers. */
TEST(sync_follows_what_was_asked_for) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        unsigned n_answers = 0;
        Fixture f;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        ASSERT_OK(write_file_atomic(path, "old\n", 4, 0600));
        ASSERT_OK(log_relay_flush_file(f.relay, path, false, geteuid(), getegid()));
        ASSERT_OK(log_relay_sync(f.relay, count, &n_answers));
        ASSERT_EQ(n_answers, 0);
        while (n_answers == 0)
                ASSERT_OK(sd_event_run(f.event, UINT64_MAX));
        got = content(path, NULL);
        ASSERT_STREQ(got, "");
        fixture_done(&f);
        ASSERT_EQ(n_answers, 1);
}

TEST(sync_is_answered_at_the_end_at_the_latest) {
        unsigned n_answers = 0;
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(log_relay_sync(f.relay, count, &n_answers));
        fixture_done(&f);
        ASSERT_EQ(n_answers, 1);
}
