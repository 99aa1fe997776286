/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/string-util.h"

int read_full_fd(int fd, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buf = NULL;
        size_t n = 0, allocated = 0;

        if (max == 0)
                max = 64U << 20;

        for (;;) {
                ssize_t k;

                if (!GREEDY_REALLOC(buf, allocated, n + 4096))
                        return -ENOMEM;

                k = read(fd, buf + n, allocated - n - 1);
                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n > max)
                        return -E2BIG;
        }

        buf[n] = 0;
        *ret = TAKE_PTR(buf);
        if (ret_size)
                *ret_size = n;
        return 0;
}

int read_full_file_at(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;

        return read_full_fd(fd, max, ret, ret_size);
}

int read_full_file(const char *path, char **ret, size_t *ret_size) {
        return read_full_file_at(AT_FDCWD, path, 0, ret, ret_size);
}

/* O_PATH opens nothing: neither does it wait for a FIFO, nor start what a device does when it is opened. */
static int open_regular_file(const char *path, struct stat *ret_st) {
        _cleanup_close_ int path_fd = -EBADF;
        char link[sizeof("/proc/self/fd/") + 11];
        int fd;

        path_fd = open(path, O_PATH | O_CLOEXEC);
        if (path_fd < 0 || fstat(path_fd, ret_st) < 0)
                return -errno;
        if (!S_ISREG(ret_st->st_mode))
                return -EINVAL;
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
        fd = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

int read_regular_file(const char *path, size_t max, char **ret, size_t *ret_size, mode_t *ret_mode) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *buf = NULL;
        struct stat st;
        size_t n = 0;

        fd = open_regular_file(path, &st);
        if (fd < 0)
                return fd;

        max = MIN(max, (size_t) st.st_size);
        buf = new(char, max + 1);
        if (!buf)
                return -ENOMEM;

        while (n < max) {
                ssize_t k = read(fd, buf + n, max - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }

        buf[n] = 0;
        *ret = TAKE_PTR(buf);
        *ret_size = n;
        if (ret_mode)
                *ret_mode = st.st_mode;
        return 0;
}

ssize_t read_virtual_file_at(int dir_fd, const char *path, char *buf, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;

        n = read(fd, buf, size - 1);
        if (n < 0)
                return -errno;

        buf[n] = 0;
        return n;
}

int write_virtual_file_at(int dir_fd, const char *path, const char *value) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (write(fd, value, strlen(value)) < 0)
                return -errno;
        return 0;
}

int fsync_parent(const char *path) {
        _cleanup_free_ char *dir = NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *slash = strrchr(path, '/');

        dir = slash ? strndup(path, (size_t) (slash - path) + 1) : strdup(".");
        if (!dir)
                return -ENOMEM;
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FAULT_BEFORE(DIRECTORY_SYNC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        FAULT_AFTER(DIRECTORY_SYNC);
        return 0;
}

static int commit_file(int fd, const char *tmp, const char *path, mode_t mode, bool durable) {
        if (fchmod(fd, mode) < 0)
                return -errno;
        if (durable) {
                FAULT_BEFORE(FILE_SYNC);
                if (fsync(fd) < 0)
                        return -errno;
                FAULT_AFTER(FILE_SYNC);
        }
        FAULT_BEFORE(FILE_RENAME);
        if (rename(tmp, path) < 0)
                return -errno;
        FAULT_AFTER(FILE_RENAME);
        return 0;
}

static int replace_file(const char *path, const void *data, size_t size, mode_t mode, bool durable) {
        _cleanup_free_ char *tmp = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        tmp = strjoin(path, ".XXXXXX");
        if (!tmp)
                return -ENOMEM;

        fd = mkostemp(tmp, O_CLOEXEC);
        if (fd < 0)
                return -errno;

        FAULT_BEFORE(FILE_WRITE);
        r = write_all(fd, data, size);
        FAULT_AFTER(FILE_WRITE);
        if (r >= 0)
                r = commit_file(fd, tmp, path, mode, durable);
        if (r < 0) {
                (void) unlink(tmp);
                return r;
        }

        return durable ? fsync_parent(path) : 0;
}

int write_file_atomic(const char *path, const void *data, size_t size, mode_t mode) {
        return replace_file(path, data, size, mode, true);
}

int write_file_replace(const char *path, const void *data, size_t size, mode_t mode) {
        return replace_file(path, data, size, mode, false);
}
