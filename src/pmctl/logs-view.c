/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "shared/date-format.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

#define VIEW_DATE_FORMAT "YYYY-MM-DD-HH:mm:ss"
#define NAME_WIDTH_MIN 8
#define NAME_WIDTH_MAX ((size_t) 64)

void log_view_init(LogView *v, const Options *o, const LogFilter *filter) {
        *v = (LogView) {
                .options = o,
                .filter = filter,
                .name_width = NAME_WIDTH_MIN,
                .escape_out = isatty(STDOUT_FILENO),
                .escape_err = isatty(STDERR_FILENO),
        };
}

void log_view_note_app(LogView *v, const char *app) {
        int width = (int) MIN(strlen(app), NAME_WIDTH_MAX);

        v->name_width = MAX(v->name_width, width);
}

/* Tabs stay; other control characters are shown, not sent. */
static void write_escaped(FILE *f, const char *text, size_t n) {
        _cleanup_free_ char *copy = new(char, n + 1);
        char *p = copy;

        if (!copy)
                return;
        memcpy(copy, text, n);
        copy[n] = '\0';

        for (;;) {
                size_t k = strcspn(p, "\t");
                bool tab = p[k] == '\t';
                _cleanup_free_ char *escaped = NULL;

                p[k] = '\0';
                escaped = string_escape_cc(p);
                (void) fputs(strempty(escaped), f);

                p += k;
                if (p == copy + n)
                        return;
                (void) fputs(tab ? "\t" : "\\x00", f);
                p++;
        }
}

static void write_text(FILE *f, const LogEntry *e, bool escape) {
        size_t n = e->size;

        if (escape) {
                if (n > 0 && e->message[n - 1] == '\r')
                        n--;
                write_escaped(f, e->message, n);
        } else
                (void) fwrite(e->message, 1, n, f);
        (void) fputc('\n', f);
}

static void write_plain(FILE *f, const char *text, size_t n, bool escape) {
        if (escape)
                write_escaped(f, text, n);
        else
                (void) fwrite(text, 1, n, f);
}

/* The text with every occurrence of what is to be seen inverted, where there are colours. */
static void write_highlighted(const LogView *v, const LogEntry *e) {
        const char *what = v->options->highlight, *p = e->message, *found;
        size_t left = e->size, k = strlen(what);

        while (k > 0 && (found = memmem(p, left, what, k))) {
                write_plain(stdout, p, (size_t) (found - p), v->escape_out);
                (void) fputs("\033[7m", stdout);
                write_plain(stdout, found, k, v->escape_out);
                (void) fputs("\033[27m", stdout);
                left -= (size_t) (found + k - p);
                p = found + k;
        }
        write_plain(stdout, p, left, v->escape_out);
        (void) fputc('\n', stdout);
}

static void print_timestamp(const LogView *v, const LogEntry *e) {
        const Options *o = v->options;
        char date[DATE_MAX];

        if (!o->timestamp || e->realtime == 0)
                return;
        (void) date_format(o->timestamp_format ?: VIEW_DATE_FORMAT, e->realtime, date);
        (void) printf("%s%s%s ", color(o, COLOR_GREY), date, color(o, COLOR_NORMAL));
}

static void print_event(const LogView *v, const LogEntry *e) {
        const Options *o = v->options;

        print_timestamp(v, e);
        (void) printf("%s%-*s | %s", color(o, COLOR_BLUE), v->name_width + 2, "PMD", color(o, COLOR_NORMAL));
        write_text(stdout, e, v->escape_out);
}

static void print_prefixed(const LogView *v, const LogEntry *e) {
        const Options *o = v->options;
        _cleanup_free_ char *app = string_escape_cc(e->app), *id = string_escape_cc(e->id ?: "-");

        print_timestamp(v, e);
        (void) printf("%s%s|%-*s | %s", color(o, e->err ? COLOR_RED : COLOR_GREEN), strempty(id), v->name_width,
                      strempty(app), color(o, COLOR_NORMAL));
        if (o->highlight && o->color)
                write_highlighted(v, e);
        else
                write_text(stdout, e, v->escape_out);
}

/* JSON is UTF-8 without NUL: what is neither becomes U+FFFD. With a newline at the end, as pm2 has it. */
static char *message_for_json(const LogEntry *e) {
        char *s = new(char, e->size * 3 + 2), *p = s;

        if (!s)
                return NULL;

        for (size_t i = 0, k; i < e->size; i += k) {
                for (k = 1; k <= MIN((size_t) 4, e->size - i); k++)
                        if (utf8_is_valid(e->message + i, k))
                                break;

                if (k <= MIN((size_t) 4, e->size - i) && e->message[i] != '\0')
                        p = mempcpy(p, e->message + i, k);
                else {
                        p = mempcpy(p, "\xef\xbf\xbd", 3);
                        k = 1;
                }
        }

        *p++ = '\n';
        *p = '\0';
        return s;
}

static bool format_timestamp(const Options *o, usec_t realtime, char buf[static DATE_MAX]) {
        if (realtime == 0)
                return false;
        if (o->timestamp)
                (void) date_format(o->timestamp_format ?: VIEW_DATE_FORMAT, realtime, buf);
        else
                (void) date_format_iso(realtime, buf);
        return true;
}

/* As pm2: key=value. */
static void print_formatted(const LogView *v, const LogEntry *e) {
        _cleanup_free_ char *app = string_escape_cc(e->app), *id = string_escape_cc(e->id ?: "-");
        char date[DATE_MAX];

        if (format_timestamp(&(Options) { .timestamp = true, .timestamp_format = v->options->timestamp_format }, e->realtime, date))
                (void) printf("timestamp=%s ", date);
        (void) printf("app=%s id=%s type=%s message=", strempty(app), strempty(id), e->event ? "process_event" : e->err ? "error" : "out");
        write_text(stdout, e, v->escape_out);
}

static void print_json_entry(const Options *o, const LogEntry *e) {
        _cleanup_free_ char *message = message_for_json(e);
        _cleanup_json_writer_ JsonWriter w = {};
        char timestamp[DATE_MAX];
        const char *text;
        unsigned id;

        json_writer_begin(&w, NULL, '{');
        json_writer_string(&w, "message", message);
        json_writer_string(&w, "timestamp", format_timestamp(o, e->realtime, timestamp) ? timestamp : NULL);
        json_writer_string(&w, "type", e->event ? "process_event" : e->err ? "err" : "out");
        if (e->id && safe_atou(e->id, &id) >= 0)
                json_writer_uint(&w, "process_id", id);
        else
                json_writer_string(&w, "process_id", NULL);
        json_writer_string(&w, "app_name", e->app);
        json_writer_end(&w, '}');

        if (json_writer_finish(&w, &text) >= 0)
                (void) puts(text);
}

void log_view_print(const LogView *v, const LogEntry *e) {
        const Options *o = v->options;

        if (!log_filter_matches(v->filter, e))
                return;

        if (o->json)
                print_json_entry(o, e);
        else if (o->format)
                print_formatted(v, e);
        else if (o->raw)
                write_text(e->err ? stderr : stdout, e, e->err ? v->escape_err : v->escape_out);
        else if (e->event)
                print_event(v, e);
        else
                print_prefixed(v, e);
}

void log_view_print_file_header(const LogView *v, const char *path) {
        const Options *o = v->options;
        _cleanup_free_ char *escaped = NULL;

        if (o->json || o->raw || o->format || o->silent)
                return;

        escaped = string_escape_cc(path);
        if (o->lines == UINT_MAX)
                (void) printf("%s%s:%s\n", color(o, COLOR_GREY), strempty(escaped), color(o, COLOR_NORMAL));
        else
                (void) printf("%s%s last %u lines:%s\n", color(o, COLOR_GREY), strempty(escaped), o->lines,
                      color(o, COLOR_NORMAL));
}
