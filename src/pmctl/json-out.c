/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "pmctl/json-out.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

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

/* Behind p, which has room for it; the end. */
static char *quote(char *p, const char *s) {
        *p++ = '"';
        for (; *s; s++) {
                unsigned char c = (unsigned char) *s;

                if (c >= 0x20 && c != '"' && c != '\\')
                        *p++ = (char) c;
                else
                        p += escape(p, c);
        }
        *p++ = '"';
        return p;
}

#define QUOTED_MAX(s) (strlen(s) * 6 + 2)

static void put_quoted(JsonWriter *w, const char *s) {
        char *p = reserve(w, QUOTED_MAX(s));

        if (p)
                w->size = (size_t) (quote(p, s) - w->text);
}

static void put_key(JsonWriter *w, const char *key) {
        bool comma = w->comma;
        char *p = reserve(w, comma + (key ? QUOTED_MAX(key) + 1 : 0));

        w->comma = true;
        if (!p)
                return;
        if (comma)
                *p++ = ',';
        if (key) {
                p = quote(p, key);
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
        long long t = value > -1e15 && value < 1e15 ? (long long) (value * 10 + (value < 0 ? -0.5 : 0.5)) : 0;
        char buf[32];
        int n;

        if (t % 10 == 0)
                n = snprintf(buf, sizeof buf, "%lld", t / 10);
        else
                n = snprintf(buf, sizeof buf, "%s%lld.%lld", t < 0 ? "-" : "", llabs(t) / 10, llabs(t) % 10);
        put_key(w, key);
        put(w, buf, (size_t) n);
}

void json_writer_repeat(JsonWriter *w, size_t begin, size_t end) {
        char *p = reserve(w, end - begin);

        if (!p || begin == end)
                return;
        memcpy(p, w->text + begin, end - begin);
        w->size += end - begin;
        w->comma = true;
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
        put_char(w, '\n');
        if (w->error < 0)
                return w->error;
        if (fflush(f) != 0)
                return -errno;
        return write_all(fileno(f), w->text, w->size);
}
