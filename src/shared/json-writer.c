/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "shared/json-writer.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* So much of it stays in the processor's cache. */
#define STREAM_SIZE (64U * 1024U)

void json_writer_done(JsonWriter *w) {
        w->text = mfree(w->text);
        w->size = w->allocated = 0;
}

/* Room for n more bytes and a NUL, or NULL once memory has run out. */
static char *reserve(JsonWriter *w, size_t n) {
        if (w->error < 0)
                return NULL;
        if (!GREEDY_REALLOC(w->text, w->allocated, MAX(w->size + n + 1, (size_t) 4096))) {
                w->error = -ENOMEM;
                return NULL;
        }
        return w->text + w->size;
}

static void put(JsonWriter *w, const char *s, size_t n) {
        char *p = reserve(w, n);

        if (!p)
                return;
        memcpy(p, s, n);
        w->size += n;
}

/* Behind what the stream holds. */
static void flush(JsonWriter *w) {
        if (w->error >= 0 && fflush(w->stream) != 0)
                w->error = -errno;
        if (w->error >= 0)
                w->error = write_all(fileno(w->stream), w->text, w->size);
        w->size = 0;
}

static void put_char(JsonWriter *w, char c) {
        put(w, &c, 1);
}

static size_t escape(char *p, unsigned char c) {
        static const char short_forms[][2] = { { '\b', 'b' }, { '\t', 't' }, { '\n', 'n' }, { '\f', 'f' }, { '\r', 'r' },
                                               { '"', '"' }, { '\\', '\\' } };

        p[0] = '\\';
        for (size_t i = 0; i < ELEMENTSOF(short_forms); i++)
                if (c == (unsigned char) short_forms[i][0]) {
                        p[1] = short_forms[i][1];
                        return 2;
                }
        (void) memcpy(p + 1, "u00", 3);
        p[4] = "0123456789abcdef"[c >> 4];
        p[5] = "0123456789abcdef"[c & 15];
        return 6;
}

/* Whether JSON has the bytes as they are: no control character, quote or backslash. By eight, as a list has megabytes of them. */
static bool is_plain(const char *s, size_t n) {
        const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
        uint64_t found = 0;

        for (; n >= sizeof(uint64_t); s += sizeof(uint64_t), n -= sizeof(uint64_t)) {
                uint64_t x, quote, backslash;

                memcpy(&x, s, sizeof x);
                quote = x ^ ones * '"';
                backslash = x ^ ones * '\\';
                /* In each term the highest bit of a byte is set that is less than 0x20, or 0. */
                found |= ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
        }
        if (found & high)
                return false;
        for (; n > 0; s++, n--)
                if ((unsigned char) *s < 0x20 || *s == '"' || *s == '\\')
                        return false;
        return true;
}

/* Behind p, which has room for it; the end. */
static char *quote(char *p, const char *s, size_t n, bool plain) {
        *p++ = '"';
        if (plain)
                p = mempcpy(p, s, n);
        for (; !plain && *s; s++) {
                unsigned char c = (unsigned char) *s;

                if (c >= 0x20 && c != '"' && c != '\\')
                        *p++ = (char) c;
                else
                        p += escape(p, c);
        }
        *p++ = '"';
        return p;
}

static size_t quoted_max(size_t n, bool plain) {
        return (plain ? n : n * 6) + 2;
}

static void put_quoted(JsonWriter *w, const char *s) {
        size_t n = strlen(s);
        bool plain = is_plain(s, n);
        char *p = reserve(w, quoted_max(n, plain));

        if (p)
                w->size = (size_t) (quote(p, s, n, plain) - w->text);
}

static void put_key(JsonWriter *w, const char *key) {
        size_t n = key ? strlen(key) : 0;
        bool comma = w->comma, plain = is_plain(strempty(key), n);
        char *p = reserve(w, comma + quoted_max(n, plain) + 1);

        w->comma = true;
        if (!p)
                return;
        if (comma)
                *p++ = ',';
        if (key) {
                p = quote(p, key, n, plain);
                *p++ = ':';
        }
        w->size = (size_t) (p - w->text);
}

void json_writer_begin(JsonWriter *w, const char *key, char bracket) {
        assert(IN_SET(bracket, '{', '['));

        put_key(w, key);
        put_char(w, bracket);
        w->comma = false;
}

void json_writer_end(JsonWriter *w, char bracket) {
        assert(IN_SET(bracket, '}', ']'));

        put_char(w, bracket);
        w->comma = true;
        if (w->stream && w->size >= STREAM_SIZE)
                flush(w);
}

void json_writer_string(JsonWriter *w, const char *key, const char *value) {
        put_key(w, key);
        if (value)
                put_quoted(w, value);
        else
                put(w, "null", 4);
}

void json_writer_strv(JsonWriter *w, const char *key, char *const *value) {
        json_writer_begin(w, key, '[');
        STRV_FOREACH(s, value)
                json_writer_string(w, NULL, *s);
        json_writer_end(w, ']');
}

/* A list has dozens of numbers for each process, and printf() takes its time. */
static void put_digits(JsonWriter *w, bool negative, uint64_t magnitude) {
        char buf[24], *p = buf + sizeof buf;

        do
                *--p = (char) ('0' + magnitude % 10);
        while (magnitude /= 10);
        if (negative)
                *--p = '-';
        put(w, p, (size_t) (buf + sizeof buf - p));
}

void json_writer_int(JsonWriter *w, const char *key, int64_t value) {
        put_key(w, key);
        put_digits(w, value < 0, value < 0 ? -(uint64_t) value : (uint64_t) value);
}

void json_writer_uint(JsonWriter *w, const char *key, uint64_t value) {
        put_key(w, key);
        put_digits(w, false, value);
}

void json_writer_bool(JsonWriter *w, const char *key, bool value) {
        put_key(w, key);
        put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_writer_json(JsonWriter *w, const char *key, const char *json) {
        put_key(w, key);
        put(w, json, strlen(json));
}

/* In integers: the decimal point of printf() would follow the locale. */
void json_writer_tenths(JsonWriter *w, const char *key, double value) {
        int64_t t = value > -1e15 && value < 1e15 ? (int64_t) (value * 10 + (value < 0 ? -0.5 : 0.5)) : 0;
        uint64_t magnitude = t < 0 ? -(uint64_t) t : (uint64_t) t;

        put_key(w, key);
        put_digits(w, t < 0, magnitude / 10);
        if (magnitude % 10 == 0)
                return;
        put_char(w, '.');
        put_digits(w, false, magnitude % 10);
}

void json_writer_members(JsonWriter *w, const JsonWriter *from) {
        if (from->error < 0)
                w->error = from->error;
        if (from->size == 0)
                return;
        if (w->comma)
                put_char(w, ',');
        put(w, from->text, from->size);
        w->comma = true;
}

void json_writer_clear(JsonWriter *w) {
        w->size = 0;
        w->comma = false;
}

int json_writer_finish(JsonWriter *w, const char **ret) {
        char *p = reserve(w, 0);

        if (!p)
                return w->error;
        *p = '\0';
        *ret = w->text;
        return 0;
}

int json_writer_print(JsonWriter *w, FILE *f) {
        w->stream = f;
        put_char(w, '\n');
        flush(w);
        return w->error;
}
