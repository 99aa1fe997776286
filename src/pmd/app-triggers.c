/* SPDX-License-Identifier: MIT */
#include "pmd/app-triggers.h"

#include "pmd/app.h"
#include "pmd/cron.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/watch.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/watch-options.h"

/* Every process with a limit is looked at this often, a few at a time. */
#define MEMORY_INTERVAL (500 * USEC_PER_MSEC)
#define MEMORY_BATCH 64U

/* min_uptime keeps the triggers from being hotter than a crash loop; but who sets it to hours does not mean that. */
#define PAUSE_MAX (30 * USEC_PER_SEC)

struct Triggers {
        Manager *manager;
        Watcher *watcher;
        CronClock *cron;

        /* On while a process with a limit runs. The kernel has no event for "the cgroup is above N bytes" that does not also slow it down
         * (memory.high) or kill it (memory.max), so somebody has to look. */
        sd_event_source *memory_source;
        bool memory_on;
        size_t memory_cursor; /* the process to begin with */
};

static const char *const watch_state_table[_WATCH_STATE_MAX] = {
        [WATCH_STATE_OFF] = "off",
        [WATCH_STATE_ON] = "on",
        [WATCH_STATE_DEGRADED] = "degraded",
};

DEFINE_STRING_TABLE(WatchState, watch_state);

static usec_t pause_after_trigger(const Process *p) {
        return MIN(p->config->min_uptime, PAUSE_MAX);
}

/* ---- restarts ---- */

/* 0, also if a restart is about to be done anyway, or a negative errno. */
static int restart_processes(App *a, JobVerb verb, Process *const *processes, size_t n, const char *reason) {
        int r;

        r = manager_enqueue_restart(a->manager, verb, processes, n, reason);
        if (r == -EALREADY)
                return 0;
        if (r < 0)
                return log_warning_errno(r, "Cannot restart %s (%s), ignoring: %m", a->name, reason);

        log_info("Restarting %s (%s).", a->name, reason);
        return 0;
}

/* Those for which wanted() holds; all with NULL. */
static void restart_app(App *a, bool (*wanted)(const Process *p), const char *reason) {
        _cleanup_free_ Process **processes = NULL;
        size_t n = 0;

        LIST_FOREACH(siblings, p, a->processes)
                n++;
        processes = new(Process *, n);
        if (!processes) {
                log_oom();
                return;
        }

        n = 0;
        LIST_FOREACH(siblings, p, a->processes)
                if (!wanted || wanted(p))
                        processes[n++] = p;
        if (n > 0)
                (void) restart_processes(a, JOB_RESTART, processes, n, reason);
}

/* ---- watch ---- */

static bool is_watching(const Process *p) {
        return p->watching;
}

static void on_files_changed(const char *path, void *userdata) {
        App *a = ASSERT_PTR(userdata);
        _cleanup_free_ char *escaped = string_escape_cc(path), *reason = NULL;

        reason = escaped ? strjoin("watch: ", escaped, " changed") : NULL;
        if (!reason) {
                log_oom();
                return;
        }

        watch_hold(a->watch, pause_after_trigger(a->processes));
        restart_app(a, is_watching, reason);
}

static void tell_watch_state(App *a) {
        LIST_FOREACH(siblings, p, a->processes)
                p->host->changed(p, PROCESS_FIELD_CONFIG);
}

static void on_watch_faulty(void *userdata) {
        App *a = ASSERT_PTR(userdata);

        log_warning("Not all changes of %s's files will be seen: %s.", a->name, watch_fault(a->watch));
        tell_watch_state(a);
}

/* What pmd itself writes for the app must not restart it. Takes over path. */
static int add_own_path(char ***own, char *path) {
        if (!path)
                return 0;
        if (strv_contains(*own, path)) {
                free(path);
                return 0;
        }
        return strv_consume(own, path);
}

static int add_files_of_process(char ***own, const Process *p) {
        char *path;
        int r = 0;

        for (LogStreamKind k = 0; k < _LOG_STREAM_KIND_MAX; k++) {
                r = process_log_path(p, k, &path);
                if (r >= 0)
                        r = add_own_path(own, path);
                if (r < 0)
                        return r;
        }
        r = process_combined_log_path(p, &path);
        if (r >= 0)
                r = add_own_path(own, path);
        if (r >= 0)
                r = process_pid_file(p, &path);
        return r < 0 ? r : add_own_path(own, path);
}

/* Unless the app itself lives there: that is what is to be watched, then. */
static int add_own_directory(char ***own, const char *dir, const char *base) {
        const char *rest = startswith(base, dir);

        if (rest && IN_SET(*rest, 0, '/'))
                return 0;
        return add_own_path(own, strdup(dir));
}

static int list_own_paths(const App *a, const char *base, char ***ret) {
        const Instance *i = a->manager->instance;
        const char *const dirs[] = { i->home, i->state_dir, i->runtime_dir, i->log_dir, i->pid_dir };
        _cleanup_strv_free_ char **own = NULL;
        int r = 0;

        for (size_t k = 0; k < ELEMENTSOF(dirs) && r >= 0; k++)
                r = add_own_directory(&own, dirs[k], base);
        LIST_FOREACH(siblings, p, a->processes)
                if (r >= 0)
                        r = add_files_of_process(&own, p);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(own);
        return 0;
}

static int arm_watch(App *a, const AppConfig *c) {
        _cleanup_watch_options_ WatchOptions options = {};
        _cleanup_strv_free_ char **own = NULL;
        _cleanup_free_ char *base = NULL;
        const char *bad = NULL;
        int r;

        r = watch_options_parse(c->watch_options, &options);
        if (r < 0)
                return log_warning_errno(r, "%s is not watched, its watch_options cannot be understood: %m", a->name);
        base = path_resolve(c->cwd, options.cwd ?: ".");
        if (!base)
                return log_oom();
        r = list_own_paths(a, base, &own);
        if (r < 0)
                return log_oom();

        r = watch_new(a->manager->triggers->watcher,
                      &(WatchSpec) {
                              .base = base,
                              .paths = c->watch_paths,
                              .ignore = options.ignored ?: c->ignore_watch,
                              .own_files = own,
                              .delay = MAX(c->watch_delay, options.stable_for),
                              .levels = options.levels,
                              .no_links = options.no_links,
                      },
                      on_files_changed, on_watch_faulty, a, &a->watch, &bad);
        if (r == -EINVAL && bad)
                return log_warning_errno(r, "%s is not watched, the pattern '%s' cannot be understood.", a->name, bad);
        if (r < 0)
                return log_warning_errno(r, "%s is not watched: %m", a->name);

        if (watch_fault(a->watch))
                on_watch_faulty(a);
        else
                tell_watch_state(a);
        return 0;
}

static void drop_watch(App *a) {
        a->watch = watch_free(a->watch);
        a->watch_config = app_config_unref(a->watch_config);
}

static void disarm_watch(App *a) {
        LIST_FOREACH(siblings, p, a->processes)
                if (p->watching)
                        return;
        drop_watch(a);
}

static void set_watching(Process *p, bool on) {
        if (p->watching == on)
                return;
        p->watching = on;
        p->host->changed(p, PROCESS_FIELD_CONFIG);
        if (!on)
                disarm_watch(p->app);
}

static void update_watch(Process *p) {
        App *a = p->app;

        /* From its first start on, and also when it has crashed for good: the change may be what repairs it. */
        if (!p->watching || a->watch || p->incarnation == 0)
                return;
        if (arm_watch(a, p->config) < 0) {
                p->watching = false;
                return;
        }
        a->watch_config = app_config_ref(p->config);
}

void app_triggers_toggle_watch(Process *p) {
        set_watching(p, !p->watching);
        update_watch(p);
}

WatchState process_watch_state(const Process *p) {
        if (!p->watching || !p->app->watch)
                return WATCH_STATE_OFF;
        return watch_fault(p->app->watch) ? WATCH_STATE_DEGRADED : WATCH_STATE_ON;
}

const char *process_watch_fault(const Process *p) {
        return process_watch_state(p) == WATCH_STATE_DEGRADED ? watch_fault(p->app->watch) : "";
}

/* ---- cron ---- */

/* As in pm2: whatever the status; what was stopped is started. */
static void on_cron_due(void *userdata) {
        App *a = ASSERT_PTR(userdata);
        _cleanup_free_ char *reason = strjoin("cron: ", cron_job_expression(a->cron));

        if (!reason) {
                log_oom();
                return;
        }
        restart_app(a, NULL, reason);
}

static const char *cron_expression(const Process *p) {
        const char *s = p->config->cron_restart;

        return isempty(s) || streq(s, "0") ? NULL : s;
}

static void update_cron(Process *p) {
        _cleanup_free_ char *fault = NULL;
        const char *expression = cron_expression(p);
        App *a = p->app;
        int r;

        if (streq_ptr(a->cron ? cron_job_expression(a->cron) : NULL, expression))
                return;

        a->cron = cron_job_free(a->cron);
        if (!expression)
                return;
        r = cron_job_new(a->manager->triggers->cron, expression, on_cron_due, a, &a->cron, &fault);
        if (r < 0)
                log_warning_errno(r, "%s is not restarted by cron: %s", a->name, fault ?: strerror(-r));
}

usec_t process_next_run(const Process *p) {
        usec_t t = p->app->cron ? cron_job_next(p->app->cron) : USEC_INFINITY;

        return t == USEC_INFINITY ? 0 : t;
}

/* ---- memory ---- */

static bool has_memory_limit(const Process *p) {
        return p->config->max_memory_restart > 0 && p->unit && IN_SET(p->state, PROCESS_STARTING, PROCESS_ONLINE);
}

/* 1 with *ret if it uses more than it may. */
static int memory_is_above_limit(Process *p, uint64_t *ret) {
        uint64_t limit = p->config->max_memory_restart;
        ResourceUsage usage;
        int r;

        r = p->unit->cgroup_fd >= 0 ? cgroup_memory_is_above(p->unit->cgroup_fd, limit, ret) : -ENODATA;
        if (r != -ENODATA)
                return r;

        r = runner_unit_read_usage(p->unit, &usage);
        if (r < 0 || usage.memory_current == UINT64_MAX || usage.memory_current <= limit)
                return 0;
        *ret = usage.memory_current;
        return 1;
}

static char *format_mebibytes(uint64_t bytes) {
        uint64_t tenths = bytes / (1024 * 1024 / 16) * 10 / 16;

        return tenths % 10 == 0 ? strprintf("%" PRIu64 " MiB", tenths / 10) : strprintf("%" PRIu64 ".%" PRIu64 " MiB", tenths / 10, tenths % 10);
}

static void check_memory(Process *p, usec_t t) {
        _cleanup_free_ char *current = NULL, *limit = NULL, *reason = NULL;
        uint64_t memory;

        /* What happens to the app anyway may well be its restart. */
        if (p->app->job || t < usec_add(p->memory_restarted_at, pause_after_trigger(p)))
                return;
        if (memory_is_above_limit(p, &memory) <= 0)
                return;

        current = format_mebibytes(memory);
        limit = format_mebibytes(p->config->max_memory_restart);
        reason = current && limit ? strjoin("memory: ", current, " above ", limit) : NULL;
        if (!reason) {
                log_oom();
                return;
        }
        /* It works as yet: where two can run at once, it goes on until the next one does. */
        if (restart_processes(p->app, JOB_RELOAD, &p, 1, reason) >= 0)
                p->memory_restarted_at = t;
}

static usec_t memory_interval(size_t n) {
        return MEMORY_INTERVAL / ((n + MEMORY_BATCH - 1) / MEMORY_BATCH);
}

static int on_memory_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Triggers *t = ASSERT_PTR(userdata);
        usec_t time = now(CLOCK_MONOTONIC);
        Manager *m = t->manager;
        size_t n_limited = 0, n_checked = 0, end;

        for (size_t i = 0; i < m->n_processes; i++)
                n_limited += has_memory_limit(m->processes[i]);
        if (n_limited == 0) {
                t->memory_on = false;
                return 0;
        }

        /* Twice around from the cursor at most; a check only makes a job, so the array stays as it is. */
        end = t->memory_cursor + m->n_processes;
        for (; t->memory_cursor < end && n_checked < MEMORY_BATCH; t->memory_cursor++) {
                Process *p = m->processes[t->memory_cursor % m->n_processes];

                if (!has_memory_limit(p))
                        continue;
                check_memory(p, time);
                n_checked++;
        }
        t->memory_cursor %= m->n_processes;

        (void) sd_event_source_set_time(s, time + memory_interval(n_limited));
        (void) sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        return 0;
}

static void update_memory(Process *p) {
        Triggers *t = p->manager->triggers;
        int r;

        if (t->memory_on || !has_memory_limit(p))
                return;
        r = sd_event_source_set_time_relative(t->memory_source, MEMORY_INTERVAL);
        if (r >= 0)
                r = sd_event_source_set_enabled(t->memory_source, SD_EVENT_ONESHOT);
        if (r < 0) {
                log_warning_errno(r, "Failed to watch the memory of process %u, ignoring: %m", p->id);
                return;
        }
        t->memory_on = true;
}

/* ---- what the objects tell ---- */

void app_triggers_process_added(Process *p) {
        update_cron(p);
}

void app_triggers_process_changed(Process *p) {
        update_watch(p);
        update_memory(p);
}

void app_triggers_stop(Process *p) {
        set_watching(p, false);
}

void app_triggers_reconfigure(Process *p, const AppConfig *before) {
        App *a = p->app;

        if (p->config->watch != before->watch)
                set_watching(p, p->config->watch);
        /* The first process of a new definition rearms it, those that follow find it done. */
        if (p->watching && a->watch && a->watch_config != p->config)
                drop_watch(a);
        update_watch(p);
        update_cron(p);
        update_memory(p);
}

void app_triggers_follow_definition(Process *p) {
        set_watching(p, p->config->watch);
        update_watch(p);
}

void app_triggers_done(App *a) {
        drop_watch(a);
        a->cron = cron_job_free(a->cron);
}

/* ---- construction ---- */

int triggers_new(Manager *m, Triggers **ret) {
        _cleanup_(triggers_freep) Triggers *t = new0(Triggers, 1);
        int r;

        if (!t)
                return -ENOMEM;
        t->manager = m;
        r = watcher_new(m->event, &t->watcher);
        if (r < 0)
                return r;
        r = cron_clock_new(m->event, NULL, &t->cron);
        if (r < 0)
                return r;
        r = sd_event_add_time(m->event, &t->memory_source, CLOCK_MONOTONIC, 0, 50 * USEC_PER_MSEC, on_memory_timer, t);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(t->memory_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(t);
        return 0;
}

Triggers *triggers_free(Triggers *t) {
        if (!t)
                return NULL;
        sd_event_source_disable_unref(t->memory_source);
        watcher_free(t->watcher);
        cron_clock_free(t->cron);
        return mfree(t);
}
