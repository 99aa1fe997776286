/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "pmd/log-relay.h"
#include "pmd/log-sink-journal.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/time-util.h"

/* ---- a journal that remembers ---- */

static struct {
        pthread_mutex_t mutex;
        char **entries;     /* fields joined by '\n', sizes beside */
        size_t *sizes;
        size_t n, n_entries, n_sizes;
        int error;          /* what sending returns */
        pthread_mutex_t *hang;
} journal = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int fake_send(const struct iovec *iov, int n) {
        size_t size = 0;
        char *entry;
        int r;

        if (journal.hang) {
                pthread_mutex_lock(journal.hang);
                pthread_mutex_unlock(journal.hang);
        }

        for (int i = 0; i < n; i++)
                size += iov[i].iov_len + 1;
        entry = malloc(size + 1);
        assert(entry);
        size = 0;
        for (int i = 0; i < n; i++) {
                memcpy(entry + size, iov[i].iov_base, iov[i].iov_len);
                size += iov[i].iov_len;
                entry[size++] = '\n';
        }
        entry[size] = 0;

        pthread_mutex_lock(&journal.mutex);
        r = journal.error;
        if (r >= 0) {
                assert(GREEDY_REALLOC(journal.entries, journal.n_entries, journal.n + 1));
                assert(GREEDY_REALLOC(journal.sizes, journal.n_sizes, journal.n + 1));
                journal.sizes[journal.n] = size;
                journal.entries[journal.n++] = entry;
        } else
                free(entry);
        pthread_mutex_unlock(&journal.mutex);
        return r;
}

static void journal_set_error(int error) {
        pthread_mutex_lock(&journal.mutex);
        journal.error = error;
        pthread_mutex_unlock(&journal.mutex);
}

static void journal_clear(void) {
        for (size_t i = 0; i < journal.n; i++)
                free(journal.entries[i]);
        journal.entries = mfree(journal.entries);
        journal.sizes = mfree(journal.sizes);
        journal.n = journal.n_entries = journal.n_sizes = 0;
        journal.error = 0;
        journal.hang = NULL;
}

static bool entry_has(size_t i, const char *field) {
        _cleanup_free_ char *line = strjoin("\n", field, "\n"), *entry = NULL;

        if (i >= journal.n)
                return false;
        entry = strjoin("\n", journal.entries[i]);
        assert(line && entry);
        return strstr(entry, line);
}

/* ---- a relay in a loop ---- */

typedef struct Fixture {
        sd_event *event;
        LogRelay *relay;
        char dir[32];
        uint64_t closed[16];
        size_t n_closed;
} Fixture;

static void fixture_init(Fixture *f) {
        *f = (Fixture) { .dir = "/tmp/test-log-XXXXXX" };
        assert(mkdtemp(f->dir));
        log_set_max_level(LOG_CRIT);
        log_journal_set_sender(fake_send);
        assert(sd_event_new(&f->event) >= 0);
        assert(log_relay_new(f->event, &f->relay) >= 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static void fixture_done(Fixture *f) {
        log_relay_free(f->relay);
        sd_event_unref(f->event);
        (void) nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        journal_clear();
}

static void on_closed(uint64_t stream, void *userdata) {
        Fixture *f = ASSERT_PTR(userdata);

        assert(f->n_closed < ELEMENTSOF(f->closed));
        f->closed[f->n_closed++] = stream;
}

static bool run_until_closed(Fixture *f, size_t n) {
        usec_t deadline = now(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

        while (f->n_closed < n && now(CLOCK_MONOTONIC) < deadline)
                assert(sd_event_run(f->event, USEC_PER_SEC) >= 0);
        return f->n_closed == n;
}

static LogStreamSpec spec_of(LogStreamKind kind) {
        return (LogStreamSpec) {
                .kind = kind, .app = "api", .name_space = "default", .id = 7, .instance = 2, .uid = geteuid(), .gid = getegid(),
        };
}

/* The write end of a new stream. */
static int add(Fixture *f, const LogStreamSpec *spec, uint64_t *ret_stream) {
        uint64_t stream;
        int fds[2];

        assert(pipe2(fds, O_CLOEXEC) >= 0);
        assert(log_relay_add_stream(f->relay, fds[0], spec, on_closed, f, &stream) >= 0);
        assert(stream > 0);
        if (ret_stream)
                *ret_stream = stream;
        return fds[1];
}

static void put(int fd, const char *text) {
        assert(write_all(fd, text, strlen(text)) >= 0);
}

static char *in_dir(Fixture *f, const char *name) {
        char *p = strjoin(f->dir, "/", name);

        assert(p);
        return p;
}

static char *content(const char *path, size_t *ret_size) {
        size_t size = 0;
        char *s = NULL;

        if (read_full_file_at(AT_FDCWD, path, SIZE_MAX / 2, &s, &size) < 0)
                return NULL;
        if (ret_size)
                *ret_size = size;
        return s;
}

TEST(kind_names) {
        ASSERT_STRING_TABLE(log_stream_kind, _LOG_STREAM_KIND_MAX);
}

TEST(file_is_byte_exact) {
        static const char text[] = "one\n<3>two\n\0nul\0\n\xff\xfe\xc3(\r\n\nlast";
        _cleanup_free_ char *path = NULL, *got = NULL;
        uint64_t stream;
        size_t size;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, &stream);
        ASSERT_OK(write_all(fd, text, sizeof text - 1));
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);

        got = content(path, &size);
        ASSERT_TRUE(got);
        ASSERT_EQ(size, sizeof text);
        ASSERT_EQ(memcmp(got, text, sizeof text - 1), 0);
        ASSERT_EQ(got[size - 1], '\n');
        fixture_done(&f);
}

TEST(file_mode_and_directories) {
        _cleanup_free_ char *path = NULL, *dir = NULL, *got = NULL;
        mode_t mask = umask(0);
        struct stat st;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "a/b/out.log");
        dir = in_dir(&f, "a/b");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        umask(mask);

        got = content(path, NULL);
        ASSERT_STREQ(got, "x\n");
        ASSERT_OK(stat(path, &st));
        ASSERT_EQ(st.st_mode & 07777, 0640);
        ASSERT_OK(stat(dir, &st));
        ASSERT_EQ(st.st_mode & 07777, 0750);
        fixture_done(&f);
}

TEST(file_is_appended_to) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        for (size_t i = 1; i <= 2; i++) {
                int fd = add(&f, &spec, NULL);

                put(fd, i == 1 ? "first\n" : "second\n");
                safe_close(fd);
                ASSERT_TRUE(run_until_closed(&f, i));
        }

        got = content(path, NULL);
        ASSERT_STREQ(got, "first\nsecond\n");
        fixture_done(&f);
}

TEST(symlink_is_refused) {
        _cleanup_free_ char *path = NULL, *target = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        target = in_dir(&f, "target");
        ASSERT_OK(symlink(target, path));
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(access(target, F_OK) < 0);
        fixture_done(&f);
}

/* A FIFO that nobody reads holds nobody up. */
TEST(fifo_does_not_hang) {
        _cleanup_free_ char *path = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "fifo");
        ASSERT_OK(mkfifo(path, 0600));
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.journal = true;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(entry_has(0, "MESSAGE=x"));
        fixture_done(&f);
}

TEST(user_cannot_write_where_he_may_not) {
        _cleanup_free_ char *dir = NULL, *theirs = NULL, *mine = NULL, *got = NULL;
        struct stat st;
        Fixture f;
        int fds[2];

        if (geteuid() != 0)
                return;

        fixture_init(&f);
        ASSERT_OK(chmod(f.dir, 0755));
        mine = in_dir(&f, "root.log");
        dir = in_dir(&f, "theirs");
        theirs = in_dir(&f, "theirs/out.log");
        ASSERT_OK(mkdir(dir, 0700));
        ASSERT_OK(chown(dir, 65534, 65534));

        LogStreamSpec own = spec_of(LOG_STREAM_OUT), other = own;
        own.path = mine;
        other.path = mine; /* open already, by root */
        other.combined_path = theirs;
        other.uid = other.gid = 65534;

        fds[0] = add(&f, &own, NULL);
        fds[1] = add(&f, &other, NULL);
        put(fds[0], "root\n");
        put(fds[1], "nobody\n");
        safe_close_pair(fds);
        ASSERT_TRUE(run_until_closed(&f, 2));

        got = content(mine, NULL);
        ASSERT_STREQ(got, "root\n");
        free(got);
        got = content(theirs, NULL);
        ASSERT_STREQ(got, "nobody\n");
        ASSERT_OK(stat(theirs, &st));
        ASSERT_EQ(st.st_uid, 65534);
        ASSERT_EQ(st.st_gid, 65534);
        ASSERT_OK(stat(mine, &st));
        ASSERT_EQ(st.st_uid, 0);
        fixture_done(&f);
}

/* A disk that is full loses lines, and nothing else. */
TEST(write_errors_are_survived) {
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = "/dev/full";
        spec.journal = true;

        fd = add(&f, &spec, NULL);
        for (size_t i = 0; i < 100; i++)
                put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(journal.n, 100);
        fixture_done(&f);
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
        ASSERT_EQ(journal.n, 2);
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

TEST(journal_fields) {
        static const char *const fields[] = {
                "MESSAGE=hello", "PRIORITY=6", "SYSLOG_IDENTIFIER=api", "PM_APP=api", "PM_ID=7", "PM_INSTANCE=2",
                "PM_NAMESPACE=default", "PM_STREAM=out",
        };
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        fd = add(&f, &spec, NULL);
        put(fd, "hello\n<4>warn\nplain\n\n<3>end");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_EQ(journal.n, 5);
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                ASSERT_TRUE(entry_has(0, fields[i]));
        ASSERT_TRUE(!strstr(journal.entries[0], "OBJECT_PID="));
        ASSERT_TRUE(!strstr(journal.entries[0], "PM_LINE_BREAK="));
        ASSERT_TRUE(entry_has(1, "MESSAGE=warn") && entry_has(1, "PRIORITY=4"));
        ASSERT_TRUE(entry_has(2, "MESSAGE=plain") && entry_has(2, "PRIORITY=6"));
        ASSERT_TRUE(entry_has(3, "MESSAGE="));
        ASSERT_TRUE(entry_has(4, "MESSAGE=end") && entry_has(4, "PRIORITY=3") && entry_has(4, "PM_LINE_BREAK=eof"));
        fixture_done(&f);
}

TEST(journal_is_byte_exact) {
        static const char message[] = "MESSAGE=a\0b\xff\n";
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_ERR);
        spec.journal = true;
        fd = add(&f, &spec, NULL);
        ASSERT_OK(write_all(fd, "a\0b\xff\n", 5));
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_EQ(journal.n, 1);
        ASSERT_EQ(memcmp(journal.entries[0], message, sizeof message - 1), 0);
        ASSERT_TRUE(memmem(journal.entries[0], journal.sizes[0], "\nPRIORITY=3\n", 12));
        ASSERT_TRUE(memmem(journal.entries[0], journal.sizes[0], "\nPM_STREAM=err\n", 15));
        fixture_done(&f);
}

TEST(pid_is_known_after_the_fork) {
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        fd = add(&f, &spec, &stream);
        ASSERT_OK(log_relay_set_pid(f.relay, stream, 4711, "pm-api-7-1.scope"));
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_TRUE(entry_has(0, "PM_UNIT=pm-api-7-1.scope"));
        ASSERT_EQ(entry_has(0, "OBJECT_PID=4711"), geteuid() == 0);
        fixture_done(&f);
}

TEST(journal_errors_are_survived) {
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;

        journal_set_error(-ENOSPC);
        fd = add(&f, &spec, &stream);
        put(fd, "lost\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        journal_set_error(0);
        fd = add(&f, &spec, &stream);
        put(fd, "kept\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 2));
        ASSERT_EQ(journal.n, 1);
        ASSERT_TRUE(entry_has(0, "MESSAGE=kept"));
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

        ASSERT_EQ(journal.n, size / LOG_LINE_MAX + 1);
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

        ASSERT_EQ(journal.n, n);
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

TEST(give_up_does_not_wait_for_a_hanging_thread) {
        pthread_mutex_t hang = PTHREAD_MUTEX_INITIALIZER;
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        journal.hang = &hang;
        pthread_mutex_lock(&hang);

        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        fd = add(&f, &spec, &stream);
        put(fd, "x\n");
        ASSERT_OK(log_relay_give_up(f.relay, stream));
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);
        ASSERT_EQ(journal.n, 0);

        /* The line is not lost, and its end is not told twice. */
        pthread_mutex_unlock(&hang);
        f.relay = log_relay_free(f.relay);
        ASSERT_EQ(f.n_closed, 1);
        ASSERT_EQ(journal.n, 1);
        safe_close(fd);
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

        /* The second stream keeps the file open while the first one ends: its closed() tells that the line is written. */
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
