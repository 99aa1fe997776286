/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/log-stream.h"

/* The thread that reads and writes the lines, and the two queues between it and the main thread. These functions are
 * for the main thread. */

typedef struct LogThread LogThread;
typedef struct LogCommand LogCommand;

/* Something to be done on the log thread. run() and what it needs are filled in by the sender. */
typedef void (*log_command_run_t)(LogThread *t, LogCommand *c);

struct LogCommand {
        log_command_run_t run;
        uint64_t id;
        LogStream *stream; /* to be added */
        pid_t pid;
        char *unit;
        char *data; /* an entry, or a path */
        size_t n_data;
        uid_t uid;
        gid_t gid;
        LogCommand *next;
};

LogCommand *log_command_free(LogCommand *c);
DEFINE_CLEANUP_FUNC(LogCommand *, log_command_free);

int log_thread_new(LogTap *tap, LogThread **ret); /* takes a reference */

/* Writes out what is in the pipes now and ends the thread. One that hangs in a write is left behind with all it
 * holds. */
LogThread *log_thread_stop(LogThread *t);
DEFINE_CLEANUP_FUNC(LogThread *, log_thread_stop);

/* Takes the command, also on failure. -ENOBUFS if the thread has not answered to too many. */
int log_thread_send(LogThread *t, LogCommand *c);

/* Readable when a stream has closed; the caller keeps the fd's event source. */
int log_thread_get_fd(LogThread *t);

/* All streams that have closed, linked by next, as the caller's now. */
LogStream *log_thread_take_closed(LogThread *t);

/* Commands */
void log_command_add(LogThread *t, LogCommand *c);
void log_command_set_pid(LogThread *t, LogCommand *c);
void log_command_give_up(LogThread *t, LogCommand *c);
void log_command_reopen(LogThread *t, LogCommand *c);
void log_command_flush(LogThread *t, LogCommand *c);
void log_command_event(LogThread *t, LogCommand *c);
void log_command_mark(LogThread *t, LogCommand *c); /* the stream has closed */

/* A hash table from uint64_t, which lies in the value, to a value. */
struct lh_table *log_id_table_new(void);
