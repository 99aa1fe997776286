/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/log-relay.h"
#include "pmd/log-sink-file.h"
#include "shared/log-line.h"

/* Sends lines to journald, by its own protocol and never waiting for it. All of this belongs to the log thread; a sink may be made on another
 * one before it is handed over. */

/* The socket, which all streams of the log thread share. */
typedef struct LogJournal LogJournal;

/* room() is called when the journal takes lines again. */
int log_journal_new(sd_event *event, void (*room)(void *userdata), void *userdata, LogJournal **ret);
LogJournal *log_journal_free(LogJournal *j); /* what waits is lost, and counted */
DEFINE_CLEANUP_FUNC(LogJournal *, log_journal_free);

/* For tests: where journald listens. To be set before there is a log thread; NULL restores the default. */
void log_journal_set_socket(const char *path);

/* One entry of our own; what cannot be sent now waits. */
void log_journal_send_event(LogJournal *j, const char *fields, size_t n);

/* What every line of one stream carries, and what waits for the journal. */
typedef struct LogSinkJournal LogSinkJournal;

int log_sink_journal_new(const LogStreamSpec *spec, LogSinkJournal **ret);
LogSinkJournal *log_sink_journal_free(LogSinkJournal *s); /* of one that nothing was written to */
DEFINE_CLEANUP_FUNC(LogSinkJournal *, log_sink_journal_free);

/* Frees it when it has nothing left to send. */
LogSinkJournal *log_journal_release(LogJournal *j, LogSinkJournal *s);

/* Replaces OBJECT_PID (0: none; journald believes it from root only) and PM_UNIT (NULL: none). */
int log_sink_journal_set_pid(LogSinkJournal *s, pid_t pid, const char *unit);

/* One entry per line. What cannot be sent now waits. */
void log_sink_journal_write(LogSinkJournal *s, LogJournal *j, const LogWriter *writer, const LogBlock *block);

/* Whether the writer should wait until there is room. */
bool log_sink_journal_is_full(LogSinkJournal *s, bool may_drop);
