/* SPDX-License-Identifier: MIT */
#pragma once

#include <dirent.h>

#include "shared/macro.h"

/* Closes fd unless it is negative, keeps errno, returns -EBADF so that "fd = safe_close(fd)" forgets it. */
int safe_close(int fd);

static inline void closep(int *fd) {
        safe_close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

/* The same for a listening socket, which ends for all who have a copy of it, too. */
int close_listening(int fd);

void safe_close_pair(int p[static 2]);
static inline void close_pairp(int (*p)[2]) {
        safe_close_pair(*p);
}
#define _cleanup_close_pair_ _cleanup_(close_pairp)
#define EBADF_PAIR { -EBADF, -EBADF }

static inline void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}
#define _cleanup_closedir_ _cleanup_(closedirp)

/* 0 or a negative errno. */
int fd_nonblock(int fd, bool nonblock);
int fd_cloexec(int fd, bool cloexec);

/* Writes all n bytes, going on after EINTR and short writes. 0 or a negative errno. */
int write_all(int fd, const void *data, size_t n);

/* Locks the whole file, which is open for writing, for this process until it ends or closes the file: children do not get the lock,
 * execve() keeps it. 0; -EBUSY if another process has it; or another negative errno. */
int fd_lock(int fd);
/* Who has it: 0 if nobody, or who is not known. */
pid_t fd_get_lock_holder(int fd);

/* Opens /dev/null for standard input, output and error where they are closed. 0 or a negative errno. */
int stdio_ensure(void);

/* If standard error is a file of this name that was removed, output and error go on in a new one. 0 or a negative errno. */
int stdio_reopen(const char *path);
