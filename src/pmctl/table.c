/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "pmctl/table.h"
#include "shared/string-util.h"
#include "shared/strv.h"

typedef struct Cell {
        char *text;
        Color color;
} Cell;

struct Table {
        TableColumn *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells, n_allocated;
};

typedef struct Frame {
        const char *horizontal, *vertical, *ellipsis;
        const char *top[3], *middle[3], *bottom[3]; /* left, between, right */
} Frame;

static const Frame frame_utf8 = {
        .horizontal = "─", .vertical = "│", .ellipsis = "…",
        .top = { "┌", "┬", "┐" }, .middle = { "├", "┼", "┤" }, .bottom = { "└", "┴", "┘" },
};

static const Frame frame_ascii = {
        .horizontal = "-", .vertical = "|", .ellipsis = "~",
        .top = { "+", "+", "+" }, .middle = { "+", "+", "+" }, .bottom = { "+", "+", "+" },
};

int table_new(const TableColumn *columns, size_t n, Table **ret) {
        Table *t;

        t = new0(Table, 1);
        if (!t)
                return -ENOMEM;
        t->columns = new(TableColumn, n);
        if (!t->columns) {
                free(t);
                return -ENOMEM;
        }
        memcpy(t->columns, columns, n * sizeof *columns);
        t->n_columns = n;

        *ret = t;
        return 0;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;

        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t->columns);
        return mfree(t);
}

int table_add(Table *t, const char *text, Color c) {
        char *escaped;

        if (!GREEDY_REALLOC(t->cells, t->n_allocated, t->n_cells + 1))
                return -ENOMEM;
        escaped = string_escape_cc(text);
        if (!escaped)
                return -ENOMEM;
        t->cells[t->n_cells++] = (Cell) { escaped, c };
        return 0;
}

size_t terminal_width(void) {
        struct winsize ws;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0)
                return SIZE_MAX;
        return ws.ws_col;
}

/* A pipe gets the same characters whatever the locale, as scripts expect of pm2; a terminal is spared them where its
 * locale says that it does not know them. */
static const Frame *choose_frame(void) {
        static const char *const variables[] = { "LC_ALL", "LC_CTYPE", "LANG" };

        if (!isatty(STDOUT_FILENO))
                return &frame_utf8;
        for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
                const char *e = getenv(variables[i]);

                if (!isempty(e))
                        return strcasestr(e, "utf-8") || strcasestr(e, "utf8") ? &frame_utf8 : &frame_ascii;
        }
        return &frame_utf8;
}

/* The columns that the character at s takes, and its bytes. */
static size_t char_width(const char *s, size_t *ret_bytes) {
        mbstate_t state = {};
        wchar_t wc;
        size_t n;
        int w;

        n = mbrtowc(&wc, s, strlen(s), &state);
        if (n == 0 || n > MB_LEN_MAX) {
                *ret_bytes = 1;
                return 1;
        }
        w = wcwidth(wc);
        *ret_bytes = n;
        return w < 0 ? 1 : (size_t) w;
}

static size_t text_width(const char *s) {
        size_t width = 0, bytes;

        for (; *s; s += bytes)
                width += char_width(s, &bytes);
        return width;
}

/* The longest beginning that leaves a column for the ellipsis. */
static size_t bytes_that_fit(const char *s, size_t width) {
        size_t used = 0, bytes, w;
        const char *p = s;

        for (; *p; p += bytes) {
                w = char_width(p, &bytes);
                if (used + w + 1 > width)
                        break;
                used += w;
        }
        return (size_t) (p - s);
}

static size_t frame_width(const Table *t) {
        return t->n_columns + 1;
}

size_t table_width_min(const Table *t) {
        size_t sum = frame_width(t);

        for (size_t i = 0; i < t->n_columns; i++)
                sum += t->columns[i].width_min;
        return sum;
}

/* Room beyond the least goes to the columns that have use for it, from left to right. */
static void set_widths(const Table *t, size_t width, size_t *widths) {
        size_t least = table_width_min(t), spare = width > least ? width - least : 0;

        for (size_t i = 0; i < t->n_columns; i++) {
                const TableColumn *c = t->columns + i;
                size_t wanted = c->title ? text_width(c->title) + 2 : 0, grow;

                for (size_t k = i; k < t->n_cells; k += t->n_columns)
                        wanted = MAX(wanted, text_width(t->cells[k].text) + 2);
                if (c->width_max > 0)
                        wanted = MIN(wanted, c->width_max);
                grow = wanted > c->width_min ? MIN(wanted - c->width_min, spare) : 0;
                widths[i] = c->width_min + grow;
                spare -= grow;
        }
}

static void print_line(const Table *t, const Frame *f, const char *const ends[3], const size_t *widths) {
        for (size_t i = 0; i < t->n_columns; i++) {
                (void) fputs(ends[i == 0 ? 0 : 1], stdout);
                for (size_t k = 0; k < widths[i]; k++)
                        (void) fputs(f->horizontal, stdout);
        }
        (void) puts(ends[2]);
}

static void print_cell(const Frame *f, const Options *o, const char *text, Color c, size_t width) {
        size_t room = width - 2, have = text_width(text), bytes = strlen(text);
        const char *ellipsis = "";

        if (have > room) {
                bytes = bytes_that_fit(text, room);
                ellipsis = f->ellipsis;
                have = 1;
                for (size_t i = 0, n; i < bytes; i += n)
                        have += char_width(text + i, &n);
        }
        printf("%s %s%.*s%s%s%*s", f->vertical, c == COLOR_NORMAL ? "" : color(o, c), (int) bytes, text, ellipsis,
               c == COLOR_NORMAL ? "" : color(o, COLOR_NORMAL), (int) (room - have + 1), "");
}

int table_print(const Table *t, const Options *o, size_t width) {
        const Frame *f = choose_frame();
        _cleanup_free_ size_t *widths = new(size_t, t->n_columns);

        if (!widths)
                return -ENOMEM;

        /* For wcwidth(); whatever the locale of the caller, the text here is UTF-8. */
        (void) setlocale(LC_CTYPE, "C.UTF-8");
        set_widths(t, width, widths);

        print_line(t, f, f->top, widths);
        if (t->columns[0].title) {
                for (size_t i = 0; i < t->n_columns; i++)
                        print_cell(f, o, t->columns[i].title, COLOR_HEADER, widths[i]);
                printf("%s\n", f->vertical);
                print_line(t, f, f->middle, widths);
        }
        for (size_t i = 0; i < t->n_cells; i++) {
                print_cell(f, o, t->cells[i].text, t->cells[i].color, widths[i % t->n_columns]);
                if ((i + 1) % t->n_columns == 0)
                        printf("%s\n", f->vertical);
        }
        print_line(t, f, f->bottom, widths);
        return 0;
}
