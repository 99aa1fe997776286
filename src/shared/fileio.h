/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Reads a whole file of at most max bytes (0: 64 MiB), adds a NUL behind it. 0, -E2BIG or a negative errno.
 * dir_fd and path are as for openat(). */
int read_full_file_at(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size);
int read_full_fd(int fd, size_t max, char **ret, size_t *ret_size);
int read_full_file(const char *path, char **ret, size_t *ret_size);

/* Reads the first max bytes of a file that somebody else may replace at any time, adds a NUL behind them. Never waits, and opens nothing but regular files. ret_mode may
 * be NULL. 0, -EINVAL: it is something else, or a negative errno. */
int read_regular_file(const char *path, size_t max, char **ret, size_t *ret_size, mode_t *ret_mode);

/* Reads a small file of /proc or cgroupfs with one read(), cut at size - 1, NUL-terminated. The length or a negative errno. */
ssize_t read_virtual_file_at(int dir_fd, const char *path, char *buf, size_t size);

/* Writes a small file of /proc or cgroupfs with one write(). 0 or a negative errno. */
int write_virtual_file_at(int dir_fd, const char *path, const char *value);

/* Replaces a file as a whole: temporary file beside it, fsync, rename, fsync of the directory. A reader, or a machine that
 * loses power, finds the old content or the new, never a part. 0 or a negative errno, the old file untouched then. */
int write_file_atomic(const char *path, const void *data, size_t size, mode_t mode);

/* Makes sure that what was renamed, made or removed beside path survives a loss of power. 0 or a negative errno. */
int fsync_parent(const char *path);

/* The same without fsync: whole for every reader, but not for a machine that loses power. */
int write_file_replace(const char *path, const void *data, size_t size, mode_t mode);
