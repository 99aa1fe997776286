/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "pmctl/process-json.h"
#include "pmctl/report.h"
#include "pmctl/table.h"
#include "shared/env-util.h"
#include "shared/pmd-protocol.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

static int add_row(Table *t, const char *key, const char *value) {
        int r;

        r = table_add(t, key, COLOR_HEADER);
        if (r < 0)
                return r;
        return table_add(t, isempty(value) ? "N/A" : value, COLOR_NORMAL);
}

static int add_rowf(Table *t, const char *key, const char *format, ...) _printf_(3, 4);
static int add_rowf(Table *t, const char *key, const char *format, ...) {
        _cleanup_free_ char *s = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&s, format, ap);
        va_end(ap);
        if (r < 0) {
                s = NULL;
                return -ENOMEM;
        }
        return add_row(t, key, s);
}

static int add_words(Table *t, const char *key, char *const *words) {
        _cleanup_free_ char *joined = strv_isempty(words) ? NULL : strv_join(words, " ");

        return add_row(t, key, joined);
}

static int add_time(Table *t, const char *key, uint64_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char buf[32];
        struct tm tm;

        if (usec == 0 || !gmtime_r(&seconds, &tm) || strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return add_row(t, key, NULL);
        return add_rowf(t, key, "%s.%03uZ", buf, (unsigned) (usec % USEC_PER_SEC / USEC_PER_MSEC));
}

static int add_exit(Table *t, const pmd_process *p) {
        if (p->exit_signal > 0)
                return add_rowf(t, "last exit", "signal %s (%s)", strna(signal_to_string(p->exit_signal)),
                                strna(p->exit_reason));
        if (p->exit_code >= 0)
                return add_rowf(t, "last exit", "code %d (%s)", p->exit_code, strna(p->exit_reason));
        if (p->exit_reason && !streq(p->exit_reason, "none"))
                return add_row(t, "last exit", p->exit_reason);
        return 0;
}

static int add_usage(Table *t, const pmd_process *p) {
        _cleanup_free_ char *memory = p->memory == UINT64_MAX ? NULL : format_bytes(p->memory);
        int r = 0;

        if (!process_is_online(p))
                return 0;
        if (memory)
                r = add_row(t, "memory", memory);
        if (r >= 0)
                r = add_rowf(t, "cpu", "%.1f%%", p->cpu_percent);
        if (r >= 0 && p->tasks != UINT64_MAX)
                r = add_rowf(t, "tasks", "%" PRIu64, p->tasks);
        return r;
}

/* The rows that pm2 has, in its order. */
static int add_pm2_rows(Table *t, const pmd_process *p) {
        const pmd_attribute *memory = process_attribute(p, "max_memory_restart"), *cron = process_attribute(p, "cron_restart"),
                            *log = process_attribute(p, "log_file");
        _cleanup_free_ char *uptime = format_uptime(p);
        int r = 0;

        RET_GATHER(r, add_row(t, "status", p->status));
        RET_GATHER(r, add_row(t, "name", p->name));
        RET_GATHER(r, add_row(t, "namespace", p->name_space));
        RET_GATHER(r, add_row(t, "version", p->version));
        RET_GATHER(r, add_rowf(t, "restarts", "%" PRIu32, p->n_restarts));
        if (memory)
                RET_GATHER(r, add_rowf(t, "max memory restart", "%" PRIi64, memory->integer));
        if (cron && !streq(cron->string, "0"))
                RET_GATHER(r, add_row(t, "cron restart", cron->string));
        RET_GATHER(r, add_row(t, "uptime", uptime));
        if (log)
                RET_GATHER(r, add_row(t, "entire log path", log->string));
        RET_GATHER(r, add_row(t, "script path", p->executable));
        RET_GATHER(r, add_words(t, "script args", p->args));
        RET_GATHER(r, add_row(t, "error log path", p->error_log_path));
        RET_GATHER(r, add_row(t, "out log path", p->out_log_path));
        RET_GATHER(r, add_row(t, "pid path", p->pid_file));
        RET_GATHER(r, add_row(t, "interpreter", p->interpreter));
        RET_GATHER(r, add_words(t, "interpreter args", p->interpreter_args));
        RET_GATHER(r, add_rowf(t, "script id", "%" PRIu32, p->id));
        RET_GATHER(r, add_row(t, "exec cwd", p->cwd));
        RET_GATHER(r, add_row(t, "exec mode", p->exec_mode));
        RET_GATHER(r, add_row(t, "node.js version", NULL));
        RET_GATHER(r, add_row(t, "node env", strv_env_get(p->environment, "NODE_ENV")));
        RET_GATHER(r, add_row(t, "watch & reload", p->watching ? "✔" : "✘"));
        RET_GATHER(r, add_rowf(t, "unstable restarts", "%" PRIu32, p->unstable_restarts));
        RET_GATHER(r, add_time(t, "created at", p->created_usec));
        return r;
}

static int add_own_rows(Table *t, const pmd_process *p) {
        int r = 0;

        RET_GATHER(r, add_time(t, "started at", p->start_usec));
        if (p->pid > 0)
                RET_GATHER(r, add_rowf(t, "process id", "%" PRIu32, p->pid));
        RET_GATHER(r, add_row(t, "user", p->user));
        RET_GATHER(r, add_exit(t, p));
        if (!isempty(p->unit))
                RET_GATHER(r, add_row(t, "unit", p->unit));
        if (!isempty(p->status_text))
                RET_GATHER(r, add_row(t, "status text", p->status_text));
        STRV_FOREACH(note, p->notes)
                RET_GATHER(r, add_row(t, "note", *note));
        RET_GATHER(r, add_usage(t, p));
        return r;
}

/* Of the last process of it that the kernel killed for lack of memory. */
typedef struct OomKill {
        uint64_t realtime, limit, peak; /* UINT64_MAX: none, unknown */
        uint32_t pid;                   /* 0: unknown */
        char *name;
} OomKill;

static void oom_kill_done(OomKill *k) {
        free(k->name);
}

/* 1, or 0 if there was none, as far as is known. */
static int get_oom_kill(sd_bus *bus, uint32_t id, OomKill *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char path[sizeof(PMD_PATH_PROCESS "/4294967295")];
        const char *name;
        OomKill k = {};
        int r;

        (void) snprintf(path, sizeof path, PMD_PATH_PROCESS "/%" PRIu32, id);
        r = sd_bus_get_property(bus, PMD_BUS_NAME, path, PMD_INTERFACE_PROCESS, "LastOOMKill", NULL, &m, "(tustt)");
        if (r < 0)
                return 0;
        r = sd_bus_message_read(m, "(tustt)", &k.realtime, &k.pid, &name, &k.limit, &k.peak);
        if (r < 0 || k.realtime == 0)
                return r < 0 ? r : 0;

        k.name = strdup(name);
        if (!k.name)
                return -ENOMEM;
        *ret = k;
        return 1;
}

static void write_oom_kill(JsonWriter *w, const pmd_process *p, void *userdata) {
        _cleanup_(oom_kill_done) OomKill k = {};

        if (get_oom_kill(userdata, p->id, &k) <= 0) {
                json_writer_string(w, "last_oom_kill", NULL);
                return;
        }
        json_writer_begin(w, "last_oom_kill", '{');
        json_writer_uint(w, "timestamp", k.realtime);
        json_writer_known(w, "pid", k.pid > 0 ? k.pid : UINT64_MAX);
        json_writer_string(w, "name", isempty(k.name) ? NULL : k.name);
        json_writer_known(w, "limit", k.limit);
        json_writer_known(w, "peak", k.peak);
        json_writer_end(w, '}');
}

static int add_oom_row(Table *t, sd_bus *bus, uint32_t id) {
        _cleanup_free_ char *limit_text = NULL, *peak_text = NULL, *name = NULL;
        _cleanup_(oom_kill_done) OomKill k = {};
        int r;

        r = get_oom_kill(bus, id, &k);
        if (r <= 0)
                return r;

        name = string_escape_cc(k.name);
        limit_text = k.limit == UINT64_MAX ? strdup("none") : format_bytes(k.limit);
        peak_text = k.peak == UINT64_MAX ? strdup("unknown") : format_bytes(k.peak);
        if (!name || !limit_text || !peak_text)
                return -ENOMEM;
        r = add_time(t, "last oom kill", k.realtime);
        if (r >= 0 && k.pid > 0)
                r = add_rowf(t, "oom victim", "%s (%" PRIu32 ")", name, k.pid);
        if (r >= 0)
                r = add_rowf(t, "oom limit, peak", "%s, %s", limit_text, peak_text);
        return r;
}

static char *get_text(sd_bus *bus, const char *path, const char *property) {
        char *s = NULL;

        (void) sd_bus_get_property_string(bus, PMD_BUS_NAME, path, PMD_INTERFACE_PROCESS, property, NULL, &s);
        return s;
}

/* What restarts it, of which lists have no need. A process that has gone meanwhile has none of it. */
static int add_restart_rows(Table *t, pmd_connection *c, const pmd_process *p) {
        _cleanup_free_ char *reason = NULL, *fault = NULL;
        char path[sizeof(PMD_PATH_PROCESS "/4294967295")];
        sd_bus *bus = pmd_get_bus(c);
        uint64_t next = 0;
        int r = 0;

        (void) snprintf(path, sizeof path, PMD_PATH_PROCESS "/%" PRIu32, p->id);
        reason = get_text(bus, path, "RestartReason");
        fault = get_text(bus, path, "WatchFault");
        (void) sd_bus_get_property_trivial(bus, PMD_BUS_NAME, path, PMD_INTERFACE_PROCESS, "NextRun", NULL, 't', &next);

        if (!isempty(reason))
                RET_GATHER(r, add_row(t, "restart reason", reason));
        RET_GATHER(r, add_oom_row(t, bus, p->id));
        if (next > 0)
                RET_GATHER(r, add_time(t, "next cron restart", next));
        if (!isempty(fault))
                RET_GATHER(r, add_rowf(t, "watch degraded", "%s", fault));
        return r;
}

static int describe_process(const Options *o, pmd_connection *c, const pmd_process *p) {
        static const TableColumn columns[] = { { NULL, 19, 0 }, { NULL, 20, 0 } };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_free_ char *name = string_escape_cc(strempty(p->name));
        int r;

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r >= 0)
                r = add_pm2_rows(t, p);
        if (r >= 0)
                r = add_own_rows(t, p);
        if (r >= 0)
                r = add_restart_rows(t, c, p);
        if (r < 0)
                return r;

        printf("%s Describing process with id %" PRIu32 " - name %s %s\n", color(o, COLOR_INVERSE), p->id, strempty(name),
               color(o, COLOR_NORMAL));
        /* Whatever the terminal: a path that is cut is of no use. */
        return table_print(t, o, SIZE_MAX);
}

static int describe_target(const Options *o, pmd_connection *c, const char *target) {
        _cleanup_free_ char *escaped = string_escape_cc(target);
        _cleanup_process_list_ ProcessList l = {};
        int r;

        r = fetch_processes(o, c, TARGET(target), FETCH_ENVIRONMENT_IF_ALLOWED, &l);
        if (r == EXIT_CODE_NO_SUCH_APP) {
                message_warn(o, "%s doesn't exist", strempty(escaped));
                return EXIT_CODE_NO_SUCH_APP;
        }
        if (r != EXIT_CODE_OK)
                return r;

        if (o->json) {
                _cleanup_json_writer_ JsonWriter w = {};

                write_processes(&w, &l, write_oom_kill, pmd_get_bus(c));
                return print_json(o, &w);
        }
        fetch_reports(c, TARGET(target), &l);
        for (size_t i = 0; i < l.n && !o->silent; i++) {
                json_object *report = process_report(&l, l.items[i].id);

                r = describe_process(o, c, l.items + i);
                if (r >= 0)
                        r = print_report(o, l.items + i, report);
                json_object_put(report);
                if (r < 0)
                        return report_error(o, r, NULL);
        }
        return EXIT_CODE_OK;
}

int verb_describe(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        int r;

        r = acquire_connection(o, 0, &c);
        for (char **t = argv + 1; r == EXIT_CODE_OK && *t; t++)
                r = describe_target(o, c, *t);
        return r;
}
