/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmd/fd-store.h"

#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/notify-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

/* As many as the keeper, and pmd.service, keep. */
#define PENDING_MAX 4096U

/* Who does not take anything for so long is not waited for until it does. */
#define PATIENCE_USEC (5 * USEC_PER_SEC)

typedef struct Received {
        char *name;
        int fd;
} Received;

typedef struct Message Message;
struct Message {
        Message *next;
        int fd;      /* our own copy, -EBADF: none goes along */
        char text[];
};

struct FdStore {
        int socket;  /* connected to whoever keeps; -EBADF: nobody does */
        sd_event_source *source; /* enabled while messages are pending */
        Message *first, *last;
        size_t n_pending;
        sd_event_source *sent_source; /* once when the last pending one has gone, or patience has */
        sd_event_source *patience_source;
        bool is_stuck; /* patience has gone */
        void (*sent)(void *userdata);
        void *userdata;

        Received *received; /* sorted by name */
        size_t n_received;
};

/* ---- what the last pmd left ---- */

static int compare_received(const void *a, const void *b) {
        return strcmp(((const Received *) a)->name, ((const Received *) b)->name);
}

static void received_done(Received *e) {
        free(e->name);
        safe_close(e->fd);
}

static void close_duplicates(FdStore *s) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_received; i++)
                if (n > 0 && streq(s->received[i].name, s->received[n - 1].name)) {
                        log_debug("Got more than one descriptor named %s.", s->received[i].name);
                        received_done(s->received + i);
                } else
                        s->received[n++] = s->received[i];
        s->n_received = n;
}

/* Low numbers are for what children find there, see spawner.h. */
#define RECEIVED_FD_MIN 64

static int move_up(int fd) {
        int copy;

        if (fd >= RECEIVED_FD_MIN)
                return fd;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, RECEIVED_FD_MIN);
        if (copy < 0)
                return fd; /* it is as good there */
        safe_close(fd);
        return copy;
}

static int receive(FdStore *s) {
        _cleanup_strv_free_ char **names = NULL;
        int n;

        n = sd_listen_fds_with_names(true, &names);
        if (n <= 0)
                return n;

        s->received = new(Received, (size_t) n);
        if (!s->received)
                return -ENOMEM;
        for (int i = 0; i < n; i++)
                s->received[i] = (Received) { .name = TAKE_PTR(names[i]), .fd = move_up(SD_LISTEN_FDS_START + i) };
        s->n_received = (size_t) n;

        qsort(s->received, s->n_received, sizeof(Received), compare_received);
        close_duplicates(s);
        return 0;
}

static int take_at(FdStore *s, size_t i) {
        int fd = TAKE_FD(s->received[i].fd);

        received_done(s->received + i);
        s->n_received--;
        memmove(s->received + i, s->received + i + 1, (s->n_received - i) * sizeof(Received));
        if (s->n_received == 0)
                s->received = mfree(s->received);
        return fd;
}

int fd_store_take(FdStore *s, const char *name) {
        const Received key = { .name = (char *) name };
        Received *found;

        if (!s || s->n_received == 0)
                return -ENOENT;
        found = bsearch(&key, s->received, s->n_received, sizeof(Received), compare_received);
        return found ? take_at(s, (size_t) (found - s->received)) : -ENOENT;
}

const char *fd_store_get_name(const FdStore *s, size_t i) {
        return s && i < s->n_received ? s->received[i].name : NULL;
}

/* ---- messages ---- */

static void drop_first(FdStore *s) {
        Message *m = s->first;

        s->first = m->next;
        if (!s->first)
                s->last = NULL;
        s->n_pending--;
        safe_close(m->fd);
        free(m);
        if (s->n_pending == 0 && s->sent_source) {
                (void) sd_event_source_set_enabled(s->patience_source, SD_EVENT_OFF);
                (void) sd_event_source_set_enabled(s->sent_source, SD_EVENT_ONESHOT);
                s->is_stuck = false;
        }
}

static void disconnect(FdStore *s) {
        s->source = sd_event_source_disable_unref(s->source);
        s->socket = safe_close(s->socket);
        while (s->first)
                drop_first(s);
}

static int append(FdStore *s, const char *text, int fd) {
        _cleanup_close_ int copy = -EBADF;
        size_t size = strlen(text) + 1;
        Message *m;

        if (s->n_pending >= PENDING_MAX)
                return -ENOBUFS;

        if (fd >= 0) {
                copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
                if (copy < 0)
                        return -errno;
        }
        m = malloc(sizeof(Message) + size);
        if (!m)
                return -ENOMEM;
        *m = (Message) { .fd = TAKE_FD(copy) };
        memcpy(m->text, text, size);

        if (s->last)
                s->last->next = m;
        else
                s->first = m;
        s->last = m;
        if (s->n_pending++ == 0 && s->patience_source && sd_event_source_set_time_relative(s->patience_source, PATIENCE_USEC) >= 0)
                (void) sd_event_source_set_enabled(s->patience_source, SD_EVENT_ONESHOT);
        return sd_event_source_set_enabled(s->source, SD_EVENT_ON);
}

/* 1: sent, 0: nobody is there any more. -EAGAIN: not now. */
static int send_now(FdStore *s, const char *text, int fd) {
        int r;

        if (fd >= 0)
                FAULT_BEFORE(FD_PUSH);
        else
                FAULT_BEFORE(FD_REMOVE);
        r = notify_send(s->socket, text, fd);
        if (fd >= 0)
                FAULT_AFTER(FD_PUSH);
        else
                FAULT_AFTER(FD_REMOVE);
        if (IN_SET(r, -ECONNREFUSED, -ECONNRESET, -ENOTCONN, -EPIPE)) {
                log_warning_errno(r, "Who kept the descriptors of pmd is gone, they are lost when pmd ends: %m");
                disconnect(s);
                return 0;
        }
        return r < 0 ? r : 1;
}

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FdStore *s = ASSERT_PTR(userdata);
        int r;

        while (s->first) {
                r = send_now(s, s->first->text, s->first->fd);
                if (r == 0 || r == -EAGAIN)
                        return 0;
                if (r < 0)
                        log_warning_errno(r, "Failed to keep or remove a descriptor, ignoring: %m");
                drop_first(s);
        }
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int send_or_append(FdStore *s, const char *text, int fd) {
        int r;

        if (s->first) { /* they stay in order */
                r = append(s, text, fd);
                return r < 0 ? r : 1;
        }
        r = send_now(s, text, fd);
        if (r == -EAGAIN) {
                r = append(s, text, fd);
                return r < 0 ? r : 1;
        }
        return r;
}

bool fd_store_is_kept(const FdStore *s) {
        return s && s->socket >= 0;
}

int fd_store_push(FdStore *s, const char *name, int fd) {
        char text[STRLEN("FDSTORE=1\nFDNAME=\nFDPOLL=0") + FD_NAME_MAX + 1];

        if (!fd_name_is_valid(name))
                return -EINVAL;
        if (!fd_store_is_kept(s))
                return 0;

        /* Without FDPOLL=0 a pipe would be dropped, with what has not been read of it, as soon as its writer ends. */
        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        return send_or_append(s, text, fd);
}

int fd_store_remove(FdStore *s, const char *name) {
        char text[STRLEN("FDSTOREREMOVE=1\nFDNAME=") + FD_NAME_MAX + 1];

        if (!fd_name_is_valid(name))
                return -EINVAL;
        if (!fd_store_is_kept(s))
                return 0;

        (void) snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        return send_or_append(s, text, -EBADF);
}

size_t fd_store_drop_rest(FdStore *s) {
        size_t n = 0;
        int r;

        for (const char *name; (name = fd_store_get_name(s, 0)); n++) {
                r = fd_store_remove(s, name);
                if (r < 0)
                        log_warning_errno(r, "Failed to remove the kept descriptor %s, ignoring: %m", name);
                safe_close(take_at(s, 0));
        }
        return n;
}

size_t fd_store_get_pending(const FdStore *s) {
        return s ? s->n_pending : 0;
}

bool fd_store_is_behind(const FdStore *s) {
        return s && s->n_pending > 0 && !s->is_stuck;
}

/* ---- set up ---- */

static int connect_to_keeper(FdStore *s, sd_event *event) {
        const char *address = getenv("NOTIFY_SOCKET");
        int r;

        if (isempty(address)) {
                log_debug("Nobody keeps the descriptors of pmd.");
                return 0;
        }

        r = notify_connect(address);
        if (r < 0) {
                log_warning_errno(r, "Failed to connect to %s, nobody keeps the descriptors of pmd: %m", address);
                return 0;
        }
        s->socket = r;

        r = sd_event_add_io(event, &s->source, s->socket, EPOLLOUT, on_writable, s);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
}

static int on_sent(sd_event_source *source, void *userdata) {
        FdStore *s = ASSERT_PTR(userdata);

        if (!fd_store_is_behind(s))
                s->sent(s->userdata);
        return 0;
}

static int on_patience_gone(sd_event_source *source, uint64_t usec, void *userdata) {
        FdStore *s = ASSERT_PTR(userdata);

        log_warning("Who keeps the descriptors of pmd does not take them; going on without waiting for it.");
        s->is_stuck = true;
        s->sent(s->userdata);
        return 0;
}

int fd_store_set_sent(FdStore *s, void (*sent)(void *userdata), void *userdata) {
        sd_event *event;
        int r;

        if (!fd_store_is_kept(s))
                return 0;
        s->sent = sent;
        s->userdata = userdata;
        event = sd_event_source_get_event(s->source);
        r = sd_event_add_time(event, &s->patience_source, CLOCK_MONOTONIC, 0, 0, on_patience_gone, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->patience_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &s->sent_source, on_sent, s);
        return r < 0 ? r : sd_event_source_set_enabled(s->sent_source, SD_EVENT_OFF);
}

int fd_store_new(sd_event *event, FdStore **ret) {
        _cleanup_(fd_store_freep) FdStore *s = NULL;
        int r;

        s = new(FdStore, 1);
        if (!s)
                return -ENOMEM;
        *s = (FdStore) { .socket = -EBADF };

        r = receive(s);
        if (r < 0)
                return r;
        r = connect_to_keeper(s, event);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

FdStore *fd_store_free(FdStore *s) {
        if (!s)
                return NULL;

        s->sent_source = sd_event_source_disable_unref(s->sent_source);
        s->patience_source = sd_event_source_disable_unref(s->patience_source);
        disconnect(s);
        while (s->n_received > 0)
                safe_close(take_at(s, 0));
        return mfree(s);
}
