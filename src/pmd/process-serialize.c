/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "pmd/request-journal.h"
#include "pmd/runner.h"
#include "shared/app-config-saved.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* Of the files of processes. What is new and may be missing does not change it; a pmd leaves alone what has a higher one than its own. */
#define STATE_VERSION 1
#define STATE_FILE_MAX (4U << 20)
/* A longer one is lost with pmd. */
#define STATUS_TEXT_MAX 256U
#define PROCESS_DIRECTORY "processes"
#define HIDDEN_DIRECTORY "hidden"
#define DEFINITION_DIRECTORY "definitions"
/* Leaves room for the rest in less than a page, see overwrite_json(). */
#define EVENTS_SIZE_MAX 2400U

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

/* ---- paths ---- */

static char *state_path(const Manager *m, const char *directory, unsigned number) {
        return strprintf("%s/%s/%u", m->instance->runtime_dir, directory, number);
}

static char *hidden_path(const Manager *m, unsigned id, unsigned incarnation) {
        return strprintf("%s/" HIDDEN_DIRECTORY "/%u.%u", m->instance->runtime_dir, id, incarnation);
}

static char *process_path(const Process *p) {
        if (p->role == PROCESS_CURRENT)
                return state_path(p->manager, PROCESS_DIRECTORY, p->id);
        return hidden_path(p->manager, p->id, p->incarnation);
}

static int write_json(const char *path, json_object *o) {
        size_t n;
        const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
        int r;

        if (!text)
                return -ENOMEM;
        r = write_file_replace(path, text, n, 0600);
        if (r != -ENOENT)
                return r;

        r = mkdir_parents(path, 0700);
        return r < 0 ? r : write_file_replace(path, text, n, 0600);
}

static int read_json(const char *path, json_object **ret) {
        _cleanup_free_ char *text = NULL;
        json_object *o;
        int r;

        r = read_full_file_at(AT_FDCWD, path, STATE_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        o = json_tokener_parse(text);
        if (!json_object_is_type(o, json_type_object)) {
                json_object_put(o);
                return -EBADMSG;
        }
        *ret = o;
        return 0;
}

/* One write() of less than a page is done wholly or not at all, whenever pmd is killed, and what is left of a longer text
 * before stands behind the object, where no reader looks. A rename over the old file would be as safe, but makes some file systems write
 * it to the disk at once. */
static int overwrite_json(const char *path, json_object *o) {
        _cleanup_close_ int fd = -EBADF;
        size_t n;
        const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);

        if (!text)
                return -ENOMEM;
        if (n >= 4096)
                return write_json(path, o);

        /* A new one that is still empty when pmd is killed is of a process whose gate was not opened. */
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return errno == ENOENT ? write_json(path, o) : -errno;
        FAULT_BEFORE(STATE_WRITE);
        if (pwrite(fd, text, n, 0) != (ssize_t) n || ftruncate(fd, (off_t) n) < 0)
                return -EIO;
        FAULT_AFTER(STATE_WRITE);
        return 0;
}

/* ---- the definition ---- */

/* What was saved may be gone, and another definition be where it was. */
static unsigned serial_of_process(const Process *p, const AppConfig *config) {
        if (p->config == config && p->saved_config == config && p->definition_serial > 0)
                return p->definition_serial;
        return p->next_config == config && p->saved_next_config == config ? p->next_definition_serial : 0;
}

static unsigned serial_of_definition(const Manager *m, const AppConfig *config) {
        unsigned serial;

        for (size_t i = 0; i < m->n_processes; i++) {
                serial = serial_of_process(m->processes[i], config);
                if (serial > 0)
                        return serial;
        }
        LIST_FOREACH(hidden, p, m->hidden_processes) {
                serial = serial_of_process(p, config);
                if (serial > 0)
                        return serial;
        }
        return 0;
}

static int write_definition(Manager *m, const AppConfig *config, unsigned *ret) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        _cleanup_free_ char *path = NULL;
        unsigned serial = m->next_definition_serial + 1;
        int r;

        r = app_config_save(config, &o);
        if (r < 0)
                return r;
        path = state_path(m, DEFINITION_DIRECTORY, serial);
        if (!path)
                return -ENOMEM;
        r = write_json(path, o);
        if (r < 0)
                return r;

        *ret = m->next_definition_serial = serial;
        return 0;
}

static void remove_definition(const Manager *m, unsigned serial) {
        _cleanup_free_ char *path = state_path(m, DEFINITION_DIRECTORY, serial);

        FAULT_BEFORE(STATE_REMOVE);
        if (path)
                (void) unlink(path);
        FAULT_AFTER(STATE_REMOVE);
}

static bool definition_is_used(const Manager *m, unsigned serial) {
        for (size_t i = 0; i < m->n_processes; i++)
                if (m->processes[i]->definition_serial == serial || m->processes[i]->next_definition_serial == serial)
                        return true;
        LIST_FOREACH(hidden, p, m->hidden_processes)
                if (p->definition_serial == serial || p->next_definition_serial == serial)
                        return true;
        return false;
}

static void remove_unused_definition(const Manager *m, unsigned serial) {
        if (serial > 0 && !definition_is_used(m, serial))
                remove_definition(m, serial);
}

/* The definition changes with a restart. */
static int save_definition(Process *p) {
        unsigned old = p->definition_serial, serial;
        int r;

        if (old > 0 && p->saved_config == p->config)
                return 0;

        p->definition_serial = 0;
        p->saved_config = NULL;
        serial = serial_of_definition(p->manager, p->config);
        if (serial == 0) {
                r = write_definition(p->manager, p->config, &serial);
                if (r < 0) {
                        p->definition_serial = old;
                        return r;
                }
        }

        p->definition_serial = serial;
        p->saved_config = p->config;
        return 0;
}

/* What it is to become with its next start. */
static int save_next_definition(Process *p) {
        unsigned old = TAKE_GENERIC(p->next_definition_serial, 0), serial = 0;
        const AppConfig *saved = TAKE_PTR(p->saved_next_config);
        int r;

        if (old > 0 && p->next_config && saved == p->next_config)
                serial = old;
        else if (p->next_config)
                serial = serial_of_definition(p->manager, p->next_config);
        if (serial == 0 && p->next_config) {
                r = write_definition(p->manager, p->next_config, &serial);
                if (r < 0)
                        return r;
        }

        p->next_definition_serial = serial;
        p->saved_next_config = p->next_config;
        return 0;
}

/* ---- writing ---- */

static void add_int(json_object *o, const char *key, int64_t v) {
        (void) json_object_object_add(o, key, json_object_new_int64(v));
}

static void add_uint(json_object *o, const char *key, uint64_t v) {
        (void) json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_bool(json_object *o, const char *key, bool v) {
        (void) json_object_object_add(o, key, json_object_new_boolean(v));
}

static void add_string(json_object *o, const char *key, const char *v) {
        if (v)
                (void) json_object_object_add(o, key, json_object_new_string(v));
}

static void add_events(json_object *o, const Process *p) {
        json_object *events;

        if (p->events.n > 0 && event_history_save(&p->events, EVENTS_SIZE_MAX, &events) >= 0)
                (void) json_object_object_add(o, "events", events);
}

static void add_oom_kill(json_object *o, const Process *p) {
        const OomKill *k = &p->last_oom_kill;

        if (k->realtime == 0)
                return;
        add_uint(o, "n_oom_kills", p->n_oom_kills);
        add_bool(o, "oom_killed_as_group", p->oom_killed_as_group);
        add_uint(o, "oom_realtime", k->realtime);
        add_int(o, "oom_pid", k->pid);
        add_string(o, "oom_name", k->name);
        add_uint(o, "oom_limit", k->limit);
        add_uint(o, "oom_peak", k->peak);
        add_string(o, "oom_limit_cgroup", k->limit_cgroup);
}

static void add_process(json_object *o, const Process *p) {
        add_uint(o, "id", p->id);
        add_string(o, "role", process_role_to_string(p->role));
        add_string(o, "app", p->app->name);
        add_uint(o, "owner", p->app->owner);
        add_uint(o, "definition", p->definition_serial);
        if (p->next_definition_serial > 0)
                add_uint(o, "next_definition", p->next_definition_serial);
        add_uint(o, "instance", p->instance);
        add_string(o, "unique_id", p->unique_id);
        add_string(o, "goal", process_goal_to_string(p->goal));
        add_string(o, "state", process_state_to_string(p->state));
        add_bool(o, "restart_wanted", p->restart_wanted);
        add_bool(o, "delete_wanted", p->delete_wanted);
        add_bool(o, "reload_wanted", p->reload_wanted);
        add_bool(o, "start_timed_out", p->start_timed_out);
        add_bool(o, "listening", p->listening);
        add_bool(o, "kill_tried", p->kill_tried);
        add_bool(o, "restart_granted", p->restart_granted);
        add_bool(o, "watching", p->watching);
        add_bool(o, "reached_online", p->reached_online);
        add_bool(o, "gate_opened", p->gate_opened);
        add_uint(o, "incarnation", p->incarnation);
        add_uint(o, "worker_id", p->worker_id);
        add_bool(o, "listening", p->listening);
        add_uint(o, "last_incarnation", p->last_incarnation);
        add_uint(o, "n_restarts", p->n_restarts);
        add_uint(o, "unstable_restarts", p->history.unstable_restarts);
        add_uint(o, "history_created_at", p->history.created_at);
        add_uint(o, "prev_delay", p->history.prev_delay);
        add_uint(o, "created_realtime", p->created_realtime);
        add_uint(o, "started_monotonic", p->started_monotonic);
        add_uint(o, "started_realtime", p->started_realtime);
        add_int(o, "exit_code", p->last_exit.code);
        add_int(o, "exit_signal", p->last_exit.signal);
        add_string(o, "exit_reason", exit_reason_to_string(p->last_exit.reason));
        add_oom_kill(o, p);
        if (p->status_text && strlen(p->status_text) <= STATUS_TEXT_MAX)
                add_string(o, "status_text", p->status_text);
        add_int(o, "timer", p->timer);
        add_uint(o, "timer_at", p->timer_at);
        add_events(o, p);
}

static void add_incarnation(json_object *o, const Process *p) {
        if (!pidref_is_set(&p->main) || !p->unit)
                return;
        add_int(o, "pid", p->main.pid);
        add_uint(o, "pid_start_time", p->main.start_time);
        add_uint(o, "pid_id", p->main.fd_id);
        add_string(o, "cgroup", p->unit->cgroup);
        add_string(o, "invocation_id", p->unit->invocation_id);
}

static int add_boot(json_object *o, const Manager *m) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        add_string(o, "boot", sd_id128_to_string(boot, text));
        add_uint(o, "init_start_time", m->init_start_time);
        return 0;
}

/* What was written is no more: somebody has emptied the runtime directory. */
static void forget_written(Manager *m) {
        for (size_t i = 0; i < m->n_processes; i++) {
                Process *p = m->processes[i];

                p->definition_serial = p->next_definition_serial = 0;
                p->saved_config = p->saved_next_config = NULL;
                manager_enqueue_changed(m, p);
        }
        LIST_FOREACH(hidden, p, m->hidden_processes) {
                p->definition_serial = p->next_definition_serial = 0;
                p->saved_config = p->saved_next_config = NULL;
                manager_enqueue_changed(m, p);
        }
}

/* The directory is made with the first definition. */
static bool directory_is_gone(const Process *p) {
        _cleanup_free_ char *path = strjoin(p->manager->instance->runtime_dir, "/" DEFINITION_DIRECTORY);

        return p->definition_serial > 0 && path && access(path, F_OK) < 0 && errno == ENOENT;
}

static void remove_hidden(const Process *p, unsigned incarnation) {
        _cleanup_free_ char *path = hidden_path(p->manager, p->id, incarnation);

        FAULT_BEFORE(STATE_REMOVE);
        if (path)
                (void) unlink(path);
        FAULT_AFTER(STATE_REMOVE);
}

int process_save(Process *p) {
        unsigned old = p->definition_serial, old_next = p->next_definition_serial;
        _cleanup_(json_object_putp) json_object *o = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        if (directory_is_gone(p))
                forget_written(p->manager);
        r = save_definition(p);
        if (r >= 0)
                r = save_next_definition(p);
        if (r < 0)
                return r;

        o = json_object_new_object();
        path = process_path(p);
        if (!o || !path)
                return -ENOMEM;

        add_uint(o, "version", STATE_VERSION);
        r = add_boot(o, p->manager);
        if (r < 0)
                return r;
        add_process(o, p);
        add_incarnation(o, p);
        r = overwrite_json(path, o);
        if (r < 0)
                return r;

        /* Not before: until now the file named them. */
        remove_unused_definition(p->manager, old);
        remove_unused_definition(p->manager, old_next);
        if (p->hidden_incarnation > 0 && p->hidden_incarnation != p->incarnation)
                remove_hidden(p, p->hidden_incarnation);
        p->hidden_incarnation = p->role == PROCESS_CURRENT ? 0 : p->incarnation;
        return 0;
}

void process_unsave_hidden(const Process *p) {
        remove_hidden(p, p->incarnation);
}

void process_unsave(Process *p) {
        _cleanup_free_ char *path = process_path(p);
        unsigned serial = TAKE_GENERIC(p->definition_serial, 0), next = TAKE_GENERIC(p->next_definition_serial, 0);

        FAULT_BEFORE(STATE_REMOVE);
        if (path)
                (void) unlink(path);
        FAULT_AFTER(STATE_REMOVE);
        remove_unused_definition(p->manager, serial);
        remove_unused_definition(p->manager, next);
}

/* ---- reading ---- */

static uint64_t get_uint(json_object *o, const char *key) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

static int get_int(json_object *o, const char *key, int fallback) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_int(v) : fallback;
}

static bool get_bool(json_object *o, const char *key) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

static const char *get_string(json_object *o, const char *key) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

/* Pids, monotonic times and fds of another boot mean nothing. A container has the host's, but another process 1 each time. */
static bool is_of_this_boot(json_object *o, const Manager *m) {
        uint64_t init = get_uint(o, "init_start_time");
        const char *s = get_string(o, "boot");
        sd_id128_t boot, saved;

        if (init > 0 && m->init_start_time > 0 && init != m->init_start_time)
                return false;
        return s && sd_id128_get_boot(&boot) >= 0 && sd_id128_from_string(s, &saved) >= 0 && sd_id128_equal(boot, saved);
}

static void read_oom_kill(Process *p, json_object *o) {
        OomKill *k = &p->last_oom_kill;
        const char *name = get_string(o, "oom_name"), *limit_cgroup = get_string(o, "oom_limit_cgroup");

        k->realtime = get_uint(o, "oom_realtime");
        if (k->realtime == 0)
                return;
        p->n_oom_kills = get_uint(o, "n_oom_kills");
        p->oom_killed_as_group = get_bool(o, "oom_killed_as_group");
        k->pid = get_int(o, "oom_pid", 0);
        (void) snprintf(k->name, sizeof k->name, "%s", strempty(name));
        k->limit = get_uint(o, "oom_limit");
        k->peak = get_uint(o, "oom_peak");
        if (free_and_strdup(&k->limit_cgroup, limit_cgroup) < 0)
                log_oom();
}

static void read_process(Process *p, json_object *o) {
        const char *unique_id = get_string(o, "unique_id");

        if (unique_id && strlen(unique_id) < sizeof p->unique_id)
                strcpy(p->unique_id, unique_id);
        p->goal = process_goal_from_string(get_string(o, "goal"));
        p->restart_wanted = get_bool(o, "restart_wanted");
        p->delete_wanted = get_bool(o, "delete_wanted");
        p->reload_wanted = get_bool(o, "reload_wanted");
        p->start_timed_out = get_bool(o, "start_timed_out");
        p->listening = get_bool(o, "listening");
        p->kill_tried = get_bool(o, "kill_tried");
        p->restart_granted = get_bool(o, "restart_granted");
        p->watching = get_bool(o, "watching");
        p->reached_online = get_bool(o, "reached_online");
        p->gate_opened = get_bool(o, "gate_opened");
        p->incarnation = (unsigned) get_uint(o, "incarnation");
        p->worker_id = (unsigned) get_uint(o, "worker_id");
        p->listening = get_bool(o, "listening");
        p->last_incarnation = MAX(p->incarnation, (unsigned) get_uint(o, "last_incarnation"));
        p->n_restarts = (unsigned) get_uint(o, "n_restarts");
        p->history = (RestartHistory) {
                .unstable_restarts = (unsigned) get_uint(o, "unstable_restarts"),
                .created_at = get_uint(o, "history_created_at"),
                .prev_delay = get_uint(o, "prev_delay"),
        };
        p->created_realtime = get_uint(o, "created_realtime");
        p->started_monotonic = get_uint(o, "started_monotonic");
        p->started_realtime = get_uint(o, "started_realtime");
        p->last_exit = (LastExit) {
                .code = get_int(o, "exit_code", -1),
                .signal = get_int(o, "exit_signal", 0),
                .reason = MAX(exit_reason_from_string(get_string(o, "exit_reason")), EXIT_REASON_NONE),
        };
        read_oom_kill(p, o);
        (void) free_and_strdup(&p->status_text, get_string(o, "status_text"));
        p->timer = (ProcessTimer) get_int(o, "timer", PROCESS_TIMER_NONE);
        p->timer_at = get_uint(o, "timer_at");
        if (event_history_restore(&p->events, json_object_object_get(o, "events")) < 0)
                log_oom();
}

/* Definitions read so far: processes that shared one share it again. */
typedef struct Readopt {
        Manager *manager;
        struct {
                unsigned serial;
                AppConfig *config;
        } *definitions;
        size_t n_definitions, n_allocated;
} Readopt;

static void readopt_done(Readopt *d) {
        for (size_t i = 0; i < d->n_definitions; i++)
                app_config_unref(d->definitions[i].config);
        free(d->definitions);
}

static int get_definition(Readopt *d, unsigned serial, AppConfig **ret) {
        _cleanup_free_ char *path = NULL, *fault = NULL, *notes = NULL, *unusable = NULL;
        _cleanup_(json_object_putp) json_object *o = NULL;
        AppConfig *config;
        int error, r;

        for (size_t i = 0; i < d->n_definitions; i++)
                if (d->definitions[i].serial == serial) {
                        *ret = d->definitions[i].config;
                        return 0;
                }

        path = state_path(d->manager, DEFINITION_DIRECTORY, serial);
        if (!path || !GREEDY_REALLOC(d->definitions, d->n_allocated, d->n_definitions + 1))
                return -ENOMEM;
        r = read_json(path, &o);
        if (r < 0)
                return r;
        r = app_config_restore(o, &config, &error, &fault, &notes, &unusable);
        if (r < 0)
                return log_warning_errno(r, "Definition %u is of no use: %s", serial, strna(unusable));

        d->manager->next_definition_serial = MAX(d->manager->next_definition_serial, serial);
        d->definitions[d->n_definitions].serial = serial;
        d->definitions[d->n_definitions++].config = config;
        *ret = config;
        return 0;
}

/* What it was to become with its next start. */
static int read_next_definition(Readopt *d, Process *p, unsigned serial) {
        AppConfig *config;
        int r;

        if (serial == 0)
                return 0;
        r = get_definition(d, serial, &config);
        if (r < 0)
                return r;

        p->next_definition_serial = serial;
        p->saved_next_config = config;
        p->next_config = app_config_ref(config);
        app_config_unref(p->app->config);
        p->app->config = app_config_ref(config);
        return 0;
}

static int get_app(Manager *m, const char *name, AppConfig *config, uid_t owner, App **ret) {
        App *a = manager_get_app(m, name);

        if (a) {
                *ret = a;
                return 0;
        }
        return manager_make_app(m, config, owner, ret);
}

/* One that became the current one, or was it until the moment when pmd ended, is known from there. */
static bool is_current_one(const Manager *m, json_object *o, unsigned id) {
        const Process *current = manager_get_process((Manager *) m, id);

        return current && current->incarnation == (unsigned) get_uint(o, "incarnation");
}

static void enter_registry(Process *p, ProcessRole role) {
        if (role != PROCESS_CURRENT) {
                process_adopt_hidden(p, role);
                return;
        }
        LIST_APPEND(siblings, p->app->processes, p);
        manager_add_process(p->manager, p);
        p->manager->next_process_id = MAX(p->manager->next_process_id, p->id + 1);
}

/* Whoever is not current any more ends, be it that the job which wanted that has not said so yet. */
static void settle_hidden(Process *p) {
        if (p->role == PROCESS_RETIRED && p->goal == PROCESS_DOWN && IN_SET(p->state, PROCESS_STARTING, PROCESS_ONLINE))
                process_event(p, PROCESS_EVENT_RETIRE);
        else if (p->role == PROCESS_SUCCESSOR && p->peer && !p->peer->reload_wanted)
                process_abandon_reload(p->peer);
        else if (p->role != PROCESS_CURRENT && !p->peer)
                process_event(p, PROCESS_EVENT_DOWN);
        if (p->role != PROCESS_CURRENT)
                manager_wake(p->manager);
}

static int read_file(Readopt *d, json_object *o, unsigned id, bool hidden) {
        Manager *m = d->manager;
        unsigned serial = (unsigned) get_uint(o, "definition");
        ProcessRole role = hidden ? process_role_from_string(get_string(o, "role")) : PROCESS_CURRENT;
        ProcessState state = process_state_from_string(get_string(o, "state"));
        const char *name = get_string(o, "app");
        AppConfig *config;
        Process *p;
        App *a;
        int r;

        if (!is_of_this_boot(o, m))
                return -ESTALE;
        if (get_uint(o, "version") > STATE_VERSION)
                return -EPROTONOSUPPORT;
        if (hidden && is_current_one(m, o, id))
                return -ESTALE;
        if (role < 0 || (hidden && role == PROCESS_CURRENT))
                return -EBADMSG;
        if (!name || state < 0 || process_goal_from_string(get_string(o, "goal")) < 0)
                return -EBADMSG;

        r = get_definition(d, serial, &config);
        if (r < 0)
                return r;
        r = manager_reserve_processes(m, 1);
        if (r < 0)
                return r;
        r = get_app(m, name, config, (uid_t) get_uint(o, "owner"), &a);
        if (r < 0)
                return r;
        r = process_new(m, a, config, id, (unsigned) get_uint(o, "instance"), &p);
        if (r < 0) {
                if (!a->processes)
                        manager_remove_app(m, a);
                return r;
        }

        read_process(p, o);
        p->definition_serial = serial;
        p->saved_config = config;
        p->hidden_incarnation = hidden ? p->incarnation : 0;
        r = read_next_definition(d, p, (unsigned) get_uint(o, "next_definition"));
        if (r < 0)
                log_warning_errno(r, "The changed definition of process %u is lost: %m", id);
        enter_registry(p, role);

        process_adopt(p, state, &(ProcessRemains) {
                        .pid = (pid_t) get_uint(o, "pid"),
                        .pid_start_time = get_uint(o, "pid_start_time"),
                        .pid_id = get_uint(o, "pid_id"),
                        .cgroup = get_string(o, "cgroup"),
                        .invocation_id = get_string(o, "invocation_id"),
                });
        settle_hidden(p);
        return 0;
}

static int compare_ids(const void *a, const void *b) {
        unsigned x = *(const unsigned *) a, y = *(const unsigned *) b;

        return (x > y) - (x < y);
}

/* The numbers that are names of files in the directory, ascending. What is no number was left half written. */
static int list_numbers(const char *directory, unsigned **ret, size_t *ret_n) {
        _cleanup_closedir_ DIR *d = opendir(directory);
        _cleanup_free_ unsigned *numbers = NULL;
        size_t n = 0, allocated = 0;

        if (!d && errno != ENOENT)
                return -errno;

        for (struct dirent *de; d && (de = readdir(d));) {
                if (de->d_name[0] == '.')
                        continue;
                if (!GREEDY_REALLOC(numbers, allocated, n + 1))
                        return -ENOMEM;
                if (safe_atou(de->d_name, &numbers[n]) >= 0)
                        n++;
                else
                        (void) unlinkat(dirfd(d), de->d_name, 0);
        }

        if (n > 0)
                qsort(numbers, n, sizeof(unsigned), compare_ids);
        *ret = TAKE_PTR(numbers);
        *ret_n = n;
        return 0;
}

static int list_state(const Manager *m, const char *directory, unsigned **ret, size_t *ret_n) {
        _cleanup_free_ char *path = strjoin(m->instance->runtime_dir, "/", directory);

        return path ? list_numbers(path, ret, ret_n) : -ENOMEM;
}

/* It is for the pmd that wrote it, should that come back: with its descriptors, its definition, and its number. */
static void leave_alone(Manager *m, const char *path, unsigned id, uint64_t version) {
        log_error("Process %u is not taken over and runs on without pmd: %s is of format %" PRIu64 ", and this pmd knows those up to %d. "
                  "Install the version that wrote it, or end the process yourself and remove the file.", id, path, version, STATE_VERSION);
        m->first_process_id = MAX(m->first_process_id, id + 1);
        m->next_process_id = MAX(m->next_process_id, id + 1);
}

static void readopt_one(Readopt *d, const char *path, unsigned id, bool hidden) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        int r;

        r = read_json(path, &o);
        if (r >= 0)
                r = read_file(d, o, id, hidden);
        if (r >= 0)
                return;
        if (r == -EPROTONOSUPPORT)
                return leave_alone(d->manager, path, id, get_uint(o, "version"));
        if (r != -ESTALE)
                log_warning_errno(r, "Cannot take over process %u from %s, ignoring: %m", id, path);
        (void) unlink(path);
}

static int readopt_current(Readopt *d) {
        _cleanup_free_ unsigned *ids = NULL;
        size_t n;
        int r;

        r = list_state(d->manager, PROCESS_DIRECTORY, &ids, &n);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_free_ char *path = state_path(d->manager, PROCESS_DIRECTORY, ids[i]);

                if (!path)
                        return -ENOMEM;
                readopt_one(d, path, ids[i], false);
        }
        return r;
}

static int readopt_hidden(Readopt *d) {
        _cleanup_free_ char *directory = strjoin(d->manager->instance->runtime_dir, "/" HIDDEN_DIRECTORY);
        _cleanup_closedir_ DIR *dir = NULL;

        if (!directory)
                return -ENOMEM;
        dir = opendir(directory);
        if (!dir)
                return errno == ENOENT ? 0 : -errno;

        for (struct dirent *de; (de = readdir(dir));) {
                _cleanup_free_ char *path = NULL;
                unsigned id, incarnation;

                if (de->d_name[0] == '.')
                        continue;
                path = strjoin(directory, "/", de->d_name);
                if (!path)
                        return -ENOMEM;
                if (sscanf(de->d_name, "%u.%u", &id, &incarnation) == 2)
                        readopt_one(d, path, id, true);
                else
                        (void) unlink(path);
        }
        return 0;
}

static void remove_unused_definitions(Manager *m) {
        _cleanup_free_ unsigned *serials = NULL;
        size_t n;

        if (list_state(m, DEFINITION_DIRECTORY, &serials, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                if (m->first_process_id > 0) /* it may be of one that is left alone */
                        m->next_definition_serial = MAX(m->next_definition_serial, serials[i]);
                else if (!definition_is_used(m, serials[i]))
                        remove_definition(m, serials[i]);
}

static bool delete_is_wanted(const Process *p) {
        return p->delete_wanted && !p->app->job;
}

static bool reload_is_wanted(const Process *p) {
        return p->reload_wanted && !p->delete_wanted && !p->app->job;
}

/* A job that had begun is carried through. */
static int resume_jobs(Manager *m, JobVerb verb, bool (*is_wanted)(const Process *p)) {
        _cleanup_free_ Process **processes = new(Process *, m->n_processes);
        _cleanup_free_ uint32_t *jobs = NULL;
        size_t n = 0, n_jobs;

        if (!processes)
                return -ENOMEM;
        for (size_t i = 0; i < m->n_processes; i++)
                if (is_wanted(m->processes[i]))
                        processes[n++] = m->processes[i];
        return n > 0 ? manager_enqueue_jobs(m, verb, processes, n, &jobs, &n_jobs) : 0;
}

int manager_readopt(Manager *m) {
        _cleanup_(readopt_done) Readopt d = { .manager = m };
        int r;

        r = readopt_current(&d);
        if (r >= 0)
                r = readopt_hidden(&d);
        if (r < 0)
                return r;

        remove_unused_definitions(m);
        manager_clean_clusters(m);
        if (m->n_processes > 0)
                log_info("Took over %zu processes.", m->n_processes);

        r = request_journal_resume(m->request_journal);
        if (r < 0)
                return r;
        r = resume_jobs(m, JOB_DELETE, delete_is_wanted);
        return r < 0 ? r : resume_jobs(m, JOB_RELOAD, reload_is_wanted);
}
