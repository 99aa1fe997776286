/* SPDX-License-Identifier: MIT */
#include <time.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

#define NAME_WIDTH_MIN 8
#define NAME_WIDTH_MAX ((size_t) 64)

void log_view_init(LogView *v, const Options *o) {
        *v = (LogView) {
                .options = o,
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

static void print_prefixed(const LogView *v, const LogEntry *e) {
        const Options *o = v->options;
        _cleanup_free_ char *app = string_escape_cc(e->app), *id = string_escape_cc(e->id ?: "-");

        (void) printf("%s%s|%-*s | %s", color(o, e->err ? COLOR_RED : COLOR_GREEN), strempty(id), v->name_width,
                      strempty(app), color(o, COLOR_NORMAL));
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

static bool format_timestamp(usec_t realtime, char buf[static 32]) {
        time_t seconds = (time_t) (realtime / USEC_PER_SEC);
        char date[24];
        struct tm tm;

        if (realtime == 0 || !gmtime_r(&seconds, &tm) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return false;

        (void) snprintf(buf, 32, "%s.%03uZ", date, (unsigned) (realtime / USEC_PER_MSEC % 1000));
        return true;
}

static void print_json_entry(const LogEntry *e) {
        _cleanup_free_ char *message = message_for_json(e);
        _cleanup_json_writer_ JsonWriter w = {};
        char timestamp[32];
        const char *text;
        unsigned id;

        json_writer_begin(&w, NULL, '{');
        json_writer_string(&w, "message", message);
        json_writer_string(&w, "timestamp", format_timestamp(e->realtime, timestamp) ? timestamp : NULL);
        json_writer_string(&w, "type", e->err ? "err" : "out");
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

        if (o->json)
                print_json_entry(e);
        else if (o->raw)
                write_text(e->err ? stderr : stdout, e, e->err ? v->escape_err : v->escape_out);
        else
                print_prefixed(v, e);
}

void log_view_print_file_header(const LogView *v, const char *path) {
        const Options *o = v->options;
        _cleanup_free_ char *escaped = NULL;

        if (o->json || o->raw || o->silent)
                return;

        escaped = string_escape_cc(path);
        (void) printf("%s%s last %u lines:%s\n", color(o, COLOR_GREY), strempty(escaped), o->lines,
                      color(o, COLOR_NORMAL));
}
