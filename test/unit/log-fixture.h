/* SPDX-License-Identifier: MIT */
#pragma once

/* A log relay in a loop of its own, a directory for its files, and a journal that remembers what it was sent. */

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/log-relay.h"
#include "pmd/log-sink-journal.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

/* ---- a journal that remembers ---- */

static struct {
        pthread_mutex_t mutex;
        pthread_t thread;
        int fd, stop_fd;
        char path[64];
        char **entries;     /* fields as they were sent, and their sizes */
        size_t *sizes;
        size_t n, n_entries, n_sizes;
} journal = { .mutex = PTHREAD_MUTEX_INITIALIZER, .fd = -EBADF, .stop_fd = -EBADF };

static void journal_add(char *entry, size_t size) {
        pthread_mutex_lock(&journal.mutex);
        assert(GREEDY_REALLOC(journal.entries, journal.n_entries, journal.n + 1));
        assert(GREEDY_REALLOC(journal.sizes, journal.n_sizes, journal.n + 1));
        entry[size] = 0;
        journal.sizes[journal.n] = size;
        journal.entries[journal.n++] = entry;
        pthread_mutex_unlock(&journal.mutex);
}

/* False if there is nothing. */
static bool journal_receive(void) {
        enum { MAX_SIZE = 1024 * 1024 };
        static char buffer[MAX_SIZE]; /* one thread at a time comes here */
        char control[CMSG_SPACE(sizeof(int))], *entry;
        struct iovec iov = { buffer, MAX_SIZE };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
        ssize_t n;

        n = recvmsg(journal.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return false;
        if (CMSG_FIRSTHDR(&mh)) {
                int fd;

                memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof fd);
                n = pread(fd, buffer, MAX_SIZE, 0);
                close(fd);
        }
        entry = malloc((size_t) n + 1);
        assert(n >= 0 && entry);
        memcpy(entry, buffer, (size_t) n);
        journal_add(entry, (size_t) n);
        return true;
}

static void *journal_main(void *arg) {
        struct pollfd p[] = { { .fd = journal.fd, .events = POLLIN }, { .fd = journal.stop_fd, .events = POLLIN } };

        while (poll(p, 2, -1) >= 0 && !p[1].revents)
                while (journal_receive())
                        ;
        return NULL;
}

/* Binds the socket, but nobody reads it. */
static inline void journal_bind(void) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        memcpy(sa.sun_path, journal.path, strlen(journal.path));
        journal.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert(journal.fd >= 0 && bind(journal.fd, (struct sockaddr *) &sa, sizeof sa) >= 0);
}

static void journal_read(void) {
        journal.stop_fd = eventfd(0, EFD_CLOEXEC);
        assert(journal.stop_fd >= 0 && pthread_create(&journal.thread, NULL, journal_main, NULL) == 0);
}

/* Nobody reads any more. */
static void journal_pause(void) {
        if (journal.stop_fd < 0)
                return;
        assert(eventfd_write(journal.stop_fd, 1) >= 0);
        pthread_join(journal.thread, NULL);
        journal.stop_fd = safe_close(journal.stop_fd);
}

/* What it has, and then the socket itself, is gone. */
static void journal_unbind(void) {
        journal_pause();
        journal.fd = safe_close(journal.fd);
        (void) unlink(journal.path);
}

static size_t journal_count(void) {
        size_t n;

        pthread_mutex_lock(&journal.mutex);
        n = journal.n;
        pthread_mutex_unlock(&journal.mutex);
        return n;
}

/* Waits until there are n entries, then stops reading: they may be looked at. */
static inline bool journal_wait(size_t n) {
        usec_t deadline = now(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

        while (journal_count() < n && now(CLOCK_MONOTONIC) < deadline)
                usleep(1000);
        journal_pause();
        return journal.n == n;
}

static void journal_clear(void) {
        journal_unbind();
        for (size_t i = 0; i < journal.n; i++)
                free(journal.entries[i]);
        journal.entries = mfree(journal.entries);
        journal.sizes = mfree(journal.sizes);
        journal.n = journal.n_entries = journal.n_sizes = 0;
}

static inline bool entry_has(size_t i, const char *field) {
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
        (void) snprintf(journal.path, sizeof journal.path, "%s/journal", f->dir);
        log_journal_set_socket(journal.path);
        journal_bind();
        journal_read();
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

static inline char *content(const char *path, size_t *ret_size) {
        size_t size = 0;
        char *s = NULL;

        if (read_full_file_at(AT_FDCWD, path, SIZE_MAX / 2, &s, &size) < 0)
                return NULL;
        if (ret_size)
                *ret_size = size;
        return s;
}

