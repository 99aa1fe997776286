/* SPDX-License-Identifier: MIT */
#include "pmd/log-format.h"
#include "shared/date-format.h"
#include "shared/string-util.h"

/* So much goes into one write. */
#define TEXT_MAX ((size_t) 256 * 1024)

static bool reserve(LogText *t, size_t n) {
        return GREEDY_REALLOC(t->data, t->n_allocated, t->n + n);
}

static void put(LogText *t, const char *data, size_t n) {
        memcpy(t->data + t->n, data, n);
        t->n += n;
}

/* ---- JSON ---- */

/* The length of the UTF-8 character that the text begins with, 0: there is none. */
static size_t character_length(const char *s, size_t n) {
        unsigned char c = (unsigned char) *s;
        size_t k = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

        return k <= n && (k == 1 || utf8_is_valid(s, k)) ? k : 0;
}

/* How much is printable ASCII that stands for itself. */
static size_t plain_length(const char *s, size_t n) {
        size_t k = 0;

        while (k < n && s[k] >= 0x20 && s[k] < 0x7f && s[k] != '"' && s[k] != '\\')
                k++;
        return k;
}

static void put_control(LogText *t, unsigned char c) {
        static const char letters[0x20] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
        static const char digits[] = "0123456789abcdef";

        if (c < sizeof letters && letters[c])
                put(t, (char[]) { '\\', letters[c] }, 2);
        else
                put(t, (char[]) { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] }, 6);
}

/* What is no UTF-8 becomes U+FFFD. At most 6 bytes come of one; the room for them is reserved. */
static void put_escaped(LogText *t, const char *s, size_t n) {
        for (size_t i = 0, k; i < n; i += MAX(k, (size_t) 1)) {
                unsigned char c = (unsigned char) s[i];

                k = plain_length(s + i, n - i);
                if (k > 0) {
                        put(t, s + i, k);
                        continue;
                }

                k = character_length(s + i, n - i);
                if (k == 0)
                        put(t, "\xef\xbf\xbd", 3);
                else if (k > 1)
                        put(t, s + i, k);
                else if (c == '"' || c == '\\')
                        put(t, (char[]) { '\\', (char) c }, 2);
                else
                        put_control(t, c);
        }
}

static char *make_json_tail(const char *kind, unsigned id, const char *app) {
        _cleanup_free_ char *buffer = new(char, strlen(app) * 6 + 1);
        LogText t = { .data = buffer };

        if (!buffer)
                return NULL;
        put_escaped(&t, app, strlen(app));
        buffer[t.n] = 0;
        return strprintf("\",\"type\":\"%s\",\"process_id\":%u,\"app_name\":\"%s\"}\n", kind, id, buffer);
}

int log_format_init(LogFormat *f, const char *date_format, bool json, const char *kind, unsigned id, const char *app) {
        *f = (LogFormat) { .json = json };

        if (!isempty(date_format)) {
                f->date_format = strdup(date_format);
                if (!f->date_format)
                        return -ENOMEM;
        }
        if (json) {
                f->json_tail = make_json_tail(kind, id, app);
                if (!f->json_tail)
                        return -ENOMEM;
        }
        return 0;
}

void log_format_done(LogFormat *f) {
        free(f->date_format);
        free(f->json_tail);
}

/* ---- blocks ---- */

static bool add_json(const LogFormat *f, const LogLine *line, const char *date, size_t n_date, LogText *t) {
        static const char head[] = "{\"message\":\"", time[] = "\",\"timestamp\":\"";
        size_t n_tail = strlen(f->json_tail);

        if (!reserve(t, (line->size + n_date) * 6 + sizeof head + sizeof time + 2 + n_tail))
                return false;

        put(t, head, sizeof head - 1);
        put_escaped(t, line->data, line->size);
        if (line->end != LOG_LINE_END_SPLIT)
                put(t, "\\n", 2);
        put(t, time, sizeof time - 1);
        put_escaped(t, date, n_date);
        put(t, f->json_tail, n_tail);
        return true;
}

static bool add_dated(const LogLine *line, const char *date, size_t n_date, LogText *t) {
        if (!reserve(t, n_date + 2 + line->size + 1))
                return false;

        if (!line->continued) {
                put(t, date, n_date);
                put(t, ": ", 2);
        }
        put(t, line->data, line->size);
        if (line->end == LOG_LINE_END_NEWLINE)
                put(t, "\n", 1);
        return true;
}

void log_format_block(const LogFormat *f, const LogBlock *block, usec_t realtime, LogText *text, log_block_t emit, void *userdata) {
        LogBlock b = { .continued = block->continued && !f->json };
        char date[DATE_MAX];
        size_t offset = 0, n_date;

        if (f->date_format)
                n_date = date_format(f->date_format, realtime, date);
        else
                n_date = date_format_iso(realtime, date);

        text->n = 0;
        for (LogLine line; log_block_next(block, &offset, &line);) {
                bool added = f->json ? add_json(f, &line, date, n_date, text) : add_dated(&line, date, n_date, text);

                if (!added)
                        return emit(block, userdata);
                if (offset < block->size && text->n < TEXT_MAX)
                        continue;

                b.data = text->data;
                b.size = text->n;
                b.end = f->json ? LOG_LINE_END_NEWLINE : line.end;
                emit(&b, userdata);
                b.continued = false;
                text->n = 0;
        }

        if (text->n_allocated > 4 * TEXT_MAX) {
                text->data = mfree(text->data);
                text->n_allocated = 0;
        }
}
