/* SPDX-License-Identifier: MIT */
#pragma once

#include <regex.h>

#include "pmctl/pmctl-util.h"
#include "shared/instance.h"
#include "shared/time-util.h"

/* What "pmctl logs" is made of: lines come from files and from the journal, and go through one view. */

typedef struct LogEntry {
        const char *app;
        const char *id;      /* of the process, NULL: unknown */
        bool err;
        bool event;          /* not a line of the app, but what pmd says of it */
        int priority;        /* -1: unknown */
        usec_t realtime;     /* 0: unknown */
        const char *message; /* any bytes, no newline at the end */
        size_t size;
} LogEntry;

/* Which lines are wanted. */
typedef struct LogFilter {
        usec_t since, until; /* 0 and USEC_INFINITY: any */
        int priority;        /* the least important, 7: any */
        bool has_regex;
        regex_t regex;
} LogFilter;

int log_filter_init(LogFilter *f, const Options *o); /* an ExitCode, the message printed */
void log_filter_done(LogFilter *f);
bool log_filter_is_active(const LogFilter *f);
bool log_filter_matches(const LogFilter *f, const LogEntry *e);

/* "2026-08-07 06:05", "06:05:04", "today", "-2h", "3 days ago", "@1786082704" */
bool log_parse_time(const char *s, usec_t *ret);

/* When a line of a file was written, if it says so; 0 if not. */
usec_t log_entry_find_time(const char *line, size_t n);

typedef struct LogView {
        const Options *options;
        const LogFilter *filter;
        int name_width;      /* of the longest app, at least 8 */
        bool escape_out, escape_err; /* that stream is a terminal: it must not obey what an app writes */
} LogView;

void log_view_init(LogView *v, const Options *o, const LogFilter *filter);
void log_view_note_app(LogView *v, const char *app);
void log_view_print(const LogView *v, const LogEntry *e);
/* The line above the last lines of a file. */
void log_view_print_file_header(const LogView *v, const char *path);

/* What of the journal is wanted; NULL: any. All selections are followed; of those of one group together come the last
 * lines, group 0 has none. */
typedef struct LogSelection {
        char *app, *name_space, *id;
        unsigned group;
} LogSelection;

typedef struct LogSelections {
        LogSelection *items;
        size_t n, n_allocated;
        LogSelection *hidden; /* processes whose lines are read from files */
        size_t n_hidden, n_hidden_allocated;
} LogSelections;

int log_selections_add(LogSelections *s, const char *app, const char *name_space, const char *id, unsigned group);
int log_selections_hide(LogSelections *s, const char *app, const char *id);
bool log_selections_is_hidden(const LogSelections *s, const char *app, const char *id);
void log_selections_done(LogSelections *s);

/* ---- journal ---- */

typedef struct LogReader LogReader;

/* Entries count only if pmd wrote them: the one of the system runs as root, others as their user. */
int log_reader_new(InstanceScope scope, LogReader **ret);
/* Whether the files of the journal are there, but not for us. */
bool log_journal_is_closed(void);
LogReader *log_reader_free(LogReader *l);
DEFINE_CLEANUP_FUNC(LogReader *, log_reader_free);

/* The apps the journal knows. */
int log_reader_list_apps(LogReader *l, char ***ret);

/* Prints the last lines of each group, all in order of time. */
int log_reader_tail(LogReader *l, const LogSelections *s, LogView *v);

/* From behind what log_reader_tail() saw. */
int log_reader_follow(LogReader *l, const LogSelections *s, const Options *o);
int log_reader_get_fd(LogReader *l);
int log_reader_get_events(LogReader *l);
int log_reader_get_timeout(LogReader *l); /* in ms, -1: none */
int log_reader_process(LogReader *l, const LogSelections *s, const LogView *v);

/* ---- files ---- */

typedef struct LogFollower LogFollower;

int log_follower_new(LogFollower **ret);
LogFollower *log_follower_free(LogFollower *f);
DEFINE_CLEANUP_FUNC(LogFollower *, log_follower_free);

/* Each file once; id may be NULL. After log_follower_tail() a file is read from its end, unless it was made after log_follower_watch(). */
int log_follower_add(LogFollower *f, const char *path, const char *app, const char *id, bool err);
bool log_follower_is_empty(const LogFollower *f);

/* Prints the last lines of each file; to_end: the last one also where its newline is missing. */
void log_follower_tail(LogFollower *f, const LogView *v, bool to_end);

/* Watches the directories, so that files may be truncated, renamed and made anew. */
int log_follower_watch(LogFollower *f, const LogView *v);

/* Whether log or pid files of others were made there, or in the directory of a file, since it was asked last. */
int log_follower_watch_directory(LogFollower *f, const char *path);
bool log_follower_take_created(LogFollower *f);

int log_follower_get_fd(LogFollower *f);
int log_follower_get_timeout(LogFollower *f); /* in ms, -1: none; what cannot be watched is looked at then */
void log_follower_process(LogFollower *f, const LogView *v);
