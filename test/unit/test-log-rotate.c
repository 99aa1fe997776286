/* SPDX-License-Identifier: MIT */
#include <dirent.h>

#include "log-fixture.h"
#include "pmd/log-path.h"
#include "test.h"

/* ---- rotation ---- */

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strverscmp((*a)->d_name, (*b)->d_name);
}

static int is_log(const struct dirent *e) {
        return startswith(e->d_name, "out") != NULL;
}

static int count_logs(const Fixture *f) {
        struct dirent **names;
        int n = scandir(f->dir, &names, is_log, by_name);

        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return n;
}

/* Marks the numbers of the lines "N xxxx" that are in the files; each is to be there once and whole. */
static size_t check_lines(const Fixture *f, bool *seen, size_t n_lines) {
        struct dirent **names;
        size_t n_bad = 0;
        int n = scandir(f->dir, &names, is_log, by_name);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = strjoin(f->dir, "/", names[i]->d_name), *text = content(path, NULL);

                for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
                        unsigned k;

                        *end = 0;
                        if (sscanf(line, "%u ", &k) != 1 || k >= n_lines || seen[k] || strlen(line) != 99)
                                n_bad++;
                        else
                                seen[k] = true;
                }
                free(names[i]);
        }
        free(names);
        return n_bad;
}

static void put_numbered(int fd, size_t from, size_t to) {
        for (size_t i = from; i < to; i++) {
                char line[128];

                (void) snprintf(line, sizeof line, "%-98zu.\n", i);
                put(fd, line);
        }
}

static void wait_for_count(const Fixture *f, int n) {
        usec_t deadline = now(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

        while (count_logs(f) != n && now(CLOCK_MONOTONIC) < deadline)
                usleep(1000);
}

/* 1000 files of 100 lines of 100 bytes: none is lost, none is torn. */
TEST(no_line_is_lost_by_rotation) {
        enum { LINES = 100000 };
        LogRotation rotation = { .max_size = 10000, .retain = 2000 };
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ bool *seen = new0(bool, LINES);
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        fd = add(&f, &spec, NULL);
        put_numbered(fd, 0, LINES);
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_EQ(check_lines(&f, seen, LINES), 0);
        for (size_t i = 0; i < LINES; i++)
                ASSERT_TRUE(seen[i]);
        ASSERT_EQ(count_logs(&f), 1000);
        fixture_done(&f);
}

TEST(old_files_are_removed) {
        LogRotation rotation = { .max_size = 1000, .retain = 3 };
        static const char *const others[] = { "out__x-out.log", "out-1__2026-08-07_06-05-04.log", "out__2026.log", "out__2026-08-07_06-05-04.txt" };
        _cleanup_free_ char *path = NULL, *stale = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        stale = in_dir(&f, "out__2001-08-07_06-05-04_17.log.gz.part");
        safe_close(open(stale, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                _cleanup_free_ char *other = in_dir(&f, others[i]);

                safe_close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        }
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        fd = add(&f, &spec, NULL);
        put_numbered(fd, 0, 200);
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(count_logs(&f), 1 + 3 + ELEMENTSOF(others));
        ASSERT_TRUE(access(stale, F_OK) < 0);
        fixture_done(&f);
}

static int is_compressed(const struct dirent *e) {
        return endswith(e->d_name, ".log.gz") != NULL;
}

static int count_compressed(const Fixture *f) {
        struct dirent **names;
        int n = scandir(f->dir, &names, is_compressed, by_name);

        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return n;
}

TEST(old_files_are_compressed) {
        LogRotation rotation = { .max_size = 1000, .retain = 10, .compress = true };
        _cleanup_free_ char *path = NULL, *command = NULL;
        usec_t deadline = now(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;
        Fixture f;
        int fd;

        if (access("/usr/bin/gzip", X_OK) < 0 && access("/bin/gzip", X_OK) < 0)
                return;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        fd = add(&f, &spec, NULL);
        put_numbered(fd, 0, 60); /* six files, the last of them in use */
        while (count_compressed(&f) < 5 && now(CLOCK_MONOTONIC) < deadline)
                usleep(1000);
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        wait_for_count(&f, 6);
        ASSERT_EQ(count_compressed(&f), 5);
        ASSERT_EQ(count_logs(&f), 6);

        command = strjoin("cd ", f.dir, " && gzip -t *.gz && test $(zcat *.gz | cat - out.log | sort -un | wc -l) = 60");
        ASSERT_EQ(system(command), 0);
        fixture_done(&f);
}

/* A line is never cut, even if it is longer than the file may be. */
TEST(long_lines_are_files) {
        LogRotation rotation = { .max_size = 10, .retain = 10 };
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        fd = add(&f, &spec, NULL);
        put(fd, "0123456789 is long\na\nb\nc\nabcdefghijklmnop\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(count_logs(&f), 3);
        got = content(path, NULL);
        ASSERT_STREQ(got, "abcdefghijklmnop\n");
        fixture_done(&f);
}

/* Every second. */
TEST(rotation_by_the_clock) {
        LogRotation rotation = { .retain = 10, .interval = (char *) "* * * * * *" };
        _cleanup_free_ char *path = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        wait_for_count(&f, 2);
        ASSERT_EQ(count_logs(&f), 2);
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        fixture_done(&f);
}

/* Who copies and truncates from outside loses nothing of what comes then, and makes no hole. */
TEST(truncation_from_outside) {
        LogRotation rotation = { .max_size = 100, .retain = 10 };
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.rotation = &rotation;

        for (size_t i = 1; i <= 3; i++) {
                fd = add(&f, &spec, NULL);
                put(fd, "0123456789012345678901234567890123456789012345678\n");
                safe_close(fd);
                ASSERT_TRUE(run_until_closed(&f, i));
                ASSERT_OK(truncate(path, 0));
        }
        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 4));
        ASSERT_EQ(count_logs(&f), 1);
        got = content(path, NULL);
        ASSERT_STREQ(got, "x\n");
        fixture_done(&f);
}

/* ---- form ---- */

static char *write_formatted(const LogStreamSpec *form, const char *text) {
        _cleanup_free_ char *path = NULL;
        char *got;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = *form;
        spec.path = path;
        fd = add(&f, &spec, NULL);
        put(fd, text);
        safe_close(fd);
        assert(run_until_closed(&f, 1));
        got = content(path, NULL);
        fixture_done(&f);
        return got;
}

TEST(dates) {
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        _cleanup_free_ char *got = NULL;

        spec.date_format = "[on a day]";
        got = write_formatted(&spec, "one\n\nthree\nhalf");
        ASSERT_STREQ(got, "on a day: one\non a day: \non a day: three\non a day: half\n");
}

TEST(json) {
        LogStreamSpec spec = spec_of(LOG_STREAM_ERR);
        _cleanup_free_ char *got = NULL;

        spec.json = true;
        spec.date_format = "[then]";
        got = write_formatted(&spec, "say \"hi\"\\\t\x01\xff\xc3\xa9\nhalf");
        ASSERT_STREQ(got, "{\"message\":\"say \\\"hi\\\"\\\\\\t\\u0001\xef\xbf\xbd\xc3\xa9\\n\",\"timestamp\":\"then\",\"type\":\"err\","
                          "\"process_id\":7,\"app_name\":\"api\"}\n"
                          "{\"message\":\"half\\n\",\"timestamp\":\"then\",\"type\":\"err\",\"process_id\":7,\"app_name\":\"api\"}\n");
}

/* ---- targets that stall ---- */

/* A pipe with a reader that does not read: another app's lines go on, and no line is lost. */
TEST(stalled_file_blocks_its_app_only) {
        enum { LINES = 20000 }; /* more than the pipes hold, less than what the ring holds besides */
        _cleanup_free_ char *fifo = NULL, *path = NULL, *text = malloc(LINES * 100 + 1), *got = NULL;
        int reader, fds[2];
        size_t n = 0;
        Fixture f;

        fixture_init(&f);
        fifo = in_dir(&f, "fifo");
        path = in_dir(&f, "other.log");
        ASSERT_OK(mkfifo(fifo, 0600));
        reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        LogStreamSpec stalled = spec_of(LOG_STREAM_OUT), other = stalled;
        stalled.path = fifo;
        other.path = path;

        fds[0] = add(&f, &stalled, NULL);
        fds[1] = add(&f, &other, NULL);
        ASSERT_OK(fd_nonblock(fds[0], true));
        for (usec_t end = now(CLOCK_MONOTONIC) + 2 * USEC_PER_SEC; n < LINES && now(CLOCK_MONOTONIC) < end;) {
                char line[128];
                int k = snprintf(line, sizeof line, "%-98zu.\n", n);

                if (write(fds[0], line, (size_t) k) == k)
                        n++;
                else
                        usleep(1000);
        }
        ASSERT_TRUE(n * 100 > 512 * 1024 && n < LINES); /* the app waits */

        put(fds[1], "goes on\n");
        fds[1] = safe_close(fds[1]);
        ASSERT_TRUE(run_until_closed(&f, 1));
        got = content(path, NULL);
        ASSERT_STREQ(got, "goes on\n");

        fds[0] = safe_close(fds[0]);
        for (size_t total = 0; total < n * 100;) {
                ssize_t k = read(reader, text + total, LINES * 100 - total);

                if (k > 0)
                        total += (size_t) k;
                else
                        usleep(100);
        }
        for (size_t i = 0; i < n; i++)
                ASSERT_EQ(strtoul(text + i * 100, NULL, 10), i);
        safe_close(reader);
        fixture_done(&f);
}

/* Waits for the line with that number, then looks at all: what is missing must be what the marks say, where they say it. */
static void check_journal(size_t n_written, LogCounter *dropped) {
        _cleanup_free_ char *last = strprintf("MESSAGE=%zu ", n_written - 1);
        uint64_t n_marked = 0;
        size_t expected = 0;

        for (usec_t end = now(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC; now(CLOCK_MONOTONIC) < end; usleep(1000)) {
                bool done;

                pthread_mutex_lock(&journal.mutex);
                done = journal.n > 0 && startswith(journal.entries[journal.n - 1], last);
                pthread_mutex_unlock(&journal.mutex);
                if (done)
                        break;
        }
        journal_pause();

        for (size_t i = 0; i < journal.n; i++) {
                const char *mark = strstr(journal.entries[i], "\nPM_DROPPED=");
                unsigned k;

                if (mark) {
                        uint64_t n = strtoull(mark + strlen("\nPM_DROPPED="), NULL, 10);

                        n_marked += n;
                        expected += n;
                        continue;
                }
                ASSERT_EQ(sscanf(journal.entries[i], "MESSAGE=%u ", &k), 1);
                ASSERT_EQ(k, expected);
                expected++;
        }
        ASSERT_EQ(expected, n_written);
        ASSERT_EQ(n_marked, log_counter_get(dropped));
}

/* A journal that nobody reads: the app does not wait for long, what is dropped is counted exactly and said. */
TEST(stalled_journal_drops_and_counts) {
        enum { LINES = 40000 };
        LogCounter *dropped = log_counter_new();
        Fixture f;
        int fd;

        fixture_init(&f);
        journal_pause();
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        spec.dropped = dropped;

        fd = add(&f, &spec, NULL);
        put_numbered(fd, 0, LINES); /* would hang if it waited */
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(log_counter_get(dropped) > 0);

        journal_read();
        check_journal(LINES, dropped);
        log_counter_unref(dropped);
        fixture_done(&f);
}

typedef struct Writer {
        int fd;
        size_t n;
} Writer;

static void *write_short_lines(void *arg) {
        const Writer *w = arg;

        for (size_t i = 0; i < w->n; i++) {
                char line[32];

                (void) snprintf(line, sizeof line, "%zu .\n", i);
                put(w->fd, line);
        }
        return NULL;
}

/* It goes on while the app writes, line by line. */
TEST(stalled_journal_goes_on) {
        enum { LINES = 300000 };
        LogCounter *dropped = log_counter_new();
        pthread_t thread;
        Writer writer;
        Fixture f;

        fixture_init(&f);
        journal_pause();
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        spec.dropped = dropped;

        writer = (Writer) { add(&f, &spec, NULL), LINES };
        ASSERT_EQ(pthread_create(&thread, NULL, write_short_lines, &writer), 0);
        while (log_counter_get(dropped) == 0)
                usleep(1000);
        journal_read();
        check_journal(LINES, dropped);
        pthread_join(thread, NULL);
        safe_close(writer.fd);
        log_counter_unref(dropped);
        fixture_done(&f);
}

/* ---- tricks ---- */

TEST(other_names_of_files_are_refused) {
        _cleanup_free_ char *path = NULL, *target = NULL, *got = NULL;
        Fixture f;
        int fd;

        if (geteuid() != 0)
                return;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        target = in_dir(&f, "target");
        safe_close(open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        ASSERT_OK(link(target, path));
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        got = content(target, NULL);
        ASSERT_STREQ(got, "");
        fixture_done(&f);
}

TEST(symlinks_on_the_way) {
        _cleanup_free_ char *real = NULL, *sub = NULL, *link_path = NULL, *file = NULL;
        Fixture f;
        int fd;

        if (geteuid() != 0)
                return;

        fixture_init(&f);
        real = in_dir(&f, "real");
        sub = in_dir(&f, "real/a/b");
        link_path = in_dir(&f, "link");
        file = in_dir(&f, "link/a/b/out.log");
        ASSERT_OK(mkdir(real, 0755));
        ASSERT_OK(symlink("real/./", link_path));

        fd = log_path_open_parent(file, 0);
        ASSERT_OK(fd);
        safe_close(fd);
        ASSERT_OK(access(sub, F_OK));

        /* That of another user leads where he likes. */
        ASSERT_OK(lchown(link_path, 65534, 65534));
        ASSERT_EQ(log_path_open_parent(file, 0), -ELOOP);
        fd = log_path_open_parent(file, 65534);
        ASSERT_OK(fd);
        safe_close(fd);

        ASSERT_OK(unlink(link_path));
        ASSERT_OK(symlink("link", link_path));
        ASSERT_EQ(log_path_open_parent(file, 0), -ELOOP);
        ASSERT_EQ(log_path_open_parent("relative/x", 0), -EINVAL);
        fixture_done(&f);
}
