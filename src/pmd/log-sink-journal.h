/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/uio.h>

#include "pmd/log-relay.h"
#include "shared/log-line.h"

/* Sends lines to journald. All of this belongs to the log thread; a sink may be made on another one before it is handed
 * over. */

/* What all streams of the log thread share: the buffer in which an entry's MESSAGE is put together, and the count of
 * what was lost. */
typedef struct LogJournal LogJournal;

int log_journal_new(LogJournal **ret);
LogJournal *log_journal_free(LogJournal *j);
DEFINE_CLEANUP_FUNC(LogJournal *, log_journal_free);

/* For tests: called instead of sd_journal_sendv(). To be set before there is a log thread; NULL restores the
 * default. */
typedef int (*log_journal_send_t)(const struct iovec *iov, int n);
void log_journal_set_sender(log_journal_send_t send);

/* The fields that every line of one stream carries. */
typedef struct LogSinkJournal LogSinkJournal;

int log_sink_journal_new(const LogStreamSpec *spec, LogSinkJournal **ret);
LogSinkJournal *log_sink_journal_free(LogSinkJournal *s);
DEFINE_CLEANUP_FUNC(LogSinkJournal *, log_sink_journal_free);

/* Replaces OBJECT_PID (0: none; journald believes it from root only) and PM_UNIT (NULL: none). */
int log_sink_journal_set_pid(LogSinkJournal *s, pid_t pid, const char *unit);

/* One entry per line. What cannot be sent is counted and dropped. */
void log_sink_journal_write(LogSinkJournal *s, LogJournal *j, const LogBlock *block);
