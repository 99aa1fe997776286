/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "pmd/fd-closer.h"
#include "shared/fd-util.h"
#include "shared/log.h"

#define THREADS_MAX 64U
#define STACK_SIZE (64U * 1024)

struct FdCloser {
        int ended_fd; /* reaches its end when the thread has closed them all */
        sd_event_source *source;
        void (*done)(void *userdata);
        void *userdata;
};

/* The thread's. */
typedef struct Work {
        int ended_fd; /* the other end */
        size_t n;
        int fds[];
} Work;

static atomic_uint n_threads;

static void close_all(const int *fds, size_t n) {
        for (size_t i = 0; i < n; i++) {
                /* Who has another descriptor of it could turn that on again; then it is the thread that waits. */
                (void) setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &(struct linger) {}, sizeof(struct linger));
                safe_close(fds[i]);
        }
}

static void *run(void *userdata) {
        Work *w = userdata;

        close_all(w->fds, w->n);
        atomic_fetch_sub(&n_threads, 1);
        safe_close(w->ended_fd);
        free(w);
        return NULL;
}

static int start_thread(Work *w) {
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        if (atomic_fetch_add(&n_threads, 1) >= THREADS_MAX)
                r = EAGAIN;
        else {
                r = pthread_attr_init(&attributes);
                if (r == 0) {
                        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
                        (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
                        r = pthread_create(&thread, &attributes, run, w);
                        (void) pthread_attr_destroy(&attributes);
                }
        }
        if (r != 0)
                atomic_fetch_sub(&n_threads, 1);
        return -r;
}

/* An fd that reaches its end with the thread, or a negative errno: nothing has been closed. */
static int close_by_thread(const int *fds, size_t n) {
        _cleanup_close_pair_ int ended[2] = EBADF_PAIR;
        Work *w;
        int r;

        if (pipe2(ended, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        w = malloc(sizeof(Work) + n * sizeof(int));
        if (!w)
                return -ENOMEM;
        w->n = n;
        memcpy(w->fds, fds, n * sizeof(int));
        w->ended_fd = ended[1];
        r = start_thread(w);
        if (r < 0) {
                free(w);
                return r;
        }
        TAKE_FD(ended[1]);
        return TAKE_FD(ended[0]);
}

static int on_ended(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FdCloser *c = ASSERT_PTR(userdata);

        c->done(c->userdata);
        return 0;
}

void fd_closer_new(sd_event *event, const int *fds, size_t n, void (*done)(void *userdata), void *userdata, FdCloser **ret) {
        FdCloser *c = new(FdCloser, 1);
        int r;

        *ret = NULL;
        r = c ? close_by_thread(fds, n) : -ENOMEM;
        if (r < 0) {
                log_debug_errno(r, "Failed to have descriptors closed by a thread, closing them here: %m");
                close_all(fds, n);
                free(c);
                return;
        }

        *c = (FdCloser) { .ended_fd = r, .done = done, .userdata = userdata };
        if (sd_event_add_io(event, &c->source, c->ended_fd, 0, on_ended, c) < 0) { /* EPOLLHUP comes in any case */
                fd_closer_free(c);
                return;
        }
        *ret = c;
}

FdCloser *fd_closer_free(FdCloser *c) {
        if (!c)
                return NULL;

        sd_event_source_disable_unref(c->source);
        safe_close(c->ended_fd);
        return mfree(c);
}

size_t fd_closer_take_rights(struct msghdr *m, int fds[static FD_CLOSER_FDS_MAX]) {
        size_t n = 0;

        for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
                size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || k > FD_CLOSER_FDS_MAX - n)
                        continue;
                memcpy(fds + n, CMSG_DATA(h), k * sizeof(int));
                n += k;
        }
        return n;
}

static bool has_unread(int fd) {
        char byte;
        ssize_t n = recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
        int type = 0;

        if (n != 0)
                return n > 0;
        (void) getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t) { sizeof(type) });
        return type == SOCK_DGRAM; /* an empty message, not the end */
}

int fd_closer_close_socket(int fd) {
        int ended_fd;

        if (fd < 0 || !has_unread(fd))
                return safe_close(fd);

        ended_fd = close_by_thread(&fd, 1);
        if (ended_fd < 0)
                return safe_close(fd);
        safe_close(ended_fd);
        return -EBADF;
}
