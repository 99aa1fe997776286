/* SPDX-License-Identifier: MIT */
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "pmctl/process-json.h"
#include "pmctl/report.h"
#include "shared/date-format.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

/* Keys of pm2_env, sorted. A variable of the environment, which pm2 lays over them, does not replace one. Those with
 * in_child are given to every process by pmd, so that they are no variables of the user's. */
static const struct ReservedKey {
        const char *name;
        bool in_child;
} reserved_keys[] = {
        { "INVOCATION_ID", true },
        { "args", false },
        { "automation", true },
        { "autorestart", true },
        { "autostart", true },
        { "axm_actions", false },
        { "axm_dynamic", false },
        { "axm_monitor", false },
        { "axm_options", false },
        { "created_at", true },
        { "cron_restart", true },
        { "disable_logs", false },
        { "env", false },
        { "exec_interpreter", true },
        { "exec_mode", true },
        { "exit_code", false },
        { "exp_backoff_restart_delay", false },
        { "filter_env", false },
        { "gid", false },
        { "ignore_watch", false },
        { "increment_var", false },
        { "instance_var", true },
        { "instances", true },
        { "kill_retry_time", true },
        { "kill_timeout", false },
        { "km_link", true },
        { "listen_timeout", false },
        { "log_date_format", false },
        { "log_type", false },
        { "max_memory_restart", true },
        { "max_restarts", false },
        { "merge_logs", true },
        { "min_uptime", false },
        { "name", true },
        { "namespace", true },
        { "node_args", false },
        { "node_version", false },
        { "pm_cwd", true },
        { "pm_err_log_path", true },
        { "pm_exec_path", true },
        { "pm_id", true },
        { "pm_log_path", false },
        { "pm_out_log_path", true },
        { "pm_pid_path", true },
        { "pm_uptime", true },
        { "pmx", true },
        { "port", false },
        { "prev_restart_delay", false },
        { "restart_delay", false },
        { "restart_time", true },
        { "shutdown_with_message", false },
        { "status", true },
        { "stop_exit_codes", false },
        { "time", false },
        { "treekill", true },
        { "uid", false },
        { "unique_id", true },
        { "unstable_restarts", true },
        { "username", true },
        { "version", false },
        { "versioning", false },
        { "vizion", true },
        { "vizion_running", true },
        { "wait_ready", false },
        { "watch", true },
        { "watch_delay", false },
        { "windowsHide", true },
};

/* Options that pm2 shows only if they were given, under its own names. */
static const char *const given_options[][2] = {
        { "kill_timeout", "kill_timeout" },
        { "listen_timeout", "listen_timeout" },
        { "min_uptime", "min_uptime" },
        { "max_restarts", "max_restarts" },
        { "restart_delay", "restart_delay" },
        { "exp_backoff_restart_delay", "exp_backoff_restart_delay" },
        { "stop_exit_codes", "stop_exit_codes" },
        { "wait_ready", "wait_ready" },
        { "max_memory_restart", "max_memory_restart" },
        { "ignore_watch", "ignore_watch" },
        { "watch_delay", "watch_delay" },
        { "log_type", "log_type" },
        { "increment_var", "increment_var" },
        { "port", "port" },
        { "time", "time" },
        { "disable_logs", "disable_logs" },
        { "shutdown_with_message", "shutdown_with_message" },
};

static int compare_reserved(const void *name, const void *key) {
        return strcmp(name, ((const struct ReservedKey *) key)->name);
}

static const struct ReservedKey *find_reserved(const char *name) {
        /* Most variables are in capitals, most keys are not. */
        if (name[0] < '_' && name[0] != 'I')
                return NULL;
        return bsearch(name, reserved_keys, ELEMENTSOF(reserved_keys), sizeof reserved_keys[0], compare_reserved);
}

static void write_attribute(JsonWriter *w, const char *key, const pmd_attribute *a) {
        switch (a->type) {
        case PMD_ATTRIBUTE_STRING:
                json_writer_string(w, key, a->string);
                break;
        case PMD_ATTRIBUTE_STRV:
                json_writer_strv(w, key, a->strv);
                break;
        case PMD_ATTRIBUTE_BOOL:
                json_writer_bool(w, key, a->integer);
                break;
        case PMD_ATTRIBUTE_INT:
                json_writer_int(w, key, a->integer);
                break;
        case PMD_ATTRIBUTE_INTV:
                json_writer_begin(w, key, '[');
                for (size_t i = 0; i < a->n_integers; i++)
                        json_writer_int(w, NULL, a->integers[i]);
                json_writer_end(w, ']');
                break;
        }
}

static bool boolean_attribute(const pmd_process *p, const char *key, bool fallback) {
        const pmd_attribute *a = process_attribute(p, key);

        return a ? a->integer : fallback;
}

static int64_t integer_attribute(const pmd_process *p, const char *key, int64_t fallback) {
        const pmd_attribute *a = process_attribute(p, key);

        return a ? a->integer : fallback;
}

static const char *string_attribute(const pmd_process *p, const char *key, const char *fallback) {
        const pmd_attribute *a = process_attribute(p, key);

        return a && a->string ? a->string : fallback;
}

const char *instance_variable(const pmd_process *p) {
        return string_attribute(p, "instance_var", "NODE_APP_INSTANCE");
}

/* flat: beside the keys of pm2_env. */
static bool is_shown(const char *variable, const char *instance_var, bool flat) {
        const struct ReservedKey *k = find_reserved(variable);

        return (!k || (!flat && !k->in_child)) && !streq(variable, instance_var);
}

static void write_variables(JsonWriter *w, const pmd_process *p, bool flat) {
        const char *instance_var = instance_variable(p);

        STRV_FOREACH(e, p->environment) {
                char *equals = strchr(*e, '=');

                if (!equals)
                        continue;
                *equals = '\0';
                if (is_shown(*e, instance_var, flat))
                        json_writer_string(w, *e, equals + 1);
                *equals = '=';
        }
}

static bool has_variable(const pmd_process *p, const char *name) {
        size_t n = strlen(name);

        if (strchr(name, '='))
                return false;
        STRV_FOREACH(e, p->environment)
                if ((*e)[0] == name[0] && strncmp(*e, name, n) == 0 && (*e)[n] == '=')
                        return true;
        return false;
}

/* The variables of a process as they stand inside "env" and beside the keys: most of the list is made of them, and processes mostly have those of
 * the one before. */
typedef struct WrittenVariables {
        const pmd_process *process; /* NULL: none yet */
        JsonWriter nested, flat;
} WrittenVariables;

static void written_variables_done(WrittenVariables *v) {
        json_writer_done(&v->nested);
        json_writer_done(&v->flat);
}

static bool has_same_variables(const pmd_process *a, const pmd_process *b) {
        return streq(instance_variable(a), instance_variable(b)) &&
                (a->environment == b->environment || strv_equal(a->environment, b->environment));
}

static void update_variables(WrittenVariables *v, const pmd_process *p) {
        if (!v->process || !has_same_variables(v->process, p)) {
                json_writer_clear(&v->nested);
                write_variables(&v->nested, p, false);
                json_writer_clear(&v->flat);
                write_variables(&v->flat, p, true);
        }
        v->process = p;
}

static void write_empty(JsonWriter *w, const char *key, char open, char close) {
        json_writer_begin(w, key, open);
        json_writer_end(w, close);
}

/* pm2 puts the configuration of the app into "env", empty if there is none, unless a variable has its name. */
static void write_app_part(JsonWriter *w, const pmd_process *p) {
        const char *instance_var = instance_variable(p);

        if (!streq(p->name, instance_var) && !(has_variable(p, p->name) && is_shown(p->name, instance_var, false)))
                write_empty(w, p->name, '{', '}');
}

/* pm2 makes numbers of what looks like one. */
static void write_number_or_text(JsonWriter *w, const pmd_process *p, const char *attribute, const char *key) {
        const char *s = string_attribute(p, attribute, NULL);
        unsigned n;

        if (!s)
                return;
        if (safe_atou(s, &n) >= 0)
                json_writer_uint(w, key, n);
        else
                json_writer_string(w, key, s);
}

/* Of many processes most have the same one, and each look reads a file. */
static bool find_user(const char *user, uid_t *ret_uid, gid_t *ret_gid) {
        static char *last;
        static bool found;
        static uid_t uid;
        static gid_t gid;

        if (!streq_ptr(user, last)) {
                const struct passwd *pw = safe_atou(user, &uid) >= 0 ? getpwuid(uid) : getpwnam(user);

                found = pw;
                uid = pw ? pw->pw_uid : 0;
                gid = pw ? pw->pw_gid : 0;
                if (free_and_strdup(&last, user) < 0)
                        last = mfree(last);
        }
        *ret_uid = uid;
        *ret_gid = gid;
        return found;
}

/* As pm2: numbers, also where names were given, and the user's group where none was. */
static void write_ids(JsonWriter *w, const pmd_process *p) {
        const char *user = string_attribute(p, "user", NULL), *group = string_attribute(p, "group", NULL);
        const struct group *gr = NULL;
        gid_t gid, own_gid = 0;
        bool known = false;
        uid_t uid = 0;

        if (user)
                known = find_user(user, &uid, &own_gid);
        if (known)
                json_writer_uint(w, "uid", uid);
        else
                write_number_or_text(w, p, "user", "uid");

        if (group && safe_atou(group, &gid) < 0)
                gr = getgrnam(group);
        if (gr)
                json_writer_uint(w, "gid", gr->gr_gid);
        else if (known && !group)
                json_writer_uint(w, "gid", own_gid);
        else
                write_number_or_text(w, p, "group", "gid");
}

/* A list, although one name may be given as such. */
static void write_filter_env(JsonWriter *w, const pmd_process *p) {
        const pmd_attribute *a = process_attribute(p, "filter_env");

        if (a && a->type != PMD_ATTRIBUTE_STRING) {
                write_attribute(w, "filter_env", a);
                return;
        }
        json_writer_begin(w, "filter_env", '[');
        if (a)
                json_writer_string(w, NULL, a->string);
        json_writer_end(w, ']');
}

static void write_date_format(JsonWriter *w, const pmd_process *p) {
        const char *format = string_attribute(p, "log_date_format", NULL);

        if (format || boolean_attribute(p, "time", false))
                json_writer_string(w, "log_date_format", format ?: TIME_DATE_FORMAT);
}

/* 0 and below count from the number of CPUs. */
static int64_t count_instances(const pmd_process *p) {
        int64_t n = integer_attribute(p, "instances", 1);

        return n > 0 ? n : MAX(sysconf(_SC_NPROCESSORS_ONLN) + n, 1);
}

/* The paths, if not all below its directory is watched. */
static void write_watch(JsonWriter *w, const pmd_process *p) {
        const pmd_attribute *a = process_attribute(p, "watch");

        if (p->watching && a && a->type == PMD_ATTRIBUTE_STRV)
                write_attribute(w, "watch", a);
        else
                json_writer_bool(w, "watch", p->watching);
}

static void write_definition_part(JsonWriter *w, const pmd_process *p) {
        bool cluster = streq_ptr(p->exec_mode, "cluster_mode");

        for (size_t i = 0; i < ELEMENTSOF(given_options); i++) {
                const pmd_attribute *a = process_attribute(p, given_options[i][0]);

                if (a)
                        write_attribute(w, given_options[i][1], a);
        }

        write_ids(w, p);
        write_number_or_text(w, p, "cron_restart", "cron_restart");
        write_date_format(w, p);
        if (process_attribute(p, "merge_logs") || (!cluster && !process_attribute(p, "instances")))
                json_writer_bool(w, "merge_logs", boolean_attribute(p, "merge_logs", true));
        json_writer_bool(w, "vizion", boolean_attribute(p, "vizion", true));
        json_writer_bool(w, "autostart", boolean_attribute(p, "autostart", true));
        json_writer_bool(w, "autorestart", boolean_attribute(p, "autorestart", true));
        write_watch(w, p);
        json_writer_string(w, "instance_var", instance_variable(p));
        json_writer_bool(w, "pmx", true);
        json_writer_bool(w, "automation", true);
        json_writer_bool(w, "treekill", boolean_attribute(p, "treekill", true));
        json_writer_string(w, "username", p->user);
        json_writer_bool(w, "windowsHide", true);
        json_writer_int(w, "kill_retry_time", 100);
        json_writer_strv(w, "node_args", p->interpreter_args);
}

static void write_place_part(JsonWriter *w, const pmd_process *p) {
        const char *log = string_attribute(p, "log_file", NULL);

        json_writer_string(w, "pm_exec_path", p->executable);
        json_writer_string(w, "pm_cwd", p->cwd);
        json_writer_string(w, "exec_interpreter", p->interpreter);
        json_writer_string(w, "exec_mode", p->exec_mode);
        json_writer_int(w, "instances", count_instances(p));
        json_writer_string(w, "pm_out_log_path", p->out_log_path);
        json_writer_string(w, "pm_err_log_path", p->error_log_path);
        if (log)
                json_writer_string(w, "pm_log_path", log);
        json_writer_string(w, "pm_pid_path", p->pid_file);
        json_writer_bool(w, "km_link", false);
        json_writer_bool(w, "vizion_running", false);
        json_writer_uint(w, instance_variable(p), p->instance);
}

static void write_state_part(JsonWriter *w, const ProcessList *l, const pmd_process *p) {
        json_object *report = process_report(l, p->id);
        bool exited = p->exit_code >= 0 || p->exit_signal > 0;

        json_writer_string(w, "unique_id", p->unique_id);
        json_writer_string(w, "status", p->status);
        json_writer_uint(w, "pm_uptime", p->start_usec / USEC_PER_MSEC);
        write_report(w, report);
        json_object_put(report);
        write_empty(w, "axm_dynamic", '{', '}');
        json_writer_uint(w, "created_at", p->created_usec / USEC_PER_MSEC);
        json_writer_uint(w, "pm_id", p->id);
        json_writer_uint(w, "restart_time", p->n_restarts);
        json_writer_uint(w, "unstable_restarts", p->unstable_restarts);
        json_writer_string(w, "version", isempty(p->version) ? "N/A" : p->version);
        if (!exited)
                return;
        json_writer_int(w, "exit_code", p->exit_signal > 0 ? 128 + p->exit_signal : p->exit_code);
        if (!process_attribute(p, "exp_backoff_restart_delay"))
                json_writer_int(w, "prev_restart_delay", 0);
}

static void write_pm2_process(JsonWriter *w, const ProcessList *l, const pmd_process *p, WrittenVariables *v) {
        bool online = process_is_online(p);

        update_variables(v, p);
        json_writer_begin(w, NULL, '{');
        json_writer_uint(w, "pid", p->pid);
        json_writer_string(w, "name", p->name);

        json_writer_begin(w, "pm2_env", '{');
        json_writer_string(w, "name", p->name);
        write_filter_env(w, p);
        json_writer_string(w, "namespace", p->name_space);
        if (!strv_isempty(p->args))
                json_writer_strv(w, "args", p->args);
        json_writer_begin(w, "env", '{');
        json_writer_members(w, &v->nested);
        write_app_part(w, p);
        json_writer_string(w, "unique_id", p->unique_id);
        json_writer_end(w, '}');
        write_definition_part(w, p);
        write_place_part(w, p);
        json_writer_members(w, &v->flat);
        write_state_part(w, l, p);
        json_writer_end(w, '}');

        json_writer_uint(w, "pm_id", p->id);
        json_writer_begin(w, "monit", '{');
        json_writer_uint(w, "memory", online && p->memory != UINT64_MAX ? p->memory : 0);
        json_writer_tenths(w, "cpu", online ? p->cpu_percent : 0);
        json_writer_end(w, '}');
        json_writer_end(w, '}');
}

void write_pm2_processes(JsonWriter *w, const ProcessList *l) {
        _cleanup_(written_variables_done) WrittenVariables v = {};

        json_writer_begin(w, NULL, '[');
        for (size_t i = 0; i < l->n; i++)
                write_pm2_process(w, l, l->items + i, &v);
        json_writer_end(w, ']');
}

void json_writer_known(JsonWriter *w, const char *key, uint64_t value) {
        if (value == UINT64_MAX)
                json_writer_string(w, key, NULL);
        else
                json_writer_uint(w, key, value);
}

static void write_process(JsonWriter *w, const pmd_process *p, write_more_t more, void *userdata) {
        json_writer_begin(w, NULL, '{');
        json_writer_uint(w, "id", p->id);
        json_writer_string(w, "name", p->name);
        json_writer_string(w, "namespace", p->name_space);
        json_writer_uint(w, "instance", p->instance);
        json_writer_string(w, "status", p->status);
        json_writer_uint(w, "pid", p->pid);
        json_writer_string(w, "exec_mode", p->exec_mode);
        json_writer_uint(w, "start_timestamp", p->start_usec);
        json_writer_uint(w, "created_timestamp", p->created_usec);
        json_writer_uint(w, "n_restarts", p->n_restarts);
        json_writer_uint(w, "unstable_restarts", p->unstable_restarts);
        json_writer_begin(w, "last_exit", '{');
        json_writer_int(w, "code", p->exit_code);
        json_writer_int(w, "signal", p->exit_signal);
        json_writer_string(w, "reason", p->exit_reason);
        json_writer_end(w, '}');
        json_writer_known(w, "memory_current", p->memory);
        json_writer_known(w, "cpu_usage_nsec", p->cpu_nsec);
        json_writer_tenths(w, "cpu_percent", p->cpu_percent);
        json_writer_known(w, "tasks_current", p->tasks);
        json_writer_string(w, "user", p->user);
        json_writer_bool(w, "watching", p->watching);
        json_writer_string(w, "version", p->version);
        json_writer_string(w, "unit", p->unit);
        json_writer_string(w, "executable", p->executable);
        json_writer_string(w, "interpreter", p->interpreter);
        json_writer_strv(w, "interpreter_arguments", p->interpreter_args);
        json_writer_strv(w, "arguments", p->args);
        json_writer_string(w, "working_directory", p->cwd);
        json_writer_string(w, "out_log_path", p->out_log_path);
        json_writer_string(w, "error_log_path", p->error_log_path);
        json_writer_string(w, "pid_file", p->pid_file);
        json_writer_string(w, "unique_id", p->unique_id);
        json_writer_begin(w, "definition", '{');
        for (size_t i = 0; i < p->n_attributes; i++)
                write_attribute(w, p->attributes[i].key, p->attributes + i);
        json_writer_end(w, '}');
        if (more)
                more(w, p, userdata);
        json_writer_end(w, '}');
}

void write_processes(JsonWriter *w, const ProcessList *l, write_more_t more, void *userdata) {
        json_writer_begin(w, NULL, '{');
        json_writer_int(w, "schema", 1);
        json_writer_begin(w, "processes", '[');
        for (size_t i = 0; i < l->n; i++)
                write_process(w, l->items + i, more, userdata);
        json_writer_end(w, ']');
        json_writer_end(w, '}');
}
