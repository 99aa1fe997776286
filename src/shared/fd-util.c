/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/fd-util.h"

int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

int close_listening(int fd) {
        int saved = errno;

        if (fd >= 0)
                (void) shutdown(fd, SHUT_RDWR);
        errno = saved;
        return safe_close(fd);
}

void safe_close_pair(int p[static 2]) {
        p[0] = safe_close(p[0]);
        p[1] = safe_close(p[1]);
}

int fd_nonblock(int fd, bool nonblock) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        if (fcntl(fd, F_SETFL, nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
                return -errno;
        return 0;
}

int fd_cloexec(int fd, bool cloexec) {
        int flags = fcntl(fd, F_GETFD);

        if (flags < 0)
                return -errno;
        if (fcntl(fd, F_SETFD, cloexec ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC) < 0)
                return -errno;
        return 0;
}

int write_all(int fd, const void *data, size_t n) {
        const char *p = data;

        while (n > 0) {
                ssize_t k = write(fd, p, n);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += k;
                n -= (size_t) k;
        }

        return 0;
}

int fd_lock(int fd) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_SETLK, &lock) >= 0)
                return 0;
        return IN_SET(errno, EAGAIN, EACCES) ? -EBUSY : -errno;
}

pid_t fd_get_lock_holder(int fd) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        return fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

int stdio_ensure(void) {
        int fd;

        do {
                fd = open("/dev/null", O_RDWR); /* no O_CLOEXEC: standard descriptors are inherited */
                if (fd < 0)
                        return -errno;
        } while (fd <= STDERR_FILENO);

        safe_close(fd);
        return 0;
}

/* The link of a removed file ends with " (deleted)". What comes before may be another name of the directory. */
static bool is_removed(int fd, const char *path) {
        const char *name = strrchr(path, '/'), *end;
        char link[64], target[PATH_MAX];
        ssize_t n;

        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof target - 1);
        if (n < 0 || !name)
                return false;
        target[n] = 0;
        end = strrchr(target, '/');
        return end && strncmp(end, name, strlen(name)) == 0 && strcmp(end + strlen(name), " (deleted)") == 0;
}

int stdio_reopen(const char *path) {
        _cleanup_close_ int fd = -EBADF;

        if (!is_removed(STDERR_FILENO, path))
                return 0;
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return -errno;
        if (is_removed(STDOUT_FILENO, path) && dup2(fd, STDOUT_FILENO) < 0)
                return -errno;
        return dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
}
