/* SPDX-License-Identifier: MIT */
#include "shared/log-line.h"

/* The first two bytes choose the limit and the pieces; the rest is the stream. Fed whole and fed in pieces it must give
 * the same lines, and the lines put together again must be the stream. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Lines {
        size_t max;
        char *text;           /* the stream as put together again */
        size_t n_text;
        char *record;         /* what was seen, in a form that two runs can be compared by */
        size_t n_record, n_record_allocated;
} Lines;

static void record(Lines *l, const void *data, size_t n) {
        if (!GREEDY_REALLOC(l->record, l->n_record_allocated, l->n_record + n))
                abort();
        memcpy(l->record + l->n_record, data, n);
        l->n_record += n;
}

static void check(bool ok) {
        if (!ok)
                abort();
}

static void on_block(const LogBlock *b, void *userdata) {
        Lines *l = userdata;
        size_t offset = 0;

        check(b->size > 0);

        for (LogLine line; log_block_next(b, &offset, &line);) {
                LogLine bare = line;
                int priority = log_line_take_priority(&bare);
                char head[] = { (char) line.end, (char) line.continued, (char) priority, '|' };

                check(line.size <= l->max);
                check(line.end != LOG_LINE_END_SPLIT || line.size == l->max);
                check(line.size == bare.size + (priority >= 0 ? 3 : 0));
                check(priority < 0 || !line.continued);

                record(l, head, sizeof head);
                record(l, &line.size, sizeof line.size);
                record(l, line.data, line.size);

                memcpy(l->text + l->n_text, line.data, line.size);
                l->n_text += line.size;
                if (line.end == LOG_LINE_END_NEWLINE)
                        l->text[l->n_text++] = '\n';
        }
        check(offset == b->size);
}

static Lines split(const char *data, size_t size, size_t max, uint32_t seed) {
        Lines l = { .max = max, .text = new(char, size + 1) };
        LogSplitter s;

        check(l.text);
        log_splitter_init(&s, max);
        for (size_t n; size > 0; data += n, size -= n) {
                seed = seed * 1664525 + 1013904223;
                n = MIN(size, (size_t) 1 + (seed >> 24) % 17);
                log_splitter_feed(&s, data, n, on_block, &l);
        }
        log_splitter_finish(&s, on_block, &l);
        log_splitter_done(&s);
        return l;
}

static Lines split_whole(const char *data, size_t size, size_t max) {
        Lines l = { .max = max, .text = new(char, size + 1) };
        LogSplitter s;

        check(l.text);
        log_splitter_init(&s, max);
        log_splitter_feed(&s, data, size, on_block, &l);
        log_splitter_finish(&s, on_block, &l);
        log_splitter_done(&s);
        return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data + 2;
        Lines a, b;
        size_t max;

        if (size < 2)
                return 0;

        max = (size_t) data[0] % 64 + 1;
        size -= 2;

        a = split_whole(text, size, max);
        b = split(text, size, max, data[1]);

        check(a.n_text == size && memcmp(a.text, text, size) == 0);
        check(a.n_record == b.n_record && (a.n_record == 0 || memcmp(a.record, b.record, a.n_record) == 0));

        free(a.text);
        free(a.record);
        free(b.text);
        free(b.record);
        return 0;
}
