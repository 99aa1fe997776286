/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "shared/string-util.h"

char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? (char *) s + n : NULL;
}

char *endswith(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && streq(s + n - m, suffix) ? (char *) s + n - m : NULL;
}

char *strjoin_internal(const char *first, ...) {
        va_list ap;
        size_t n = 0;
        char *p, *q;

        va_start(ap, first);
        for (const char *s = first; s; s = va_arg(ap, const char *))
                n += strlen(s);
        va_end(ap);

        p = q = new(char, n + 1);
        if (!p)
                return NULL;

        va_start(ap, first);
        for (const char *s = first; s; s = va_arg(ap, const char *))
                q = stpcpy(q, s);
        va_end(ap);

        *q = 0;
        return p;
}

char *strprintf(const char *format, ...) {
        va_list ap;
        char *p;
        int r;

        va_start(ap, format);
        r = vasprintf(&p, format, ap);
        va_end(ap);

        return r < 0 ? NULL : p;
}

int free_and_strdup(char **p, const char *s) {
        char *t = NULL;

        if (s) {
                t = strdup(s);
                if (!t)
                        return -ENOMEM;
        }

        free(*p);
        *p = t;
        return 0;
}

/* Length of the UTF-8 sequence at s, or 0 if it is none: overlong forms, surrogates and what lies above U+10FFFF are none. */
static size_t utf8_sequence(const unsigned char *s, size_t n) {
        static const struct {
                unsigned char mask, lead;
                uint32_t min;
        } forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                uint32_t c;

                if ((s[0] & forms[i].mask) != forms[i].lead)
                        continue;
                if (i >= n)
                        return 0;

                c = s[0] & (unsigned char) ~forms[i].mask;
                for (size_t k = 1; k <= i; k++) {
                        if ((s[k] & 0xc0) != 0x80)
                                return 0;
                        c = c << 6 | (s[k] & 0x3f);
                }

                return c < forms[i].min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : i + 1;
        }

        return 0;
}

/* How many bytes at the beginning are surely ASCII; whole words only. */
static size_t ascii_prefix(const unsigned char *s, size_t n) {
        uint64_t word;
        size_t k = 0;

        for (; n - k >= sizeof word; k += sizeof word) {
                memcpy(&word, s + k, sizeof word);
                if (word & UINT64_C(0x8080808080808080))
                        break;
        }
        return k;
}

static bool letters_equal(char a, char b) {
        return tolower((unsigned char) a) == tolower((unsigned char) b);
}

/* That of Levenshtein, with neighbours that changed places counted as one. */
size_t string_distance(const char *a, const char *b, size_t n) {
        size_t rows[3][STRING_DISTANCE_MAX + 1], m = strlen(a);

        if (n > STRING_DISTANCE_MAX || m > STRING_DISTANCE_MAX)
                return SIZE_MAX;

        for (size_t j = 0; j <= n; j++)
                rows[0][j] = j;

        for (size_t i = 1; i <= m; i++) {
                size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        size_t replaced = above[j - 1] + !letters_equal(a[i - 1], b[j - 1]);

                        row[j] = MIN(above[j], row[j - 1]) + 1;
                        row[j] = MIN(row[j], replaced);
                        if (i > 1 && j > 1 && letters_equal(a[i - 1], b[j - 2]) && letters_equal(a[i - 2], b[j - 1]))
                                row[j] = MIN(row[j], two_above[j - 2] + 1);
                }
        }

        return rows[m % 3][n];
}

bool utf8_is_valid(const char *s, size_t n) {
        const unsigned char *p = (const unsigned char *) s;

        for (size_t k; n > 0; p += k, n -= k) {
                k = ascii_prefix(p, n);
                if (k == 0)
                        k = *p < 0x80 ? 1 : utf8_sequence(p, n);
                if (k == 0)
                        return false;
        }

        return true;
}

static bool is_cc(unsigned char c) {
        return c < 0x20 || c == 0x7f;
}

bool string_has_cc(const char *s) {
        for (; *s; s++)
                if (is_cc((unsigned char) *s))
                        return true;
        return false;
}

/* Whether all of it is ASCII that can be printed. */
static bool is_harmless(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) s[i] >= 0x80 || is_cc((unsigned char) s[i]))
                        return false;
        return true;
}

char *string_escape_cc(const char *s) {
        static const char hex[] = "0123456789abcdef";
        size_t n = strlen(s);
        char *t, *q;

        if (is_harmless(s, n))
                return strdup(s);
        t = q = new(char, n * 4 + 1);
        if (!t)
                return NULL;

        while (n > 0) {
                size_t k = utf8_sequence((const unsigned char *) s, n);

                /* U+0080 to U+009F are control characters too, to some terminals. */
                if (k == 0 || is_cc((unsigned char) *s) || (k == 2 && (unsigned char) s[0] == 0xc2 && (unsigned char) s[1] < 0xa0)) {
                        k = MAX(k, (size_t) 1);
                        for (size_t i = 0; i < k; i++) {
                                *q++ = '\\';
                                *q++ = 'x';
                                *q++ = hex[(unsigned char) s[i] >> 4];
                                *q++ = hex[(unsigned char) s[i] & 15];
                        }
                } else
                        q = mempcpy(q, s, k);

                s += k;
                n -= k;
        }

        *q = 0;
        return t;
}
