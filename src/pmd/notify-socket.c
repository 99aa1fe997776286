/* SPDX-License-Identifier: MIT */
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/fd-closer.h"
#include "pmd/notify-socket.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

#define MESSAGE_SIZE_MAX 4096
#define MESSAGES_PER_SECOND_MAX 1000

/* Linux 6.5 */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

struct NotifySocket {
        sd_event_source *source;
        int fd;
        char *path;
        const NotifyHandler *handler;
        void *userdata;
        uint64_t n_dropped;
        FdCloser *closer; /* of what came with the last message; the next one is not read before that is done */
};

/* Who sent it. Without a pidfd the pid may be another process's by the time it is looked at, which then is no member. */
typedef struct Sender {
        pid_t pid;
        int pidfd;
} Sender;

static void on_closed(void *userdata) {
        NotifySocket *s = ASSERT_PTR(userdata);

        s->closer = fd_closer_free(s->closer);
        (void) sd_event_source_set_enabled(s->source, SD_EVENT_ON);
}

/* Descriptors that came along are closed: for sd_notify_barrier(3) that is the answer it waits for. */
static void close_fds(NotifySocket *s, struct msghdr *m) {
        int fds[FD_CLOSER_FDS_MAX];
        size_t n = fd_closer_take_rights(m, fds);

        if (n == 0)
                return;
        fd_closer_new(sd_event_source_get_event(s->source), fds, n, on_closed, s, &s->closer);
        if (s->closer)
                (void) sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
}

static Sender read_control(struct msghdr *m) {
        Sender sender = { .pidfd = -EBADF };
        struct ucred ucred;

        for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
                if (h->cmsg_level != SOL_SOCKET)
                        continue;
                if (h->cmsg_type == SCM_CREDENTIALS && h->cmsg_len == CMSG_LEN(sizeof(ucred))) {
                        memcpy(&ucred, CMSG_DATA(h), sizeof(ucred));
                        sender.pid = ucred.pid;
                } else if (h->cmsg_type == SCM_PIDFD && h->cmsg_len == CMSG_LEN(sizeof(int)))
                        memcpy(&sender.pidfd, CMSG_DATA(h), sizeof(int));
        }
        return sender;
}

/* Asked in this order: what was found out about the pid is true if the process, or its zombie, still had it afterwards. */
static bool may_send(const NotifySocket *s, const Sender *sender) {
        return sender->pid > 0 && s->handler->may_send(sender->pid, s->userdata) &&
               (sender->pidfd < 0 || pidfd_send_signal(sender->pidfd, 0, NULL, 0) >= 0 || errno == EPERM);
}

/* The last call is the one that may change most. */
static void handle_message(NotifySocket *s, char *text) {
        bool ready = false, alive = false, failed = false;
        char *rest = text;

        for (char *line; (line = strsep(&rest, "\n"));) {
                const char *status = startswith(line, "STATUS=");

                if (status && utf8_is_valid(status, strlen(status)))
                        s->handler->status(status, s->userdata);
                ready = ready || streq(line, "READY=1");
                alive = alive || streq(line, "WATCHDOG=1");
                failed = failed || streq(line, "WATCHDOG=trigger");
        }

        if (ready)
                s->handler->ready(s->userdata);
        if (alive || failed)
                s->handler->watchdog(failed, s->userdata);
}

static int on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        NotifySocket *s = ASSERT_PTR(userdata);
        char text[MESSAGE_SIZE_MAX + 1];
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int) * FD_CLOSER_FDS_MAX)];
        } control;
        struct iovec iovec = { text, MESSAGE_SIZE_MAX };
        struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
        _cleanup_close_ int pidfd = -EBADF;
        Sender sender;
        ssize_t n;

        n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0) {
                if (!IN_SET(errno, EAGAIN, EINTR))
                        log_debug_errno(errno, "Failed to receive from %s, ignoring: %m", s->path);
                return 0;
        }

        close_fds(s, &m);
        sender = read_control(&m);
        pidfd = sender.pidfd;
        if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || memchr(text, 0, (size_t) n) || !may_send(s, &sender)) {
                s->n_dropped++;
                log_debug("Dropped a message of process %i to %s.", (int) sender.pid, s->path);
                return 0;
        }

        text[n] = 0;
        handle_message(s, text);
        return 0;
}

static int notify_socket_make(sd_event *event, int fd, const char *path, const NotifyHandler *handler, void *userdata, NotifySocket **ret) {
        _cleanup_(notify_socket_freep) NotifySocket *s = new(NotifySocket, 1);
        int r;

        if (!s) {
                safe_close(fd);
                return -ENOMEM;
        }
        *s = (NotifySocket) { .fd = fd, .handler = handler, .userdata = userdata };

        s->path = strdup(path);
        if (!s->path)
                return -ENOMEM;
        r = sd_event_add_io(event, &s->source, s->fd, EPOLLIN, on_message, s);
        if (r < 0)
                return r;
        /* An app that floods it is made to wait, by the queue of the socket that fills up. */
        r = sd_event_source_set_ratelimit(s->source, USEC_PER_SEC, MESSAGES_PER_SECOND_MAX);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

static int make_address(const char *path, struct sockaddr_un *ret) {
        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        strcpy(ret->sun_path, path);
        return 0;
}

static int open_socket(void) {
        int fd, one = 1;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* The mode that bind() will make the file with. */
        if (fchmod(fd, 0600) < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0) {
                int r = -errno;

                safe_close(fd);
                return r;
        }
        if (setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one)) < 0)
                log_debug_errno(errno, "This kernel does not tell the pidfds of senders, ignoring: %m");
        return fd;
}

int notify_socket_new(sd_event *event, const char *path, uid_t owner, const NotifyHandler *handler, void *userdata, NotifySocket **ret) {
        _cleanup_close_ int fd = -EBADF;
        struct sockaddr_un address;
        int r;

        r = make_address(path, &address);
        if (r < 0)
                return r;
        fd = open_socket();
        if (fd < 0)
                return fd;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        FAULT_BEFORE(SOCKET_BIND);
        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        FAULT_AFTER(SOCKET_BIND);
        if (owner != geteuid() && chown(path, owner, (gid_t) -1) < 0) {
                r = -errno;
                (void) unlink(path);
                return r;
        }
        return notify_socket_make(event, TAKE_FD(fd), path, handler, userdata, ret);
}

int notify_socket_adopt(sd_event *event, int fd, const char *path, const NotifyHandler *handler, void *userdata, NotifySocket **ret) {
        return notify_socket_make(event, fd, path, handler, userdata, ret);
}

NotifySocket *notify_socket_free(NotifySocket *s) {
        if (!s)
                return NULL;

        sd_event_source_disable_unref(s->source);
        fd_closer_free(s->closer);
        fd_closer_close_socket(s->fd);
        free(s->path);
        return mfree(s);
}

int notify_socket_get_fd(const NotifySocket *s) {
        return s->fd;
}

const char *notify_socket_get_path(const NotifySocket *s) {
        return s->path;
}

uint64_t notify_socket_get_dropped(const NotifySocket *s) {
        return s->n_dropped;
}
