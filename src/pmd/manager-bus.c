/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>
#include <unistd.h>

#include "config.h"
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager-bus.h"
#include "pmd/manager-definition-bus.h"
#include "pmd/manager-event-bus.h"
#include "pmd/manager-log-bus.h"
#include "pmd/manager-message-bus.h"
#include "pmd/manager-property-bus.h"
#include "pmd/manager-save-bus.h"
#include "pmd/manager.h"
#include "pmd/process-bus.h"
#include "pmd/process-list-bus.h"
#include "pmd/runner.h"
#include "shared/bus-util.h"
#include "shared/json-util.h"
#include "shared/pmd-protocol.h"
#include "shared/strv.h"

static const char *const no_options[] = { NULL };

static int method_ping(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return sd_bus_reply_method_return(message, "s", "pong");
}

/* ---- Start, Stop, Delete ---- */

static int reply_jobs(sd_bus_message *message, Manager *m, JobVerb verb, sd_bus_error *reterr) {
        _cleanup_(json_object_putp) json_object *options = NULL;
        _cleanup_free_ Process **processes = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n, n_ids;
        uid_t uid;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_read_options(message, no_options, &options, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        bus_request_log(m, message, uid, verb, processes, n);
        r = manager_enqueue_jobs(m, verb, processes, n, &ids, &n_ids);
        if (r < 0)
                return bus_request_set_error(reterr, r);
        return bus_request_reply_u32_array(message, ids, n_ids);
}

static int method_start(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_jobs(message, ASSERT_PTR(userdata), JOB_START, reterr);
}

static int method_stop(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_jobs(message, ASSERT_PTR(userdata), JOB_STOP, reterr);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_jobs(message, ASSERT_PTR(userdata), JOB_DELETE, reterr);
}

/* Calls apply() for each of the targets, and replies with their ids. */
static int apply_to_targets(sd_bus_message *message, Manager *m, void (*apply)(Process *p), sd_bus_error *reterr) {
        _cleanup_free_ Process **processes = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        ids = new(uint32_t, n);
        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                apply(processes[i]);
                ids[i] = processes[i]->id;
        }
        return bus_request_reply_u32_array(message, ids, n);
}

static int method_reset(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return apply_to_targets(message, ASSERT_PTR(userdata), process_reset_counters, reterr);
}

static int method_toggle_watch(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return apply_to_targets(message, ASSERT_PTR(userdata), app_triggers_toggle_watch, reterr);
}

static int method_send_signal(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_free_ Process **processes = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        Manager *m = ASSERT_PTR(userdata);
        size_t n, n_ids;
        bool whole_unit;
        int r, signo;
        uid_t uid;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_read_signal(message, &whole_unit, &signo, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        bus_request_note_signal(message, uid, signo, processes, n);

        r = bus_request_send_signal(processes, n, whole_unit, signo, &ids, &n_ids, reterr);
        if (r < 0)
                return r;
        return bus_request_reply_u32_array(message, ids, n_ids);
}

/* ---- look-ups ---- */

static int method_resolve_targets(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ Process **processes = NULL;
        Manager *m = ASSERT_PTR(userdata);
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(uso)");
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                char buf[PROCESS_PATH_MAX];

                r = sd_bus_message_append(reply, "(uso)", processes[i]->id, processes[i]->app->name,
                                          process_bus_path(processes[i], buf));
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

/* Processes of one app stand beside each other and mostly share their definition. */
typedef struct DefinitionCache {
        const AppConfig *config;
        json_object *definition;
} DefinitionCache;

static void definition_cache_done(DefinitionCache *c) {
        json_object_put(c->definition);
}

static int append_definition(sd_bus_message *m, const AppConfig *config, DefinitionCache *cache) {
        json_object *o;
        int r;

        if (cache->config != config) {
                r = app_config_to_json(config, &o);
                if (r < 0)
                        return r;
                definition_cache_done(cache);
                *cache = (DefinitionCache) { config, o };
        }
        return bus_message_append_json_dict(m, cache->definition);
}

static int append_list_row(sd_bus_message *m, sd_bus *bus, Process *p, DefinitionCache *cache) {
        int r;

        r = sd_bus_message_open_container(m, 'r', PMD_LIST_ROW_SIGNATURE);
        if (r < 0)
                return r;
        r = process_bus_append_list_fields(m, bus, p);
        if (r < 0)
                return r;
        r = append_definition(m, p->config, cache);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int method_list_processes(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(definition_cache_done) DefinitionCache cache = {};
        _cleanup_free_ Process **processes = NULL;
        Manager *m = ASSERT_PTR(userdata);
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, true, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(" PMD_LIST_ROW_SIGNATURE ")");
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                r = append_list_row(reply, sd_bus_message_get_bus(message), processes[i], &cache);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

/* Of several owners none is good for what belongs to the others. */
static uid_t common_owner(Process *const *processes, size_t n) {
        for (size_t i = 1; i < n; i++)
                if (processes[i]->app->owner != processes[0]->app->owner)
                        return (uid_t) -1;
        return processes[0]->app->owner;
}

/* Once for all of them. */
static int find_common_owner(Manager *m, const uint32_t *ids, size_t n, uid_t *ret, sd_bus_error *reterr) {
        uid_t owner = (uid_t) -1;

        for (size_t i = 0; i < n; i++) {
                const Process *p = manager_get_process(m, ids[i]);

                if (!p)
                        return bus_request_no_such_process(reterr, ids[i]);
                if (i == 0)
                        owner = p->app->owner;
                else if (p->app->owner != owner)
                        owner = (uid_t) -1;
        }
        *ret = owner;
        return 0;
}

static int append_definition_environment(sd_bus_message *reply, const Process *p) {
        _cleanup_strv_free_ char **env = NULL;
        int r;

        r = process_definition_environment(p, &env);
        if (r < 0)
                return r;
        return bus_message_append_text_strv(reply, env);
}

/* A row for these ids and those behind them that share their environment; advances *i behind them. */
static int append_environment_row(sd_bus_message *reply, Manager *m, const uint32_t *ids, size_t n, size_t *i) {
        const Process *p = manager_get_process(m, ids[*i]);
        size_t first = *i;
        int r;

        do
                (*i)++;
        while (*i < n && process_shares_environment(p, manager_get_process(m, ids[*i])));

        r = sd_bus_message_open_container(reply, 'r', "auas");
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', ids + first, (*i - first) * sizeof(uint32_t));
        if (r < 0)
                return r;
        r = append_definition_environment(reply, p);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

static int reply_environments(sd_bus_message *message, Manager *m, const uint32_t *ids, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(auas)");
        if (r < 0)
                return r;
        for (size_t i = 0; i < n;) {
                r = append_environment_row(reply, m, ids, n, &i);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

static int method_get_environments(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        const uint32_t *ids;
        size_t size, n;
        uid_t owner = (uid_t) -1;
        bool too_many;
        int r;

        r = sd_bus_message_read_array(message, 'u', (const void **) &ids, &size);
        if (r < 0)
                return r;
        n = size / sizeof(uint32_t);
        /* Of a list that is no longer true, the answer is which process is gone. */
        too_many = n > m->n_processes + 1;
        r = find_common_owner(m, ids, too_many ? m->n_processes + 1 : n, &owner, reterr);
        if (r < 0)
                return r;
        if (too_many)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "More ids than there are processes.");
        r = bus_request_authorize_owner(m, message, owner, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        return reply_environments(message, m, ids, n);
}

static int reply_packed(sd_bus_message *message, Process *const *processes, size_t n, bool with_environment) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(list_rows_done) ListRows rows = LIST_ROWS_INIT;
        const uint32_t *words;
        size_t n_words;
        int r;

        for (size_t i = 0; i < n; i++) {
                r = list_rows_add(&rows, processes[i], with_environment);
                if (r < 0)
                        return r;
        }
        words = list_pack_finish(&rows.packer, &n_words);
        if (!words)
                return -ENOMEM;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'y', rows.packer.text, rows.packer.size);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', words, n_words * sizeof *words);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

static int method_list_packed(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_free_ Process **processes = NULL;
        Manager *m = ASSERT_PTR(userdata);
        int r, with_environment;
        size_t n;

        r = bus_request_read_targets(m, message, true, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(message, "b", &with_environment);
        if (r < 0)
                return r;
        if (with_environment && n > 0) {
                r = bus_request_authorize_owner(m, message, common_owner(processes, n), reterr);
                if (r <= 0)
                        return r < 0 ? r : 1;
        }
        return reply_packed(message, processes, n, with_environment);
}

static int method_get_app(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        const char *name;
        const App *a;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;
        a = manager_get_app(m, name);
        if (!a)
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_SUCH_APP, "There is no app '%.255s'.", name);
        return sd_bus_reply_method_return(message, "o", a->object_path);
}

static int method_get_process(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        char buf[PROCESS_PATH_MAX];
        const Process *p;
        uint32_t id;
        int r;

        r = sd_bus_message_read(message, "u", &id);
        if (r < 0)
                return r;
        p = manager_get_process(m, id);
        if (!p)
                return bus_request_no_such_process(reterr, id);
        return sd_bus_reply_method_return(message, "o", process_bus_path(p, buf));
}

static int append_job(sd_bus_message *m, const Job *j) {
        return sd_bus_message_append(m, "(ussb)", j->id, job_verb_to_string(j->verb), j->app->name, (int) j->running);
}

static int append_jobs_of_app(sd_bus_message *m, const App *a) {
        int r;

        if (a->job) {
                r = append_job(m, a->job);
                if (r < 0)
                        return r;
        }
        LIST_FOREACH(jobs, j, a->waiting_jobs) {
                r = append_job(m, j);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *m = ASSERT_PTR(userdata);
        struct lh_entry *e;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(ussb)");
        if (r < 0)
                return r;
        lh_foreach(m->apps, e) {
                r = append_jobs_of_app(reply, lh_entry_v(e));
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

/* ---- pmd itself ---- */

static int method_exit(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_EXIT, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        if (m->exiting)
                return bus_request_set_error(reterr, -ESHUTDOWN);

        r = manager_exit(m);
        if (r < 0)
                return r;
        m->exit_message = sd_bus_message_ref(message);
        return 1; /* answered when all apps are gone */
}

static int method_reexecute(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_EXIT, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_reexecute(m);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_NOT_SUPPORTED,
                                        "Neither systemd nor a keeper has started this pmd, so nobody would start it again.");
        if (r < 0)
                return bus_request_set_error(reterr, r);
        return sd_bus_reply_method_return(message, NULL);
}

/* ---- properties ---- */

static const char *default_log_target(const Manager *m) {
        return log_target_to_string(m->log_to_journal ? LOG_TARGET_JOURNAL : LOG_TARGET_FILE);
}

static uint32_t count_delayed_restarts(const Manager *m) {
        uint32_t n = 0;

        for (size_t i = 0; i < m->n_processes; i++)
                n += m->processes[i]->restart_granted;
        return n;
}

#define DEFINE_GETTER(name, append)                                                     \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, const char *property, \
                              sd_bus_message *reply, void *userdata, sd_bus_error *reterr) { \
                Manager *m _unused_ = ASSERT_PTR(userdata);                             \
                                                                                        \
                return (append);                                                        \
        }

DEFINE_GETTER(version, bus_message_append_text(reply, PMD_VERSION))
DEFINE_GETTER(scope, bus_message_append_text(reply, instance_scope_to_string(m->instance->scope)))
DEFINE_GETTER(runner, bus_message_append_text(reply, m->runner->vtable->name))
DEFINE_GETTER(log_target, bus_message_append_text(reply, default_log_target(m)))
DEFINE_GETTER(home, bus_message_append_text(reply, m->instance->home))
DEFINE_GETTER(pid, sd_bus_message_append(reply, "u", (uint32_t) getpid()))
DEFINE_GETTER(n_apps, sd_bus_message_append(reply, "u", (uint32_t) lh_table_length(m->apps)))
DEFINE_GETTER(n_processes, sd_bus_message_append(reply, "u", (uint32_t) m->n_processes))
DEFINE_GETTER(restart_budget, sd_bus_message_append(reply, "u", restart_budget_available(&m->restart_budget, now(CLOCK_MONOTONIC))))
DEFINE_GETTER(n_restarts_delayed, sd_bus_message_append(reply, "u", count_delayed_restarts(m)))

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define ANYONE SD_BUS_VTABLE_UNPRIVILEGED /* sd-bus leaves the check to the handler */

const sd_bus_vtable manager_bus_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Version", "s", get_version, 0, CONST),
        SD_BUS_PROPERTY("Scope", "s", get_scope, 0, CONST),
        SD_BUS_PROPERTY("Runner", "s", get_runner, 0, CONST),
        SD_BUS_PROPERTY("LogTarget", "s", get_log_target, 0, CONST),
        SD_BUS_PROPERTY("Home", "s", get_home, 0, CONST),
        SD_BUS_PROPERTY("PID", "u", get_pid, 0, CONST),
        SD_BUS_PROPERTY("NApps", "u", get_n_apps, 0, 0),
        SD_BUS_PROPERTY("NProcesses", "u", get_n_processes, 0, 0),
        SD_BUS_PROPERTY("RestartBudget", "u", get_restart_budget, 0, 0),
        SD_BUS_PROPERTY("NRestartsDelayed", "u", get_n_restarts_delayed, 0, 0),

        SD_BUS_METHOD_WITH_ARGS("Ping", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", answer), method_ping, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("StartApp",
                                SD_BUS_ARGS("a{sv}", definition, "a{sv}", options),
                                SD_BUS_RESULT("u", job, "o", app, "au", processes),
                                method_start_app,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Start",
                                SD_BUS_ARGS("as", targets, "a{sv}", options),
                                SD_BUS_RESULT("au", jobs),
                                method_start,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Stop",
                                SD_BUS_ARGS("as", targets, "a{sv}", options),
                                SD_BUS_RESULT("au", jobs),
                                method_stop,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Restart",
                                SD_BUS_ARGS("as", targets, "a{sv}", options),
                                SD_BUS_RESULT("au", jobs),
                                method_restart,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Reload",
                                SD_BUS_ARGS("as", targets, "a{sv}", options),
                                SD_BUS_RESULT("au", jobs),
                                method_reload,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Scale",
                                SD_BUS_ARGS("s", name, "i", instances, "a{sv}", options),
                                SD_BUS_RESULT("u", job, "o", app, "au", processes),
                                method_scale,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Delete",
                                SD_BUS_ARGS("as", targets, "a{sv}", options),
                                SD_BUS_RESULT("au", jobs),
                                method_delete,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Reset",
                                SD_BUS_ARGS("as", targets),
                                SD_BUS_RESULT("au", processes),
                                method_reset,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ToggleWatch",
                                SD_BUS_ARGS("as", targets),
                                SD_BUS_RESULT("au", processes),
                                method_toggle_watch,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SendSignal",
                                SD_BUS_ARGS("as", targets, "s", whom, "i", signal),
                                SD_BUS_RESULT("au", processes),
                                method_send_signal,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SetProperties",
                                SD_BUS_ARGS("as", targets, "a{sv}", properties),
                                SD_BUS_RESULT("au", processes),
                                method_set_properties,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ResolveTargets",
                                SD_BUS_ARGS("as", targets),
                                SD_BUS_RESULT("a(uso)", processes),
                                method_resolve_targets,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ListProcesses",
                                SD_BUS_ARGS("as", targets),
                                SD_BUS_RESULT(PMD_LIST_SIGNATURE, processes),
                                method_list_processes,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ListPacked",
                                SD_BUS_ARGS("as", targets, "b", environments),
                                SD_BUS_RESULT("ay", text, "au", words),
                                method_list_packed,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetEnvironments",
                                SD_BUS_ARGS("au", processes),
                                SD_BUS_RESULT("a(auas)", environments),
                                method_get_environments,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetApp", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", app), method_get_app, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetProcess",
                                SD_BUS_ARGS("u", id),
                                SD_BUS_RESULT("o", process),
                                method_get_process,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ussb)", jobs), method_list_jobs, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SendMessage", SD_BUS_ARGS("u", id, "s", json), SD_BUS_NO_RESULT, method_send_message, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SendLine", SD_BUS_ARGS("u", id, "s", line), SD_BUS_NO_RESULT, method_send_line, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Trigger",
                                SD_BUS_ARGS("as", targets, "s", action, "s", parameters, "t", timeout_usec),
                                SD_BUS_RESULT("a(uss)", answers),
                                method_trigger,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SubscribeEvents", SD_BUS_ARGS("as", filters), SD_BUS_NO_RESULT, method_subscribe_events, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("UnsubscribeEvents", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_unsubscribe_events, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ListReports", SD_BUS_ARGS("as", targets), SD_BUS_RESULT("a(us)", reports), method_list_reports, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("FlushLogs", SD_BUS_ARGS("as", targets), SD_BUS_RESULT("au", processes), method_flush_logs, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ReopenLogs", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reopen_logs, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Save",
                                SD_BUS_ARGS("b", force),
                                SD_BUS_RESULT("s", path, "u", processes),
                                method_save,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Resurrect",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("s", path, "au", jobs, "au", processes, "as", skipped, "as", warnings),
                                method_resurrect,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ClearSaved", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", path), method_clear_saved, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("ReloadSettings", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload_settings, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Reexecute", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reexecute, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Exit", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_exit, ANYONE),

        SD_BUS_SIGNAL_WITH_ARGS("AppNew", SD_BUS_ARGS("s", name, "o", app), 0),
        SD_BUS_SIGNAL_WITH_ARGS("AppRemoved", SD_BUS_ARGS("s", name, "o", app), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ProcessNew", SD_BUS_ARGS("u", id, "o", process), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ProcessRemoved", SD_BUS_ARGS("u", id, "o", process), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("u", id, "s", verb, "s", app), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobProgress", SD_BUS_ARGS("u", id, "s", app, "u", process, "u", done, "u", total), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobRemoved",
                                SD_BUS_ARGS("u", id, "s", verb, "s", app, "s", result, "a(uss)", failures),
                                0),

        SD_BUS_SIGNAL_WITH_ARGS("Event", SD_BUS_ARGS("s", name, "s", packet), 0),

        SD_BUS_VTABLE_END,
};
