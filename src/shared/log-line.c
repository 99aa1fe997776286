/* SPDX-License-Identifier: MIT */
#include "shared/log-line.h"
#include "shared/string-table.h"

static const char *const log_line_end_table[_LOG_LINE_END_MAX] = {
        [LOG_LINE_END_NEWLINE] = "newline",
        [LOG_LINE_END_SPLIT] = "line-max",
        [LOG_LINE_END_EOF] = "eof",
};

DEFINE_STRING_TABLE(LogLineEnd, log_line_end);

bool log_block_next(const LogBlock *b, size_t *offset, LogLine *ret) {
        const char *start = b->data + *offset, *newline;
        size_t left = b->size - *offset;

        if (left == 0)
                return false;

        newline = memchr(start, '\n', left);
        *ret = (LogLine) {
                .data = start,
                .size = newline ? (size_t) (newline - start) : left,
                .end = newline ? LOG_LINE_END_NEWLINE : b->end,
                .continued = *offset == 0 && b->continued,
        };
        *offset += newline ? ret->size + 1 : left;
        return true;
}

uint64_t log_block_count_lines(const LogBlock *b) {
        uint64_t n = b->end != LOG_LINE_END_NEWLINE && !(b->end == LOG_LINE_END_SPLIT && b->continued);

        for (const char *p = b->data, *end = p + b->size; (p = memchr(p, '\n', (size_t) (end - p))); p++)
                n++;
        return n;
}

int log_line_take_priority(LogLine *line) {
        const char *p = line->data;

        if (line->continued || line->size < 3 || p[0] != '<' || p[1] < '0' || p[1] > '7' || p[2] != '>')
                return -1;

        line->data += 3;
        line->size -= 3;
        return p[1] - '0';
}

void log_splitter_init(LogSplitter *s, size_t max) {
        assert(max > 0);

        *s = (LogSplitter) { .max = max };
}

static void forget_partial(LogSplitter *s) {
        s->partial = mfree(s->partial);
        s->n_partial = s->n_allocated = 0;
}

void log_splitter_done(LogSplitter *s) {
        forget_partial(s);
}

static void emit_block(
                LogSplitter *s, const char *data, size_t size, LogLineEnd end, log_block_t emit, void *userdata) {

        LogBlock b = { .data = data, .size = size, .end = end, .continued = s->continued };

        s->continued = end == LOG_LINE_END_SPLIT;
        emit(&b, userdata);
}

static void emit_partial(LogSplitter *s, LogLineEnd end, log_block_t emit, void *userdata) {
        emit_block(s, s->partial, s->n_partial, end, emit, userdata);
        forget_partial(s);
}

static bool add_to_partial(LogSplitter *s, const char *data, size_t n) {
        if (!GREEDY_REALLOC(s->partial, s->n_allocated, s->n_partial + n))
                return false;

        memcpy(s->partial + s->n_partial, data, n);
        s->n_partial += n;
        return true;
}

/* Without memory to keep an incomplete line there is only to pass it on as it is. */
static void emit_unkept(LogSplitter *s, const char *data, size_t n, LogLineEnd end, log_block_t emit, void *userdata) {
        if (s->n_partial > 0)
                emit_partial(s, LOG_LINE_END_SPLIT, emit, userdata);
        if (n > 0)
                emit_block(s, data, n, end, emit, userdata);
}

/* Goes on with the line that is kept; n > 0. Returns how many bytes it took: none, perhaps, if that line was full. */
static size_t continue_partial(LogSplitter *s, const char *data, size_t n, log_block_t emit, void *userdata) {
        size_t room = s->max - s->n_partial, take;
        const char *newline;

        newline = memchr(data, '\n', MIN(n, room + 1));
        take = newline ? (size_t) (newline - data) + 1 : MIN(n, room);

        if (!add_to_partial(s, data, take))
                emit_unkept(s, data, take, newline ? LOG_LINE_END_NEWLINE : LOG_LINE_END_SPLIT, emit, userdata);
        else if (newline)
                emit_partial(s, LOG_LINE_END_NEWLINE, emit, userdata);
        else if (n > room)
                emit_partial(s, LOG_LINE_END_SPLIT, emit, userdata);
        return take;
}

/* At the beginning of a line; n > 0. No line within max bytes is longer than max, so that one look for the last newline
 * is enough. */
static size_t take_lines(LogSplitter *s, const char *data, size_t n, log_block_t emit, void *userdata) {
        size_t window = MIN(n, s->max), take;
        const char *newline;

        newline = memrchr(data, '\n', window);
        take = newline ? (size_t) (newline - data) + 1 : window;

        if (newline)
                emit_block(s, data, take, LOG_LINE_END_NEWLINE, emit, userdata);
        else if (!add_to_partial(s, data, take))
                emit_unkept(s, data, take, LOG_LINE_END_SPLIT, emit, userdata);
        return take;
}

void log_splitter_feed(LogSplitter *s, const char *data, size_t n, log_block_t emit, void *userdata) {
        while (n > 0) {
                size_t take = s->n_partial > 0 ? continue_partial(s, data, n, emit, userdata) :
                                                 take_lines(s, data, n, emit, userdata);

                data += take;
                n -= take;
        }
}

void log_splitter_finish(LogSplitter *s, log_block_t emit, void *userdata) {
        if (s->n_partial > 0)
                emit_partial(s, LOG_LINE_END_EOF, emit, userdata);
        s->continued = false;
}
