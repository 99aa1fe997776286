/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/event-bus.h"
#include "pmd/process-report.h"
#include "shared/strv.h"

/* The shapes of pm2's packets. An object that lacks a member because memory ran out is of no use to anybody, but harmless. */

static void put(json_object *o, const char *key, json_object *value) {
        (void) json_object_object_add(o, key, value);
}

static void put_string(json_object *o, const char *key, const char *value) {
        put(o, key, value ? json_object_new_string(value) : NULL);
}

static void put_uint(json_object *o, const char *key, uint64_t value) {
        put(o, key, json_object_new_uint64(value));
}

static void put_bool(json_object *o, const char *key, bool value) {
        put(o, key, json_object_new_boolean(value));
}

static void put_strv(json_object *o, const char *key, char *const *l) {
        json_object *array = json_object_new_array();

        STRV_FOREACH(s, l)
                (void) json_object_array_add(array, json_object_new_string(*s));
        put(o, key, array);
}

/* ---- pm2_env ---- */

/* What pm2 shows only if it was given, and its name for it. */
static void put_given(json_object *o, const AppConfig *c) {
        static const char *const keys[][2] = {
                { "kill_timeout", "kill_timeout" },
                { "listen_timeout", "listen_timeout" },
                { "min_uptime", "min_uptime" },
                { "max_restarts", "max_restarts" },
                { "max_memory_restart", "max_memory_restart" },
                { "cron_restart", "cron_restart" },
                { "restart_delay", "restart_delay" },
                { "exp_backoff_restart_delay", "exp_backoff_restart_delay" },
                { "stop_exit_codes", "stop_exit_codes" },
                { "wait_ready", "wait_ready" },
                { "user", "uid" },
                { "group", "gid" },
                { "shutdown_with_message", "shutdown_with_message" },
        };
        json_object *given, *value;

        if (app_config_to_json(c, &given) < 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (json_object_object_get_ex(given, keys[i][0], &value))
                        put(o, keys[i][1], json_object_get(value));
        json_object_put(given);
}

static void put_place(json_object *o, const Process *p) {
        _cleanup_free_ char *out = NULL, *err = NULL, *pid_file = NULL;
        const AppConfig *c = p->config;

        (void) process_log_path(p, LOG_STREAM_OUT, &out);
        (void) process_log_path(p, LOG_STREAM_ERR, &err);
        (void) process_pid_file(p, &pid_file);

        put_string(o, "pm_exec_path", c->exec_path);
        put_string(o, "pm_cwd", c->cwd);
        put_string(o, "exec_interpreter", c->interpreter ?: "none");
        put_strv(o, "node_args", c->interpreter_args);
        if (!strv_isempty(c->args))
                put_strv(o, "args", c->args);
        put_string(o, "exec_mode", exec_mode_to_string(c->exec_mode));
        put(o, "instances", json_object_new_int(c->instances));
        put_string(o, "pm_out_log_path", out ?: "/dev/null");
        put_string(o, "pm_err_log_path", err ?: "/dev/null");
        put_string(o, "pm_pid_path", pid_file);
        put_uint(o, c->instance_var, p->instance);
}

/* As pm2 calls what a reload has replaced. */
static void put_id(json_object *o, const Process *p) {
        char old[32];

        if (p->role != PROCESS_RETIRED)
                return put_uint(o, "pm_id", p->id);
        (void) snprintf(old, sizeof old, "_old_%u", p->id);
        put_string(o, "pm_id", old);
}

static void put_state(json_object *o, const Process *p) {
        const LastExit *x = &p->last_exit;

        put_string(o, "unique_id", p->unique_id);
        put_string(o, "status", process_status(p));
        put_uint(o, "pm_uptime", p->started_realtime / USEC_PER_MSEC);
        put_uint(o, "created_at", p->created_realtime / USEC_PER_MSEC);
        put_id(o, p);
        put_uint(o, "restart_time", p->n_restarts);
        put_uint(o, "unstable_restarts", p->history.unstable_restarts);
        put_string(o, "version", p->config->version ?: "N/A");
        if (x->signal > 0 || x->code >= 0)
                put(o, "exit_code", json_object_new_int(x->signal > 0 ? 128 + x->signal : x->code));
}

json_object *event_pm2_env(const Process *p) {
        json_object *o = json_object_new_object(), *report;
        const AppConfig *c = p->config;

        if (!o)
                return NULL;

        put_string(o, "name", p->app->name);
        put_string(o, "namespace", c->name_space);
        put_given(o, c);
        put_bool(o, "merge_logs", c->merge_logs);
        put_bool(o, "vizion", c->vizion);
        put_bool(o, "autostart", c->autostart);
        put_bool(o, "autorestart", c->autorestart);
        put_bool(o, "watch", p->watching);
        put_string(o, "instance_var", c->instance_var);
        put_bool(o, "treekill", c->treekill);
        if (c->user)
                put_string(o, "username", c->user);
        put_place(o, p);
        put_state(o, p);

        report = process_report_to_json(p->report);
        json_object_object_foreach(report, key, value)
                put(o, key, json_object_get(value));
        json_object_put(report);
        return o;
}

/* ---- messages of apps ---- */

/* with_rev: the revision of the sources, which pm2 adds here and there. */
static json_object *new_process(const Process *p, bool with_rev) {
        json_object *o = json_object_new_object();

        put_uint(o, "pm_id", p->id);
        put_string(o, "name", p->app->name);
        put_string(o, "namespace", p->config->name_space);
        if (with_rev)
                put(o, "rev", NULL);
        return o;
}

/* As JavaScript sees it. */
static bool is_truthy(json_object *o) {
        switch (json_object_get_type(o)) {
        case json_type_null:
                return false;
        case json_type_boolean:
                return json_object_get_boolean(o);
        case json_type_int:
                return json_object_get_int64(o) != 0;
        case json_type_double:
                return json_object_get_double(o) != 0;
        case json_type_string:
                return json_object_get_string_len(o) > 0;
        default:
                return true;
        }
}

/* A name that could be sent: D-Bus has no NUL in strings. */
static bool is_event_name(json_object *type) {
        const char *s = json_object_get_string(type);

        if (!s || !is_truthy(type))
                return false;
        return !json_object_is_type(type, json_type_string) || strlen(s) == (size_t) json_object_get_string_len(type);
}

int event_packet_from_message(const Process *p, json_object *message, uint64_t at_msec, char **ret_name, json_object **ret_packet) {
        json_object *type = NULL, *data = NULL, *packet;
        _cleanup_free_ char *name = NULL;
        bool is_named;

        is_named = json_object_is_type(message, json_type_object) && json_object_object_get_ex(message, "type", &type) && is_event_name(type) &&
                json_object_object_get_ex(message, "data", &data) && is_truthy(data);

        name = strdup(is_named ? json_object_get_string(type) : "process:msg");
        packet = json_object_new_object();
        if (!name || !packet) {
                json_object_put(packet);
                return -ENOMEM;
        }

        put_uint(packet, "at", at_msec);
        put(packet, is_named ? "data" : "raw", json_object_get(is_named ? data : message));
        put(packet, "process", new_process(p, is_named && p->config->exec_mode == EXEC_MODE_CLUSTER));

        *ret_name = TAKE_PTR(name);
        *ret_packet = packet;
        return 0;
}
