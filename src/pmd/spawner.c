/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pmd/spawner.h"
#include "shared/fd-util.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1) /* linux/close_range.h */
#endif

struct Spawner {
        int null_fd;
        int places[SPAWNER_PLACES]; /* /dev/null where nobody has it */
        bool taken[SPAWNER_PLACES];
        size_t n_places;
};

Spawner *spawner_free(Spawner *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_places; i++)
                safe_close(s->places[i]);
        safe_close(s->null_fd);
        return mfree(s);
}

/* A container's filter may know close_range(), but not this. Where there is one thread it changes nothing. */
static bool can_unshare(void) {
        return close_range(UINT32_MAX, UINT32_MAX, CLOSE_RANGE_UNSHARE) >= 0;
}

int spawner_new(Spawner **ret) {
        _cleanup_(spawner_freep) Spawner *s = NULL;

        s = new0(Spawner, 1);
        if (!s)
                return -ENOMEM;
        s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (s->null_fd < 0)
                return -errno;

        for (; s->n_places < SPAWNER_PLACES && can_unshare(); s->n_places++) {
                s->places[s->n_places] = fcntl(s->null_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
                if (s->places[s->n_places] < 0)
                        return -errno;
        }

        *ret = TAKE_PTR(s);
        return 0;
}

int spawner_take_place(Spawner *s, int fd) {
        for (size_t i = 0; s && i < s->n_places; i++) {
                if (s->taken[i])
                        continue;
                if (dup3(fd, s->places[i], O_CLOEXEC) < 0)
                        return -errno;
                s->taken[i] = true;
                return s->places[i];
        }
        return -EBUSY;
}

void spawner_release_place(Spawner *s, int place) {
        for (size_t i = 0; s && i < s->n_places; i++)
                if (s->taken[i] && s->places[i] == place) {
                        s->taken[i] = dup3(s->null_fd, place, O_CLOEXEC) < 0;
                        return;
                }
}

int spawner_null_fd(const Spawner *s) {
        return s ? s->null_fd : -EBADF;
}

int spawner_last_place(const Spawner *s) {
        int last = STDERR_FILENO;

        for (size_t i = 0; s && i < s->n_places; i++)
                last = MAX(last, s->places[i]);
        return last;
}

typedef union FdBuffer {
        struct cmsghdr header;
        char data[CMSG_SPACE(SPAWNER_FDS_MAX * sizeof(int))];
} FdBuffer;

int spawner_send_fds(int socket_fd, const int *fds, size_t n) {
        char byte = 0;
        FdBuffer buffer = {};
        struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &buffer, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

        if (n > SPAWNER_FDS_MAX)
                return -E2BIG;
        buffer.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) };
        memcpy(CMSG_DATA(&buffer.header), fds, n * sizeof(int));
        return sendmsg(socket_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int spawner_receive_fds(int place, int last_place, int *ret_fds, size_t n) {
        char byte;
        FdBuffer buffer;
        struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &buffer, .msg_controllen = sizeof(buffer) };

        if (close_range((unsigned) last_place + 1, UINT32_MAX, CLOSE_RANGE_UNSHARE) < 0)
                return -errno;
        if (recvmsg(place, &m, MSG_CMSG_CLOEXEC) <= 0)
                return -ECONNRESET;
        if ((m.msg_flags & MSG_CTRUNC) || buffer.header.cmsg_type != SCM_RIGHTS || buffer.header.cmsg_len != CMSG_LEN(n * sizeof(int)))
                return -EBADMSG;
        memcpy(ret_fds, CMSG_DATA(&buffer.header), n * sizeof(int));
        return 0;
}
