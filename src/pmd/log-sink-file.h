/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "pmd/log-counter.h"
#include "pmd/log-rotate.h"
#include "shared/log-line.h"

/* Log files, shared by all streams of the same user that name the same path. All of this belongs to the log thread.
 *
 * Nothing here fails for the caller. A file that cannot be opened is tried again with later lines, and what is lost meanwhile is counted
 * and said once. What a file that is open does not take (it is a pipe that nobody reads, the disk is full) waits in a ring. */

typedef struct LogFile LogFile;
typedef struct LogFileSet LogFileSet;

typedef struct LogFileSpec {
        const char *path;
        uid_t uid;               /* whose rights it is opened with */
        gid_t gid;
        const LogRotation *rotation; /* NULL: it grows */
} LogFileSpec;

/* Who writes, and what becomes of his lines when there is no room. */
typedef struct LogWriter {
        const void *id;          /* tells apart those who share a file */
        LogCounter *dropped;
        bool may_drop;
} LogWriter;

/* room() is called when a file that was full no longer is. */
int log_file_set_new(sd_event *event, void (*room)(void *userdata), void *userdata, LogFileSet **ret);
LogFileSet *log_file_set_free(LogFileSet *s); /* no file is referenced any more; what waits is lost, and counted */
DEFINE_CLEANUP_FUNC(LogFileSet *, log_file_set_free);

/* Opens the file with the rights of that user, making missing directories. 0 or -ENOMEM. */
int log_file_set_get(LogFileSet *s, const LogFileSpec *spec, LogFile **ret);
LogFile *log_file_unref(LogFile *f);

/* Writes the block in one piece, unless the file is to be rotated between its lines. A line without newline at the end of its stream gets
 * one. */
void log_file_write(LogFile *f, const LogWriter *writer, const LogBlock *block);

/* Whether the writer should wait until there is room. */
bool log_file_is_full(LogFile *f, bool may_drop);

/* Empties the file, if there is one. */
void log_file_set_flush(LogFileSet *s, const LogFileSpec *spec);

/* Opens every file anew by its path. */
void log_file_set_reopen(LogFileSet *s);
