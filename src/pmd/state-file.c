/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/state-file.h"

#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

int state_file_init(StateFile *f, const char *directory, const char *name) {
        *f = (StateFile) STATE_FILE_NULL;
        f->path = strjoin(directory, "/", name);
        return f->path ? 0 : -ENOMEM;
}

void state_file_done(StateFile *f) {
        f->fd = safe_close(f->fd);
        f->path = mfree(f->path);
}

/* Always the same beside it, so that what a kill leaves of it is found. */
static char *new_path(const StateFile *f) {
        return strjoin(f->path, ".new");
}

void state_file_lose(StateFile *f) {
        f->fd = safe_close(f->fd);
        f->size = 0;
        f->lost = true;
}

int state_file_open(StateFile *f) {
        _cleanup_free_ char *half = new_path(f);
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        if (!half)
                return -ENOMEM;
        (void) unlink(half);
        fd = open(f->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        f->fd = TAKE_FD(fd);
        f->size = st.st_size;
        return 0;
}

/* What is there instead of ours is of no use: all of it is about to be written. */
static int make(StateFile *f) {
        int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, r;

        f->fd = open(f->path, flags, 0600);
        if (f->fd < 0 && errno == ENOENT) {
                r = mkdir_parents(f->path, 0700);
                if (r < 0)
                        return r;
                f->fd = open(f->path, flags, 0600);
        }
        return f->fd < 0 ? -errno : 0;
}

int state_file_check(StateFile *f) {
        struct stat st;
        int r;

        if (f->fd >= 0) {
                if (fstat(f->fd, &st) >= 0 && st.st_nlink > 0 && st.st_size >= f->size)
                        return 1;
                state_file_lose(f);
        }
        r = make(f);
        if (r < 0)
                return r;
        return !TAKE_GENERIC(f->lost, false);
}

void state_file_check_path(StateFile *f) {
        struct stat ours, there;

        if (f->fd >= 0 && (fstat(f->fd, &ours) < 0 || lstat(f->path, &there) < 0 || ours.st_dev != there.st_dev || ours.st_ino != there.st_ino))
                state_file_lose(f);
}

int state_file_write(StateFile *f, off_t offset, const void *data, size_t n) {
        ssize_t k;

        if (f->fd < 0)
                return -EBADF;
        k = pwrite(f->fd, data, n, offset);
        if (k < 0)
                return -errno;
        if (k != (ssize_t) n)
                return -ENOSPC;
        f->size = MAX(f->size, offset + k);
        return 0;
}

/* What a full disk left of it would stand behind the next record. */
int state_file_append(StateFile *f, const char *data, size_t n) {
        int r;

        r = state_file_write(f, f->size, data, n);
        if (r < 0 && f->fd >= 0 && ftruncate(f->fd, f->size) < 0)
                return -errno;
        return r;
}

int state_file_cut(StateFile *f, off_t size) {
        f->size = size;
        return f->fd >= 0 && ftruncate(f->fd, size) < 0 ? -errno : 0;
}

int state_file_replace(StateFile *f, const char *data, size_t n) {
        _cleanup_free_ char *path = new_path(f);
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;

        FAULT_BEFORE(FILE_WRITE);
        r = write_all(fd, data, n);
        FAULT_AFTER(FILE_WRITE);
        if (r >= 0) {
                FAULT_BEFORE(FILE_RENAME);
                r = rename(path, f->path) < 0 ? -errno : 0;
                FAULT_AFTER(FILE_RENAME);
        }
        if (r < 0) {
                (void) unlink(path);
                return r;
        }

        safe_close(f->fd);
        f->fd = TAKE_FD(fd);
        f->size = (off_t) n;
        return 0;
}
