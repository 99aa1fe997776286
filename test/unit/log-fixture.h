/* SPDX-License-Identifier: MIT */
#pragma once

/* A log relay in a loop of its own, a directory for its files, and a journal that remembers what it was sent. */

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

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

static inline void journal_set_error(int error) {
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
                .kind = kind,
                .app = "api",
                .name_space = "default",
                .id = 7,
                .instance = 2,
                .uid = geteuid(),
                .gid = getegid(),
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

