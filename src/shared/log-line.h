/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Cuts the bytes of a pipe into lines. Every byte but '\n' is text: NUL and what is no UTF-8 pass as they are. How the
 * bytes arrive in pieces makes no difference to the lines. */

/* A longer line is handed on in pieces of this size. */
#define LOG_LINE_MAX ((size_t) 256 * 1024)

typedef enum LogLineEnd {
        LOG_LINE_END_NEWLINE,
        LOG_LINE_END_SPLIT, /* longer than the limit: the next block goes on with the same line */
        LOG_LINE_END_EOF,   /* the stream ended without a newline */
        _LOG_LINE_END_MAX,
        _LOG_LINE_END_INVALID = -EINVAL,
} LogLineEnd;

/* "newline", and "line-max" and "eof" as in journald's _LINE_BREAK. */
const char *log_line_end_to_string(LogLineEnd e);
LogLineEnd log_line_end_from_string(const char *s);

/* One or more lines with their newlines, or, where end says so, one line or piece of a line without a newline. A file
 * takes a block in one write; what wants single lines walks through it. */
typedef struct LogBlock {
        const char *data;
        size_t size;
        LogLineEnd end;
        bool continued; /* the first line goes on from the block before, which was split */
} LogBlock;

typedef struct LogLine {
        const char *data; /* without the newline, not NUL-terminated */
        size_t size;
        LogLineEnd end;
        bool continued;
} LogLine;

/* Puts the line at *offset into *ret and moves *offset behind it. False at the end of the block. */
bool log_block_next(const LogBlock *b, size_t *offset, LogLine *ret);

/* How many lines there are; a further piece of a split one is none until its end. */
uint64_t log_block_count_lines(const LogBlock *b);

/* Removes a "<N>" in front of the line, N being 0 to 7, and returns N, or -1 if there is none. A line that goes on from
 * a split one has none. */
int log_line_take_priority(LogLine *line);

typedef void (*log_block_t)(const LogBlock *block, void *userdata);

/* Holds memory for text only while a line is incomplete. */
typedef struct LogSplitter {
        size_t max;
        char *partial;
        size_t n_partial, n_allocated;
        bool continued;
} LogSplitter;

void log_splitter_init(LogSplitter *s, size_t max); /* max > 0 */
void log_splitter_done(LogSplitter *s);

/* Calls emit() for what is complete with these n bytes. The blocks are valid during the call only. Where memory runs
 * out the line is split early; nothing is lost. */
void log_splitter_feed(LogSplitter *s, const char *data, size_t n, log_block_t emit, void *userdata);

/* The stream has ended: emits the incomplete line, if there is one. */
void log_splitter_finish(LogSplitter *s, log_block_t emit, void *userdata);
