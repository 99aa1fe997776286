/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#include "pmctl/inspect.h"
#include "pmctl/pmctl-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

static const char *const color_table[_COLOR_MAX] = {
        [COLOR_NORMAL] = "\x1b[0m",
        [COLOR_BOLD] = "\x1b[1m",
        [COLOR_INVERSE] = "\x1b[7m",
        [COLOR_RED] = "\x1b[31m",
        [COLOR_GREEN] = "\x1b[32m",
        [COLOR_YELLOW] = "\x1b[33m",
        [COLOR_BLUE] = "\x1b[34m",
        [COLOR_CYAN] = "\x1b[36m",
        [COLOR_GREY] = "\x1b[90m",
        [COLOR_HEADER] = "\x1b[1;36m",
};

const char *color(const Options *o, Color c) {
        return o->color ? color_table[c] : "";
}

__attribute__((format(printf, 5, 0))) static void message(FILE *f, bool colored, Color c, const char *prefix, const char *format,
                                                           va_list ap) {
        (void) fprintf(f, "%s%s%s ", colored ? color_table[c] : "", prefix, colored ? color_table[COLOR_NORMAL] : "");
        (void) vfprintf(f, format, ap);
        (void) fputc('\n', f);
}

__attribute__((format(printf, 4, 0))) static void message_stdout(const Options *o, Color c, const char *prefix, const char *format, va_list ap) {
        if (!o->silent)
                message(stdout, o->color, c, prefix, format, ap);
}

/* What went before on standard output comes first, also where both are the same file. */
__attribute__((format(printf, 4, 0))) static void message_stderr(const Options *o, Color c, const char *prefix, const char *format, va_list ap) {
        if (o->silent)
                return;
        (void) fflush(stdout);
        message(stderr, o->color_stderr, c, prefix, format, ap);
}

void message_info(const Options *o, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        message_stdout(o, COLOR_GREEN, "[PM2]", format, ap);
        va_end(ap);
}

void message_notice(const Options *o, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        message_stdout(o, COLOR_YELLOW, "[PM2][WARN]", format, ap);
        va_end(ap);
}

void message_warn(const Options *o, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        message_stderr(o, COLOR_YELLOW, "[PM2][WARN]", format, ap);
        va_end(ap);
}

void message_error(const Options *o, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        message_stderr(o, COLOR_RED, "[PM2][ERROR]", format, ap);
        va_end(ap);
}

static const struct {
        const char *name;
        ExitCode code;
} error_names[] = {
        { PMD_ERROR_NO_SUCH_APP, EXIT_CODE_NO_SUCH_APP },
        { PMD_ERROR_NO_SUCH_PROCESS, EXIT_CODE_NO_SUCH_APP },
        { PMD_ERROR_NOT_RUNNING, EXIT_CODE_NOT_RUNNING },
        { PMD_ERROR_INVALID_SIGNAL, EXIT_CODE_USAGE },
        { PMD_ERROR_TOO_MANY_JOBS, EXIT_CODE_TRY_AGAIN },
        { PMD_ERROR_EXITING, EXIT_CODE_TRY_AGAIN },
        { "org.freedesktop.DBus.Error.AccessDenied", EXIT_CODE_NO_PERMISSION },
        { "org.freedesktop.DBus.Error.AuthFailed", EXIT_CODE_NO_PERMISSION },
        { "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", EXIT_CODE_NO_PERMISSION },
        { "org.freedesktop.DBus.Error.Timeout", EXIT_CODE_TIMED_OUT },
        { "org.freedesktop.DBus.Error.NoReply", EXIT_CODE_TIMED_OUT },
};

ExitCode exit_code_from_error(int r, const pmd_error *e) {
        if (e && e->name)
                for (size_t i = 0; i < ELEMENTSOF(error_names); i++)
                        if (streq(error_names[i].name, e->name))
                                return error_names[i].code;

        switch (r) {
        case -EACCES:
        case -EPERM:
                return EXIT_CODE_NO_PERMISSION;
        case -ETIMEDOUT:
                return EXIT_CODE_TIMED_OUT;
        case -ECONNREFUSED:
        case -ECONNRESET:
        case -ENOTCONN:
        case -EPIPE:
                return EXIT_CODE_UNREACHABLE;
        default:
                return EXIT_CODE_FAILED;
        }
}

int report_error(const Options *o, int r, const pmd_error *e) {
        _cleanup_free_ char *text = e && !isempty(e->message) ? string_escape_cc(e->message) : NULL;

        message_error(o, "%s", text ?: strerror(-r));
        return exit_code_from_error(r, e);
}

InstanceScope instance_scope_of(const Options *o, pmd_connection *c) {
        switch (c ? pmd_get_scope(c) : o->scope) {
        case PMD_SCOPE_SYSTEM:
                return INSTANCE_SYSTEM;
        case PMD_SCOPE_USER:
                return INSTANCE_USER;
        case PMD_SCOPE_PRIVATE:
                return INSTANCE_PRIVATE;
        default:
                return o->home ? INSTANCE_PRIVATE : instance_scope_default();
        }
}

int acquire_connection(const Options *o, unsigned flags, pmd_connection **ret) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        ExitCode code;
        int r;

        r = pmd_open(o->scope, o->home, flags | PMD_OPEN_INTERACTIVE, ret, &e);
        if (r >= 0) {
                if (pmd_was_started(*ret) && isatty(STDERR_FILENO) && !o->silent)
                        (void) fprintf(stderr, "[PM2] pmd started in %s\n", strna(pmd_get_home(*ret)));
                return EXIT_CODE_OK;
        }

        code = report_error(o, r, &e);
        return IN_SET(code, EXIT_CODE_NO_PERMISSION, EXIT_CODE_TIMED_OUT) ? code : EXIT_CODE_UNREACHABLE;
}

void process_list_done(ProcessList *l) {
        pmd_process_free_many(l->items, l->n);
        pmd_report_free_many(l->reports, l->n_reports);
        *l = (ProcessList) {};
}

static int compare_ids(const void *a, const void *b) {
        const pmd_process *x = a, *y = b;

        return (x->id > y->id) - (x->id < y->id);
}

static bool is_sorted(const ProcessList *l) {
        for (size_t i = 1; i < l->n; i++)
                if (compare_ids(l->items + i - 1, l->items + i) > 0)
                        return false;
        return true;
}

int fetch_processes(const Options *o, pmd_connection *c, char *const *targets, unsigned flags, ProcessList *ret) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        bool optional = flags & FETCH_ENVIRONMENT_IF_ALLOWED;
        ProcessList l = {};
        ExitCode code;
        int r;

        r = pmd_list(c, targets, optional ? PMD_LIST_ENVIRONMENT : flags, &l.items, &l.n, &e);
        if (r == -EACCES && optional)
                return fetch_processes(o, c, targets, 0, ret);
        if (r < 0) {
                code = exit_code_from_error(r, &e);
                if (code != EXIT_CODE_NO_SUCH_APP)
                        (void) report_error(o, r, &e);
                return code;
        }

        if (l.n == 0 && !strv_isempty(targets))
                return EXIT_CODE_NO_SUCH_APP;
        if (!is_sorted(&l))
                qsort(l.items, l.n, sizeof *l.items, compare_ids);
        *ret = l;
        return EXIT_CODE_OK;
}

int report_no_such_target(const Options *o, const char *target) {
        _cleanup_free_ char *escaped = string_escape_cc(target);

        message_error(o, "Process or Namespace %s not found", strempty(escaped));
        return EXIT_CODE_NO_SUCH_APP;
}

const pmd_attribute *process_attribute(const pmd_process *p, const char *key) {
        for (size_t i = 0; i < p->n_attributes; i++)
                if (p->attributes[i].key[0] == key[0] && streq(p->attributes[i].key, key))
                        return p->attributes + i;
        return NULL;
}

bool process_is_online(const pmd_process *p) {
        return streq_ptr(p->status, "online");
}

bool target_is_id(const char *target) {
        return target[0] && target[strspn(target, "0123456789")] == '\0';
}

char *format_uint(uint64_t n, const char *unit) {
        char buf[24], *p = buf + sizeof buf, *s;
        size_t length = strlen(unit), digits;

        do
                *--p = (char) ('0' + n % 10);
        while (n /= 10);
        digits = (size_t) (buf + sizeof buf - p);

        s = new(char, digits + length + 1);
        if (s)
                memcpy(mempcpy(s, p, digits), unit, length + 1);
        return s;
}

char *format_uptime(const pmd_process *p) {
        static const struct {
                uint64_t seconds;
                const char *letter;
        } units[] = { { 31536000, "Y" }, { 2592000, "M" }, { 86400, "D" }, { 3600, "h" }, { 60, "m" } };
        uint64_t seconds;

        if (!process_is_online(p) || p->start_usec == 0)
                return strdup("0");
        seconds = usec_sub(now(CLOCK_REALTIME), p->start_usec) / USEC_PER_SEC;

        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (seconds / units[i].seconds > 1)
                        return format_uint(seconds / units[i].seconds, units[i].letter);
        return format_uint(seconds, "s");
}

char *format_bytes(uint64_t bytes) {
        static const char *const units[] = { "b", "kb", "mb", "gb", "tb" };
        uint64_t tenths;
        size_t i = 0;

        if (bytes < 1024)
                return format_uint(bytes, "b");
        while (i + 1 < ELEMENTSOF(units) && bytes >> (10 * (i + 1)) > 0)
                i++;
        tenths = ((bytes >> (10 * (i - 1))) * 10 + 512) >> 10;
        return strprintf("%" PRIu64 ".%" PRIu64 "%s", tenths / 10, tenths % 10, units[i]);
}

/* If all of them say the same it has a code of its own. */
static int exit_code_of_failures(const pmd_result *result) {
        for (size_t i = 0; i < result->n_failures; i++)
                if (!streq_ptr(result->failures[i].error_name, PMD_ERROR_NOT_READY))
                        return EXIT_CODE_FAILED;
        return EXIT_CODE_TIMED_OUT;
}

int report_failures(const Options *o, const ProcessList *l, const pmd_result *result) {
        for (size_t i = 0; i < result->n_failures; i++) {
                const pmd_failure *f = result->failures + i;
                _cleanup_free_ char *text = string_escape_cc(isempty(f->message) ? strna(f->error_name) : f->message);
                _cleanup_free_ char *name = NULL;

                for (size_t k = 0; l && k < l->n; k++)
                        if (l->items[k].id == f->process_id)
                                name = string_escape_cc(strempty(l->items[k].name));
                if (name)
                        message_error(o, "[%s](%" PRIu32 ") %s", name, f->process_id, strempty(text));
                else
                        message_error(o, "%s", strempty(text));
        }
        if (result->canceled && result->n_failures == 0)
                message_error(o, "Canceled by a later request");
        if (result->n_failures > 0)
                return exit_code_of_failures(result);
        return result->canceled ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static char **ids_to_targets(const uint32_t *ids, size_t n) {
        char **targets = new0(char *, n + 1);

        for (size_t i = 0; targets && i < n; i++) {
                targets[i] = strprintf("%" PRIu32, ids[i]);
                if (!targets[i])
                        return strv_free(targets);
        }
        return targets;
}

void report_notes(const Options *o, pmd_connection *c, const pmd_result *result) {
        _cleanup_strv_free_ char **targets = ids_to_targets(result->process_ids, result->n_processes);
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_error_free) pmd_error e = {};

        if (strv_isempty(targets) || pmd_list(c, targets, 0, &l.items, &l.n, &e) < 0)
                return;

        /* What is true of one process is mostly true of its siblings, which stand beside it. */
        for (size_t i = 0; i < l.n; i++) {
                const pmd_process *p = l.items + i;
                _cleanup_free_ char *name = string_escape_cc(strempty(p->name));

                if (i > 0 && streq_ptr(p[-1].name, p->name) && strv_equal(p[-1].notes, p->notes))
                        continue;
                STRV_FOREACH(note, p->notes) {
                        _cleanup_free_ char *text = string_escape_cc(*note);

                        message_warn(o, "[%s](%" PRIu32 ") %s", strempty(name), p->id, strempty(text));
                }
        }
}

char *format_ids(const ProcessList *l) {
        json_object *array = json_object_new_array();
        char *s;

        if (!array)
                return NULL;
        for (size_t i = 0; i < l->n; i++)
                (void) json_object_array_add(array, json_object_new_int64(l->items[i].id));
        s = inspect(array);
        json_object_put(array);
        return s;
}

int print_json(const Options *o, JsonWriter *w) {
        int r;

        r = json_writer_print(w, stdout);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}
