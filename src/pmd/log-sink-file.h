/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/log-line.h"

/* Log files, shared by all streams of the same user that name the same path. All of this belongs to the log thread.
 *
 * Nothing here fails for the caller: a file that cannot be opened or written is tried again with later lines, and what
 * is lost meanwhile is counted and said once. */

typedef struct LogFile LogFile;
typedef struct LogFileSet LogFileSet;

int log_file_set_new(LogFileSet **ret);
LogFileSet *log_file_set_free(LogFileSet *s); /* no file is referenced any more */
DEFINE_CLEANUP_FUNC(LogFileSet *, log_file_set_free);

/* Opens the file with the rights of that user, making missing directories. 0 or -ENOMEM. */
int log_file_set_get(LogFileSet *s, const char *path, uid_t uid, gid_t gid, LogFile **ret);
LogFile *log_file_unref(LogFile *f);

/* Writes the block in one piece; writer tells apart those who share the file. A line without newline at the end of its
 * stream gets one. */
void log_file_write(LogFile *f, const void *writer, const LogBlock *block);

/* Opens every file anew by its path. */
void log_file_set_reopen(LogFileSet *s);
