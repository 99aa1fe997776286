/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/keeper-internal.h"

#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/notify-util.h"
#include "shared/string-util.h"

#define LISTEN_FDS_START 3

/* A string of the environment may have 128 KiB. */
#define NAMES_SIZE_MAX (100U * 1024)

#define TEXT_MAX 4096U
#define FDS_MAX 253U /* which the kernel lets pass in one message */

/* So that others who write to the socket cannot keep us from our work. */
#define NOTICES_AT_ONCE 1024U

typedef struct Notice {
        pid_t sender;
        int fds[FDS_MAX];
        size_t n_fds;
        char text[TEXT_MAX + 1];
} Notice;

/* ---- the store ---- */

void keeper_store_drop(Keeper *k, Kept *kept) {
        /* pmd has copies of it, so closing it would not end the watch. */
        if (kept->watched)
                (void) epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, kept->fd, NULL);
        LIST_REMOVE(kept, k->kept, kept);
        k->n_kept--;
        k->names_size -= strlen(kept->name) + 1;
        safe_close(kept->fd);
        free(kept);
}

void keeper_store_done(Keeper *k) {
        while (k->kept)
                keeper_store_drop(k, k->kept);
}

static void remove_by_name(Keeper *k, const char *name) {
        LIST_FOREACH_SAFE(kept, e, k->kept)
                if (streq(e->name, name))
                        keeper_store_drop(k, e);
}

/* Where the kernel does not tell, it is kept twice, which does no harm. */
static bool is_same_file(int a, int b) {
        pid_t pid = getpid();

        return syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0;
}

static bool is_kept(const Keeper *k, const char *name, int fd) {
        LIST_FOREACH(kept, e, k->kept)
                if (streq(e->name, name) && is_same_file(e->fd, fd))
                        return true;
        return false;
}

static int keep(Keeper *k, const char *name, int fd, bool watch) {
        _cleanup_close_ int owned = fd;
        size_t size = strlen(name) + 1;
        Kept *e;

        if (is_kept(k, name, fd))
                return 0;
        if (k->n_kept >= k->n_kept_max || k->names_size + size > NAMES_SIZE_MAX)
                return -ENOBUFS;

        e = malloc(sizeof(Kept) + size);
        if (!e)
                return -ENOMEM;
        *e = (Kept) { .fd = TAKE_FD(owned) };
        memcpy(e->name, name, size);

        /* What cannot be watched, as a file, has no other end. */
        e->watched = watch && epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, e->fd, &(struct epoll_event) { .data.ptr = e }) >= 0;
        LIST_PREPEND(kept, k->kept, e);
        k->n_kept++;
        k->names_size += size;
        return 1;
}

/* ---- handing over ---- */

int keeper_store_join_names(const Keeper *k, char **ret) {
        char *names, *p;

        names = new(char, sizeof(KEEPER_EXITS) + k->names_size);
        if (!names)
                return -ENOMEM;

        p = stpcpy(names, KEEPER_EXITS);
        LIST_FOREACH(kept, e, k->kept) {
                *p++ = ':';
                p = stpcpy(p, e->name);
        }
        *ret = names;
        return 0;
}

/* First out of the way of each other, then each to its place. */
static int arrange(int *fds, size_t n) {
        int end = LISTEN_FDS_START + (int) n, r;

        for (size_t i = 0; i < n; i++)
                if (fds[i] < end && fds[i] != LISTEN_FDS_START + (int) i) {
                        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, end);
                        if (fds[i] < 0)
                                return -errno;
                }

        for (size_t i = 0; i < n; i++) {
                int place = LISTEN_FDS_START + (int) i;

                r = fds[i] == place ? fd_cloexec(place, false) : dup2(fds[i], place) < 0 ? -errno : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int keeper_store_hand_over(Keeper *k, size_t *ret_n) {
        _cleanup_free_ int *fds = NULL;
        size_t n = 0;
        int r;

        fds = new(int, k->n_kept + 1);
        if (!fds)
                return -ENOMEM;

        fds[n++] = k->exits_fds[0];
        LIST_FOREACH(kept, e, k->kept)
                fds[n++] = e->fd;

        r = arrange(fds, n);
        if (r < 0)
                return r;
        *ret_n = n;
        return 0;
}

/* ---- the protocol ---- */

static void take_control(Notice *notice, struct msghdr *mh) {
        for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
                if (h->cmsg_level != SOL_SOCKET)
                        continue;
                if (h->cmsg_type == SCM_RIGHTS) {
                        notice->n_fds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(notice->fds, CMSG_DATA(h), notice->n_fds * sizeof(int));
                } else if (h->cmsg_type == SCM_CREDENTIALS) {
                        struct ucred cred;

                        memcpy(&cred, CMSG_DATA(h), sizeof(cred));
                        notice->sender = cred.pid;
                }
        }
}

/* Anybody can send us a socket that would linger for hours when it is closed. */
static void notice_done(Notice *notice) {
        while (notice->n_fds > 0) {
                int fd = notice->fds[--notice->n_fds];

                (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger) {}, sizeof(struct linger));
                safe_close(fd);
        }
}

/* 1: had one; it is to be released by notice_done(). */
static int receive(int fd, Notice *notice) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = notice->text, .iov_len = TEXT_MAX };
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        notice->sender = 0;
        notice->n_fds = 0;

        n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return errno == EINTR ? 1 : 0;

        take_control(notice, &mh);
        if (mh.msg_flags & MSG_TRUNC || memchr(notice->text, 0, (size_t) n))
                n = 0; /* not of pmd's making */
        notice->text[n] = 0;
        return 1;
}

static void keep_all(Keeper *k, Notice *notice, const char *name, bool watch) {
        while (notice->n_fds > 0) {
                int r;

                r = keep(k, name, notice->fds[--notice->n_fds], watch);
                if (r < 0)
                        log_warning_errno(r, "Failed to keep the descriptor %s of pmd, ignoring: %m", name);
        }
}

static void on_ready(Keeper *k) {
        usec_t n = now(CLOCK_MONOTONIC);

        if (k->ready_at == USEC_INFINITY)
                k->ready_at = n;
        k->was_ready = true;
}

static void on_sign_of_life(Keeper *k) {
        if (!k->aborted && k->ready_at != USEC_INFINITY)
                k->watchdog_at = usec_add(now(CLOCK_MONOTONIC), k->watchdog_usec);
}

static int open_lock(const char *path) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return -errno;
        r = fd_lock(fd);
        if (r < 0)
                return r;
        (void) dprintf(fd, "%d\n", (int) getpid());
        return TAKE_FD(fd);
}

static void lock_again(Keeper *k, const char *path) {
        int fd;

        fd = open_lock(path);
        if (fd == -EEXIST) /* it is still there, or that of another keeper, which finds that we have a pmd */
                return;
        if (fd < 0) {
                log_warning_errno(fd, "Failed to make %s anew, ignoring: %m", path);
                return;
        }
        safe_close(k->lock_fd);
        k->lock_fd = fd;
}

static bool is_for_upstream(const char *line) {
        static const char *const names[] = {
                "READY=", "RELOADING=", "MONOTONIC_USEC=", "STOPPING=", "STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC=",
                "EXIT_STATUS=",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (startswith(line, names[i]))
                        return true;
        return false;
}

static void tell_upstream(Keeper *k, const char *text) {
        int r;

        if (k->upstream_fd < 0)
                return;
        r = notify_send(k->upstream_fd, text, -EBADF);
        if (r < 0 && r != -EAGAIN) /* a client that launched pmd does not stay */
                k->upstream_fd = safe_close(k->upstream_fd);
}

static void handle(Keeper *k, Notice *notice) {
        bool store = false, drop = false, watch = true;
        char upstream[TEXT_MAX + 1], *u = upstream;
        const char *name = "stored";
        char *rest = notice->text;

        for (char *line; (line = strsep(&rest, "\n"));) {
                if (streq(line, "FDSTORE=1"))
                        store = true;
                else if (streq(line, "FDSTOREREMOVE=1"))
                        drop = true;
                else if (streq(line, "FDPOLL=0"))
                        watch = false;
                else if (startswith(line, "FDNAME="))
                        name = line + STRLEN("FDNAME=");
                else if (startswith(line, KEEPER_LOCK))
                        lock_again(k, line + STRLEN(KEEPER_LOCK));
                else if (startswith(line, KEEPER_LOG))
                        (void) stdio_reopen(line + STRLEN(KEEPER_LOG));
                else if (startswith(line, "EXIT_STATUS="))
                        k->told_status = (int) (strtoul(line + STRLEN("EXIT_STATUS="), NULL, 10) & 0xff);
                else if (streq(line, "READY=1"))
                        on_ready(k);

                if (streq(line, "READY=1") || streq(line, "WATCHDOG=1"))
                        on_sign_of_life(k);
                if (is_for_upstream(line)) {
                        u = stpcpy(u, line);
                        *u++ = '\n';
                }
        }

        if (drop)
                remove_by_name(k, name);
        else if (store && (!fd_name_is_valid(name) || streq(name, KEEPER_EXITS)))
                log_warning("pmd sent a descriptor with an invalid name, ignoring.");
        else if (store)
                keep_all(k, notice, name, watch);

        if (u > upstream) {
                u[-1] = 0;
                tell_upstream(k, upstream);
        }
}

void keeper_read_notices(Keeper *k) {
        Notice notice;

        for (unsigned i = 0; i < NOTICES_AT_ONCE && receive(k->notify_fd, &notice) > 0; i++) {
                if (notice.sender > 0 && notice.sender == k->pmd.pid)
                        handle(k, &notice);
                notice_done(&notice);
        }
}
