/* SPDX-License-Identifier: MIT */
#include <libsmartcols.h>
#include <limits.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "pmctl/table.h"
#include "shared/string-util.h"

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
        const char *horizontal, *vertical, *separator, *ellipsis;
        const char *top[3], *middle[3], *bottom[3]; /* left, between, right */
} Frame;

static const Frame frame_utf8 = {
        .horizontal = "─", .vertical = "│", .separator = " │ ", .ellipsis = "…",
        .top = { "┌", "┬", "┐" }, .middle = { "├", "┼", "┤" }, .bottom = { "└", "┴", "┘" },
};

static const Frame frame_ascii = {
        .horizontal = "-", .vertical = "|", .separator = " | ", .ellipsis = "~",
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

size_t table_width_min(const Table *t) {
        size_t sum = t->n_columns + 1;

        for (size_t i = 0; i < t->n_columns; i++)
                sum += t->columns[i].width_min;
        return sum;
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

/* ---- text ---- */

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

        for (; *s; s += bytes) {
                bytes = 1; /* what is ASCII, as most is, needs no look at the locale */
                width += (unsigned char) *s < 0x80 ? 1 : char_width(s, &bytes);
        }
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

/* ---- layout ---- */

/* A table as libsmartcols sees it: our columns, the blanks beside them being part of the separator, and an empty
 * one at the end so that the last of ours is padded and followed by a separator too. The last line is a ruler,
 * which is not shown: it keeps each column at its least width, which libsmartcols has no other means for. */
typedef struct Layout {
        const Table *table;
        const Frame *frame;
        struct libscols_table *scols;
        struct libscols_line **lines; /* the last is the ruler */
        size_t n_lines;
        size_t *widths; /* as libsmartcols has decided */
        size_t *widest; /* of what the cells of a column have, at most */
        bool *fixed;    /* the column does not give way any more where the terminal is narrow */
        char *text;
} Layout;

static void layout_done(Layout *l) {
        free(l->text);
        free(l->lines);
        free(l->widths);
        free(l->widest);
        free(l->fixed);
        scols_unref_table(l->scols);
}

static struct libscols_column *layout_column(const Layout *l, size_t i) {
        return scols_table_get_column(l->scols, i);
}

static size_t content_min(const TableColumn *c) {
        return c->width_min - 2;
}

static int layout_add_columns(Layout *l, const Options *o) {
        const Table *t = l->table;

        for (size_t i = 0; i < t->n_columns; i++) {
                struct libscols_column *c = scols_table_new_column(l->scols, strempty(t->columns[i].title), 0, SCOLS_FL_TRUNC);

                if (!c)
                        return -ENOMEM;
                if (o->color && scols_cell_set_color(scols_column_get_header(c), color(o, COLOR_HEADER)) < 0)
                        return -ENOMEM;
        }
        return scols_table_new_column(l->scols, "", 0, 0) ? 0 : -ENOMEM;
}

/* Sets a cell to what of its text there is room for. */
static int layout_set_text(Layout *l, size_t row, size_t column, size_t room) {
        const char *text = l->table->cells[row * l->table->n_columns + column].text;
        struct libscols_line *line = l->lines[row];
        size_t width = text_width(text), shown = MIN(width, room);
        char *cut;

        l->widest[column] = MAX(l->widest[column], shown);
        if (width <= room)
                return scols_line_set_data(line, column, text) < 0 ? -ENOMEM : 0;

        cut = strprintf("%.*s%s", (int) bytes_that_fit(text, room), text, l->frame->ellipsis);
        if (!cut)
                return -ENOMEM;
        return scols_line_refer_data(line, column, cut) < 0 ? -ENOMEM : 0;
}

static int layout_set_ruler(Layout *l, size_t column, size_t width) {
        struct libscols_line *line = l->lines[l->n_lines - 1];
        char *ruler = new(char, width + 1);

        if (!ruler)
                return -ENOMEM;
        memset(ruler, 'x', width);
        ruler[width] = '\0';
        return scols_line_refer_data(line, column, ruler) < 0 ? -ENOMEM : 0;
}

static int layout_add_lines(Layout *l) {
        size_t n = l->table->n_cells / l->table->n_columns + 1;

        l->lines = new(struct libscols_line *, n);
        if (!l->lines)
                return -ENOMEM;
        for (; l->n_lines < n; l->n_lines++) {
                l->lines[l->n_lines] = scols_table_new_line(l->scols, NULL);
                if (!l->lines[l->n_lines])
                        return -ENOMEM;
        }
        return 0;
}

static int layout_add_cells(Layout *l, const Options *o) {
        const Table *t = l->table;
        int r;

        for (size_t i = 0; i < t->n_cells; i++) {
                size_t row = i / t->n_columns, column = i % t->n_columns, max = t->columns[column].width_max;
                Color c = t->cells[i].color;

                r = layout_set_text(l, row, column, max > 0 ? max - 2 : SIZE_MAX);
                if (r < 0)
                        return r;
                if (o->color && c != COLOR_NORMAL &&
                    scols_cell_set_color(scols_line_get_cell(l->lines[row], column), color(o, c)) < 0)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < t->n_columns; i++) {
                r = layout_set_ruler(l, i, content_min(t->columns + i));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int layout_init(Layout *l, const Table *t, const Options *o, size_t width) {
        int r;

        *l = (Layout) {
                .table = t,
                .frame = choose_frame(),
                .scols = scols_new_table(),
                .widths = new0(size_t, t->n_columns),
                .widest = new0(size_t, t->n_columns),
                .fixed = new0(bool, t->n_columns),
        };
        if (!l->scols || !l->widths || !l->widest || !l->fixed)
                return -ENOMEM;

        if (scols_table_set_column_separator(l->scols, l->frame->separator) < 0)
                return -ENOMEM;
        scols_table_enable_noencoding(l->scols, true);
        scols_table_enable_colors(l->scols, o->color);
        scols_table_enable_noheadings(l->scols, !t->columns[0].title);
        scols_table_set_termforce(l->scols, width == SIZE_MAX ? SCOLS_TERMFORCE_NEVER : SCOLS_TERMFORCE_ALWAYS);
        /* Two columns are the left edge's, and as many of what libsmartcols prints, at the very end, are not shown. */
        scols_table_set_termwidth(l->scols, width == SIZE_MAX ? 0 : width);

        r = layout_add_columns(l, o);
        if (r >= 0)
                r = layout_add_lines(l);
        return r < 0 ? r : layout_add_cells(l, o);
}

static int layout_run(Layout *l) {
        l->text = mfree(l->text);
        if (scols_print_table_to_string(l->scols, &l->text) != 0)
                return -ENOMEM;
        for (size_t i = 0; i < l->table->n_columns; i++)
                l->widths[i] = scols_column_get_width(layout_column(l, i));
        return 0;
}

/* 1 if there was something to cut. */
static int layout_cut_column(Layout *l, size_t column) {
        const Table *t = l->table;
        bool cut = false;
        int r;

        if (l->widest[column] <= l->widths[column])
                return 0;
        for (size_t row = 0; row + 1 < l->n_lines; row++) {
                if (text_width(scols_cell_get_data(scols_line_get_cell(l->lines[row], column))) <= l->widths[column])
                        continue;
                r = layout_set_text(l, row, column, l->widths[column]);
                if (r < 0)
                        return r;
                cut = true;
        }
        if (!cut)
                return 0;
        r = layout_set_ruler(l, column, MAX(l->widths[column], content_min(t->columns + column)));
        return r < 0 ? r : 1;
}

/* libsmartcols cuts wherever a column is wide. One that it has made too narrow is fixed at its least, and the
 * others have to give way. 1 if there was one. */
static int layout_fix_narrow(Layout *l) {
        int r;

        for (size_t i = 0; i < l->table->n_columns; i++) {
                if (l->fixed[i] || l->widths[i] >= content_min(l->table->columns + i))
                        continue;
                l->fixed[i] = true;
                l->widths[i] = content_min(l->table->columns + i);
                if (scols_column_set_flags(layout_column(l, i), 0) < 0)
                        return -EINVAL;
                r = layout_cut_column(l, i);
                return r < 0 ? r : 1;
        }
        return 0;
}

static int layout_decide(Layout *l) {
        bool cut = false;
        int r;

        do {
                r = layout_run(l);
                if (r >= 0)
                        r = layout_fix_narrow(l);
        } while (r > 0);
        if (r < 0)
                return r;

        for (size_t i = 0; i < l->table->n_columns; i++) {
                r = layout_cut_column(l, i);
                if (r < 0)
                        return r;
                cut = cut || r > 0;
        }
        return cut ? layout_run(l) : 0;
}

/* ---- output ---- */

static void print_edge(const Layout *l, const char *const ends[3]) {
        for (size_t i = 0; i < l->table->n_columns; i++) {
                (void) fputs(ends[i == 0 ? 0 : 1], stdout);
                for (size_t k = 0; k < l->widths[i] + 2; k++)
                        (void) fputs(l->frame->horizontal, stdout);
        }
        (void) puts(ends[2]);
}

static void print_lines(const Layout *l) {
        bool head = l->table->columns[0].title;
        const char *s = l->text, *end;

        print_edge(l, l->frame->top);
        for (; (end = strchr(s, '\n')); s = end + 1) {
                size_t n = (size_t) (end - s);

                while (n > 0 && s[n - 1] == ' ')
                        n--;
                printf("%s %.*s\n", l->frame->vertical, (int) n, s);
                if (head)
                        print_edge(l, l->frame->middle);
                head = false;
        }
        /* What is left has no newline: the ruler. */
        print_edge(l, l->frame->bottom);
}

int table_print(const Table *t, const Options *o, size_t width) {
        _cleanup_(layout_done) Layout l = {};
        int r;

        /* For the widths of characters; whatever the locale of the caller, the text here is UTF-8. */
        (void) setlocale(LC_CTYPE, "C.UTF-8");
        r = layout_init(&l, t, o, width);
        if (r >= 0)
                r = layout_decide(&l);
        if (r < 0)
                return r;
        print_lines(&l);
        return 0;
}
