/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/macro.h"
#include "shared/time-util.h"

/* Full log files get another name, "app-out__2026-08-07_06-05-04.log" for app-out.log; the oldest of them are removed, the others
 * compressed, if that is wanted, by gzip as a child. All of this is done with the rights that the thread has at the moment. */

#define LOG_ROTATE_DATE_FORMAT "YYYY-MM-DD_HH-mm-ss"

typedef struct LogRotation {
        uint64_t max_size;       /* 0: whatever the size */
        unsigned retain;         /* old files that are kept */
        bool compress;
        char *date_format;       /* NULL: LOG_ROTATE_DATE_FORMAT */
        char *interval;          /* cron expression, NULL: none */
} LogRotation;

int log_rotation_copy(LogRotation *to, const LogRotation *from);
void log_rotation_done(LogRotation *r);

/* Gives the file a dated name that no file has. */
int log_rotate_rename(int dir_fd, const char *name, const LogRotation *r);

/* Removes old files that are too many. 1 with the name of the oldest that is to be compressed, 0: there is none. */
int log_rotate_tidy(int dir_fd, const char *name, const LogRotation *r, char **ret_name);

/* One compression, in a directory of its own fd. */
typedef struct LogCompressor LogCompressor;

typedef void (*log_compressed_t)(int error, void *userdata);

/* Takes dir_fd. done() follows, unless it is freed before; gzip then goes on, and what it makes is removed some other time. -ENOENT:
 * there is no gzip. */
int log_compressor_new(sd_event *event, int dir_fd, const char *name, uid_t uid, gid_t gid, log_compressed_t done, void *userdata,
                       LogCompressor **ret);
LogCompressor *log_compressor_free(LogCompressor *c);
DEFINE_CLEANUP_FUNC(LogCompressor *, log_compressor_free);
