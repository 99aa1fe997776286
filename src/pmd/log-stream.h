/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "pmd/log-format.h"
#include "pmd/log-relay.h"
#include "pmd/log-sink-file.h"
#include "pmd/log-sink-journal.h"
#include "pmd/log-tap.h"
#include "shared/list.h"
#include "shared/log-line.h"

/* One pipe with what cuts its bytes into lines, and the targets of these. Made by the main thread, then handed over to
 * the log thread. */

typedef struct LogStream LogStream;

/* What the streams of one log thread share. */
typedef struct LogThreadContext {
        sd_event *event;
        LogFileSet *files;
        LogJournal *journal;
        LogTap *tap;
        char *buffer; /* LOG_READ_SIZE bytes, in use during one read only */
        int copy_fds[2], null_fd; /* a pipe that is empty between reads, and what is done with is thrown there; -EBADF: none */
        LogText text; /* the same in the form that files get */
        LIST_HEAD(LogStream, paused);
        void (*closed)(LogStream *s, void *userdata); /* gets the stream back, detached */
        void *userdata;
} LogThreadContext;

/* As much as a full pipe holds after it was enlarged; also what bounds the time one stream keeps others waiting. */
#define LOG_READ_SIZE ((size_t) 256 * 1024)

struct LogStream {
        uint64_t id;
        int fd;
        LogStream *next; /* of whoever owns it */
        LogStreamKind kind;
        unsigned process_id;

        char *path, *combined_path;
        bool own_path, own_combined_path;
        uid_t uid;
        gid_t gid;
        LogFormat format;
        LogRotation rotation;
        bool rotates;
        LogWriter file_writer, journal_writer;
        bool pipe_enlarged;

        bool is_paused; /* until there is room in its targets */
        sd_event_source *pause_timer;
        LIST_FIELDS(LogStream, paused);

        LogThreadContext *context; /* from attach to detach */
        sd_event_source *source;
        LogSplitter splitter;
        LogFile *file, *combined;
        LogSinkJournal *journal;
};

int log_stream_new(uint64_t id, int fd, const LogStreamSpec *spec, LogStream **ret); /* One without a pipe, which only goes the way of streams. */
int log_stream_new_mark(uint64_t id, LogStream **ret);
/* takes fd, also on failure */
LogStream *log_stream_free(LogStream *s);
DEFINE_CLEANUP_FUNC(LogStream *, log_stream_free);

/* On the log thread: opens the files and begins to read. Ends, sooner or later, in context->closed(), also if this
 * fails. */
void log_stream_attach(LogStream *s, LogThreadContext *context);

/* There is room again in some target. */
void log_stream_resume_all(LogThreadContext *context);

/* Reads what is in the pipe now, writes it out, and closes. */
void log_stream_give_up(LogStream *s);
