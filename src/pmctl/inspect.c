/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>

#include "pmctl/inspect.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define BREAK_LENGTH 80    /* columns that are aimed at */
#define COMPACT 3          /* levels of nesting that may share a line */
#define COLUMNS_MAX (COMPACT * 4)
#define GROUP_MIN 6        /* arrays with more entries are set in columns */
#define LINE_WIDTH_MIN 16  /* strings longer than this may be broken after their newlines */

typedef struct Inspector {
        size_t indentation;
        int deepest; /* level of the object that was entered last */
} Inspector;

static char *format_value(Inspector *c, json_object *value, int level);

/* What JavaScript calls the length: UTF-16 units. */
static size_t js_length(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) == 0x80 ? 0 : (unsigned char) *s >= 0xf0 ? 2 : 1;
        return n;
}

static size_t n_chars(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

static char quote_for(const char *s, size_t n) {
        bool backtick_unsafe = memchr(s, '`', n) || memmem(s, n, "${", 2);

        if (!memchr(s, '\'', n))
                return '\'';
        if (!memchr(s, '"', n))
                return '"';
        return backtick_unsafe ? '\'' : '`';
}

static char *quote(const char *s, size_t n) {
        static const char letters[] = "\bb\tt\nn\ff\rr\\\\";
        char q = quote_for(s, n), *ret, *p;

        ret = p = new(char, n * 4 + 3);
        if (!ret)
                return NULL;

        *p++ = q;
        for (size_t i = 0; i < n; i++) {
                unsigned char ch = (unsigned char) s[i];
                bool c1 = ch == 0xc2 && i + 1 < n && (unsigned char) s[i + 1] < 0xa0;
                const char *letter = NULL;

                for (size_t k = 0; k + 1 < sizeof letters && !letter; k += 2)
                        if (ch == (unsigned char) letters[k])
                                letter = letters + k + 1;

                if (letter || ch == (unsigned char) q) {
                        *p++ = '\\';
                        *p++ = letter ? *letter : q;
                } else if (ch < 0x20 || ch == 0x7f || c1) {
                        if (c1)
                                ch = (unsigned char) s[++i];
                        *p++ = '\\';
                        *p++ = 'x';
                        *p++ = "0123456789ABCDEF"[ch >> 4];
                        *p++ = "0123456789ABCDEF"[ch & 15];
                } else
                        *p++ = (char) ch;
        }
        *p++ = q;
        *p = '\0';
        return ret;
}

/* "a\n" + "b": a long string goes on after each of its newlines. */
static char *format_string(const Inspector *c, const char *s) {
        size_t length = js_length(s);
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_free_ char *separator = NULL;

        if (length <= LINE_WIDTH_MIN || length + c->indentation + 4 <= BREAK_LENGTH || !strchr(s, '\n'))
                return quote(s, strlen(s));

        while (*s) {
                const char *newline = strchrnul(s, '\n');
                size_t n = (size_t) (newline - s) + (*newline ? 1 : 0);
                char *line = quote(s, n);

                if (!line || strv_consume(&lines, line) < 0)
                        return NULL;
                s += n;
        }

        separator = strprintf(" +\n%*s", (int) c->indentation + 2, "");
        return separator ? strv_join(lines, separator) : NULL;
}

static char *format_key(const char *key) {
        const char *p = key;
        _cleanup_free_ char *quoted = NULL;

        if (streq(key, "__proto__"))
                return strdup("['__proto__']");
        while (isalpha((unsigned char) *p) || *p == '_' || (p > key && isdigit((unsigned char) *p)))
                p++;
        if (p > key && !*p)
                return strdup(key);
        return quote(key, strlen(key));
}

static char *pad(const char *s, size_t width, bool left) {
        size_t n = n_chars(s), fill = width > n ? width - n : 0;

        return left ? strprintf("%*s%s", (int) fill, "", s) : strprintf("%s%*s", s, (int) fill, "");
}

/* How many columns an array is best set in, so that it looks about square; 1: in none. */
static size_t choose_columns(const Inspector *c, char *const *entries, size_t n) {
        size_t longest = 0, total = 0, width, square, room;
        double bias, cell;

        for (size_t i = 0; i < n; i++) {
                size_t l = n_chars(entries[i]);

                longest = MAX(longest, l);
                total += l + 2;
        }
        width = longest + 2;
        if (width * 3 + c->indentation >= BREAK_LENGTH || ((double) total / (double) width <= 5 && longest > 6))
                return 1;

        bias = sqrt((double) width - (double) total / (double) n);
        cell = MAX((double) width - 3 - bias, 1.0);
        square = (size_t) (sqrt(2.5 * cell * (double) n) / cell + 0.5); /* a character is 2.5 times as high as wide */
        room = MIN((BREAK_LENGTH - c->indentation) / width, (size_t) COLUMNS_MAX);
        return MIN(square, room);
}

static char *join_row(char *const *entries, size_t n, const size_t *widths, bool numbers) {
        _cleanup_strv_free_ char **cells = NULL;

        for (size_t i = 0; i < n; i++) {
                bool last = i + 1 == n;
                _cleanup_free_ char *s = strjoin(entries[i], last ? "" : ", ");
                char *cell = s ? pad(s, last && !numbers ? 0 : widths[i] - (last ? 2 : 0), numbers) : NULL;

                if (!cell || strv_consume(&cells, cell) < 0)
                        return NULL;
        }
        return strv_join(cells, "");
}

/* Puts the entries of a long array into rows, each row one entry. */
static int group_entries(const Inspector *c, json_object *array, char ***entries) {
        size_t n = strv_length(*entries), columns = choose_columns(c, *entries, n), widths[COLUMNS_MAX] = {};
        _cleanup_strv_free_ char **rows = NULL;
        bool numbers = true;

        if (columns <= 1)
                return 0;

        for (size_t i = 0; i < n; i++) {
                widths[i % columns] = MAX(widths[i % columns], n_chars((*entries)[i]) + 2);
                numbers = numbers &&
                          IN_SET(json_object_get_type(json_object_array_get_idx(array, i)), json_type_int, json_type_double);
        }

        for (size_t i = 0; i < n; i += columns) {
                char *row = join_row(*entries + i, MIN(columns, n - i), widths, numbers);

                if (!row || strv_consume(&rows, row) < 0)
                        return -ENOMEM;
        }

        strv_free(*entries);
        *entries = TAKE_PTR(rows);
        return 0;
}

static bool fits_one_line(const Inspector *c, char *const *entries) {
        size_t n = strv_length(entries), total = n + c->indentation + 1 + 10 + n;

        STRV_FOREACH(e, entries) {
                total += js_length(*e);
                if (total > BREAK_LENGTH || strchr(*e, '\n'))
                        return false;
        }
        return total <= BREAK_LENGTH;
}

static char *enclose(const Inspector *c, char *const *entries, bool one_line, const char *open, const char *close) {
        _cleanup_free_ char *joined = NULL, *separator = NULL;
        int indentation = (int) c->indentation;

        if (one_line) {
                joined = strv_join(entries, ", ");
                return joined ? strjoin(open, " ", joined, " ", close) : NULL;
        }

        separator = strprintf(",\n%*s", indentation + 2, "");
        joined = separator ? strv_join(entries, separator) : NULL;
        return joined ? strprintf("%s\n%*s%s\n%*s%s", open, indentation + 2, "", joined, indentation, "", close) : NULL;
}

static char *format_array(Inspector *c, json_object *array, int level) {
        size_t n = json_object_array_length(array), n_grouped;
        _cleanup_strv_free_ char **entries = NULL;

        if (n == 0)
                return strdup("[]");

        c->deepest = level;
        for (size_t i = 0; i < n; i++) {
                char *s;

                c->indentation += 2;
                s = format_value(c, json_object_array_get_idx(array, i), level + 1);
                c->indentation -= 2;
                if (!s || strv_consume(&entries, s) < 0)
                        return NULL;
        }

        if (n > GROUP_MIN && group_entries(c, array, &entries) < 0)
                return NULL;
        n_grouped = strv_length(entries);
        return enclose(c, entries, c->deepest - level < COMPACT && n_grouped == n && fits_one_line(c, entries), "[", "]");
}

static char *format_object(Inspector *c, json_object *object, int level) {
        _cleanup_strv_free_ char **entries = NULL;

        if (json_object_object_length(object) == 0)
                return strdup("{}");

        c->deepest = level;
        json_object_object_foreach(object, k, v) {
                _cleanup_free_ char *key = format_key(k), *value = NULL;
                char *entry;

                c->indentation += 2;
                value = format_value(c, v, level + 1);
                c->indentation -= 2;
                entry = key && value ? strjoin(key, ": ", value) : NULL;
                if (!entry || strv_consume(&entries, entry) < 0)
                        return NULL;
        }

        return enclose(c, entries, c->deepest - level < COMPACT && fits_one_line(c, entries), "{", "}");
}

static char *format_value(Inspector *c, json_object *value, int level) {
        switch (json_object_get_type(value)) {

        case json_type_array:
                return format_array(c, value, level);

        case json_type_object:
                return format_object(c, value, level);

        case json_type_string:
                return format_string(c, json_object_get_string(value));

        default: /* null, booleans and numbers look the same in both notations */
                return strdup(json_object_to_json_string(value));
        }
}

char *inspect(json_object *value) {
        Inspector c = {};

        return format_value(&c, value, 0);
}
