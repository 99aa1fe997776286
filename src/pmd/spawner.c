/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pmd/raw-syscall.h"
#include "pmd/spawner.h"
#include "shared/fd-util.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1) /* linux/close_range.h */
#endif

struct SpawnPlace {
        Spawner *spawner;
        int fd; /* /dev/null where nobody has it */
        bool taken;
        int pidfd; /* of the child that had it last, and may still be there */
        SpawnMemory memory;
};

struct Spawner {
        int null_fd;
        bool may_share_memory;
        SpawnPlace places[SPAWNER_PLACES];
        size_t n_places, n_taken;
};

/* What a single start after the other needs; the rest goes when the last child of many is on its own. */
#define MEMORIES_KEPT 2

Spawner *spawner_free(Spawner *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_places; i++) {
                safe_close(s->places[i].fd);
                safe_close(s->places[i].pidfd);
                spawn_memory_done(&s->places[i].memory);
        }
        safe_close(s->null_fd);
        return mfree(s);
}

/* A container's filter may know close_range(), but not this. Where there is one thread it changes nothing. */
static bool can_unshare(void) {
        return close_range(UINT32_MAX, UINT32_MAX, CLOSE_RANGE_UNSHARE) >= 0;
}

int spawner_new(Spawner **ret) {
        _cleanup_(spawner_freep) Spawner *s = NULL;
        bool has_places = can_unshare();

        s = new0(Spawner, 1);
        if (!s)
                return -ENOMEM;
        s->may_share_memory = spawn_memory_is_plain();
        s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (s->null_fd < 0)
                return -errno;

        for (; has_places && s->n_places < SPAWNER_PLACES; s->n_places++) {
                int fd = fcntl(s->null_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

                if (fd < 0)
                        return -errno;
                s->places[s->n_places] = (SpawnPlace) { .spawner = s, .fd = fd, .pidfd = -EBADF };
        }

        *ret = TAKE_PTR(s);
        return 0;
}

static bool place_is_free(SpawnPlace *p) {
        struct pollfd pollfd = { .fd = p->pidfd, .events = POLLIN };

        if (p->taken)
                return false;
        if (p->pidfd >= 0 && poll(&pollfd, 1, 0) <= 0)
                return false;
        p->pidfd = safe_close(p->pidfd);
        return true;
}

SpawnPlace *spawner_take_place(Spawner *s, int fd) {
        for (size_t i = 0; s && i < s->n_places; i++) {
                SpawnPlace *p = s->places + i;

                if (!place_is_free(p))
                        continue;
                if (dup3(fd, p->fd, O_CLOEXEC) < 0)
                        return NULL;
                p->taken = true;
                s->n_taken++;
                return p;
        }
        return NULL;
}

static void spawner_trim(Spawner *s) {
        for (size_t i = MEMORIES_KEPT; i < s->n_places; i++)
                if (s->places[i].pidfd < 0)
                        spawn_memory_done(&s->places[i].memory);
}

SpawnPlace *spawn_place_release(SpawnPlace *p, int pidfd) {
        if (!p)
                return NULL;

        if (pidfd >= 0) {
                p->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
                if (p->pidfd < 0)
                        return NULL; /* nobody gets it any more */
        }
        if (dup3(p->spawner->null_fd, p->fd, O_CLOEXEC) < 0)
                return NULL;
        p->taken = false;
        if (--p->spawner->n_taken == 0)
                spawner_trim(p->spawner);
        return NULL;
}

bool spawn_place_may_share_memory(const SpawnPlace *p) {
        return p->spawner->may_share_memory;
}

int spawn_place_get_fd(const SpawnPlace *p) {
        return p->fd;
}

SpawnMemory *spawn_place_get_memory(SpawnPlace *p) {
        return &p->memory;
}

int spawn_place_get_last(const SpawnPlace *p) {
        return p->spawner->places[p->spawner->n_places - 1].fd; /* each was the lowest that was free */
}

int spawner_get_null_fd(const Spawner *s) {
        return s ? s->null_fd : -EBADF;
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
        long r;

        r = RAW_SYSCALL(SYS_close_range, last_place + 1, UINT32_MAX, CLOSE_RANGE_UNSHARE);
        if (r < 0)
                return (int) r;
        r = RAW_SYSCALL(SYS_recvmsg, place, &m, MSG_CMSG_CLOEXEC);
        if (r <= 0)
                return r < 0 ? (int) r : -ECONNRESET;
        if ((m.msg_flags & MSG_CTRUNC) || buffer.header.cmsg_type != SCM_RIGHTS || buffer.header.cmsg_len != CMSG_LEN(n * sizeof(int)))
                return -EBADMSG;
        memcpy(ret_fds, CMSG_DATA(&buffer.header), n * sizeof(int));
        return 0;
}
