/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "pmd/log-counter.h"
#include "pmd/log-rotate.h"
#include "pmd/pmd-forward.h"
#include "shared/log-line.h"

/* Carries the output of apps from their pipes to the journal and to files, on threads of its own, so that neither a
 * stalled disk nor a stopped journald stalls supervision. All functions below are for the main thread; they pass
 * commands to the log thread and never wait for it, except log_relay_free(). */

typedef enum LogStreamKind {
        LOG_STREAM_OUT,
        LOG_STREAM_ERR,
        _LOG_STREAM_KIND_MAX,
        _LOG_STREAM_KIND_INVALID = -EINVAL,
} LogStreamKind;

const char *log_stream_kind_to_string(LogStreamKind k); /* "out", "err" */
LogStreamKind log_stream_kind_from_string(const char *s);

/* What happens when a target takes no more lines and there is no room to keep them. */
typedef enum LogOverflow {
        LOG_OVERFLOW_AUTO,  /* files block, the journal drops */
        LOG_OVERFLOW_BLOCK, /* the app waits when it writes */
        LOG_OVERFLOW_DROP,  /* the oldest lines are dropped and counted */
        _LOG_OVERFLOW_MAX,
        _LOG_OVERFLOW_INVALID = -EINVAL,
} LogOverflow;

const char *log_overflow_to_string(LogOverflow o); /* "auto", "block", "drop" */
LogOverflow log_overflow_from_string(const char *s);

typedef struct LogStreamSpec {
        LogStreamKind kind;
        const char *app, *name_space; /* copied, as all strings here */
        unsigned id, instance;
        pid_t pid;              /* OBJECT_PID */
        const char *unit;       /* NULL: none */
        bool journal;
        const char *path;       /* file for this stream, NULL: none */
        bool own_path;          /* path is in pmd's directory: it is opened with pmd's rights */
        const char *combined_path; /* file for both streams, NULL: none */
        bool own_combined_path;
        uid_t uid;              /* whose rights other files are opened with */
        gid_t gid;
        const char *date_format; /* in front of each line of files, NULL: nothing */
        bool json;              /* files get an object per line */
        const LogRotation *rotation; /* of files, NULL: they grow */
        bool parse_json;        /* lines that are objects become fields in the journal */
        int stderr_priority;    /* in the journal, of lines that say nothing; 0: LOG_ERR */
        LogOverflow overflow;
        LogCounter *dropped;    /* a reference is taken; NULL: nobody counts */
} LogStreamSpec;

/* Called in the main loop when the pipe is at EOF (or was given up, below) and all its lines are with their targets, or in the ring of one
 * that stalls. */
typedef void (*log_stream_closed_t)(uint64_t stream, void *userdata);

/* A line for who listens in the main loop. */
typedef struct LogTapLine {
        unsigned id;        /* of the process, which may be gone by now */
        LogStreamKind kind;
        LogLine line;       /* valid during the call only; data is NULL where there is only n_skipped to be told */
        uint64_t n_skipped; /* lines of whatever process that are missing before it */
} LogTapLine;

typedef void (*log_tap_t)(const LogTapLine *line, void *userdata);

int log_relay_new(sd_event *event, LogRelay **ret);
LogRelay *log_relay_free(LogRelay *l); /* writes out what is in the pipes now, then ends the thread */
DEFINE_CLEANUP_FUNC(LogRelay *, log_relay_free);

/* Takes over fd (the read end). 0 with the stream's number (never 0), or a negative errno, fd closed then. */
int log_relay_add_stream(
                LogRelay *l,
                int fd,
                const LogStreamSpec *spec,
                log_stream_closed_t closed,
                void *userdata,
                uint64_t *ret_stream);

/* The pid and unit are known only after the fork. */
int log_relay_set_pid(LogRelay *l, uint64_t stream, pid_t pid, const char *unit);

/* Reads what is in the pipe now and closes it, even if a stray process still holds the other end. closed() follows,
 * after a second at the latest: a log thread that hangs in a write is not waited for, the lines come when it goes
 * on. */
int log_relay_give_up(LogRelay *l, uint64_t stream);

/* No callback any more; the stream lives on to its EOF. */
int log_relay_forget(LogRelay *l, uint64_t stream);

/* While it is enabled, the callback gets each line that comes, as far as the main loop keeps up with them. It may call this itself. */
void log_relay_set_tap(LogRelay *l, bool enabled, log_tap_t callback, void *userdata);

int log_relay_reopen_files(LogRelay *l);

/* Empties a log file, whether it is open now or not. */
int log_relay_flush_file(LogRelay *l, const char *path, bool own_path, uid_t uid, gid_t gid);

/* done() is called in the main loop when all that was asked for until now has been done; after a second at the latest, see above. */
int log_relay_sync(LogRelay *l, void (*done)(void *userdata), void *userdata);

/* Sends one entry to the journal: fields as log_json_add_field() makes them. */
int log_relay_send_event(LogRelay *l, const char *fields, size_t n);
