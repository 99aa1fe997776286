/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/credentials.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/env-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What a service manager or a Node parent told the caller, or pmd, about itself; to the app it would be a lie. */
static const char *const foreign[] = {
        "FDSTORE", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "MAINPID", "MANAGERPID",
        "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID",
        "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID", "WATCHDOG_PID", "WATCHDOG_USEC",
};

/* Gathers the first error, so that a list of assignments reads as a list. */
static void set(char ***env, int *r, const char *name, const char *value) {
        if (*r >= 0 && value)
                *r = strv_env_set(env, name, value);
}

static void set_uint(char ***env, int *r, const char *name, uint64_t value) {
        char buf[24];

        (void) snprintf(buf, sizeof buf, "%" PRIu64, value);
        set(env, r, name, buf);
}

static void set_bool(char ***env, int *r, const char *name, bool value) {
        set(env, r, name, value ? "true" : "false");
}

static void set_user(char ***env, int *r, const Credentials *c) {
        if (!c || !c->user)
                return;
        set(env, r, "HOME", c->home);
        set(env, r, "USER", c->user);
        set(env, r, "LOGNAME", c->user);
        set(env, r, "SHELL", c->shell);
}

/* The variables by which programs know pm2, with pm2's names and spellings. */
static int set_pm2(const Process *p, char ***env) {
        _cleanup_free_ char *out = NULL, *err = NULL, *pid_file = NULL;
        const AppConfig *c = p->config;
        int r;

        r = process_log_path(p, LOG_STREAM_OUT, &out);
        if (r >= 0)
                r = process_log_path(p, LOG_STREAM_ERR, &err);
        if (r >= 0)
                r = process_pid_file(p, &pid_file);

        set(env, &r, "name", c->name);
        set(env, &r, "namespace", c->name_space);
        set(env, &r, "unique_id", p->unique_id);
        set(env, &r, "pm_cwd", c->cwd);
        set(env, &r, "pm_exec_path", c->exec_path);
        set(env, &r, "pm_out_log_path", out ?: "/dev/null");
        set(env, &r, "pm_err_log_path", err ?: "/dev/null");
        set(env, &r, "pm_pid_path", pid_file);
        set(env, &r, "exec_interpreter", c->interpreter);
        set(env, &r, "exec_mode", exec_mode_to_string(c->exec_mode));
        set(env, &r, "instance_var", c->instance_var);
        set(env, &r, "username", p->credentials ? p->credentials->user : NULL);
        set(env, &r, "status", "launching");
        set(env, &r, "km_link", "false");
        set(env, &r, "vizion_running", "false");
        set(env, &r, "pmx", "true");
        set(env, &r, "automation", "true");
        set(env, &r, "windowsHide", "true");
        set_bool(env, &r, "vizion", c->vizion);
        set_bool(env, &r, "autostart", c->autostart);
        set_bool(env, &r, "autorestart", c->autorestart);
        set_bool(env, &r, "treekill", c->treekill);
        set_bool(env, &r, "merge_logs", c->merge_logs);
        set_bool(env, &r, "watch", c->watch);
        set_uint(env, &r, "kill_retry_time", c->kill_retry_time / USEC_PER_MSEC);
        set(env, &r, "cron_restart", c->cron_restart);
        if (c->max_memory_restart > 0)
                set_uint(env, &r, "max_memory_restart", c->max_memory_restart);
        set_uint(env, &r, "pm_id", p->id);
        set_uint(env, &r, "instances", (uint64_t) c->instances);
        set_uint(env, &r, "restart_time", p->n_restarts);
        set_uint(env, &r, "unstable_restarts", p->history.unstable_restarts);
        set_uint(env, &r, "created_at", p->created_realtime / USEC_PER_MSEC);
        set_uint(env, &r, "pm_uptime", p->started_realtime / USEC_PER_MSEC);
        set_uint(env, &r, c->instance_var, p->instance);
        return r;
}

static int process_shared_environment(const Manager *m, const AppConfig *config, char ***ret) {
        _cleanup_strv_free_ char **env = NULL;
        int r = 0;

        env = strv_copy(config->env);
        if (!env)
                return -ENOMEM;

        for (size_t i = 0; i < ELEMENTSOF(foreign); i++)
                strv_env_unset(env, foreign[i]);

        if (m->instance->scope == INSTANCE_PRIVATE)
                set(&env, &r, "PM2_HOME", m->instance->home);
        set(&env, &r, "PM2_USAGE", "CLI");
        if (r >= 0)
                r = settings_add_environment(&m->settings, config->name, &env);
        if (config->port > 0)
                set_uint(&env, &r, "PORT", config->port);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(env);
        return 0;
}

/* Its value is that of the first instance. */
static void increment(char ***env, int *r, const char *name, unsigned instance) {
        uint64_t first;

        if (!name)
                return;
        if (safe_atou64(strempty(strv_env_get(*env, name)), &first) < 0)
                first = 0;
        set_uint(env, r, name, first + instance);
}

static void set_notify(const Process *p, char ***env, int *r) {
        if (!p->notify)
                return;
        set(env, r, "NOTIFY_SOCKET", notify_socket_get_path(p->notify));
        if (p->config->watchdog_timeout == 0)
                return;
        set_uint(env, r, "WATCHDOG_USEC", p->config->watchdog_timeout);
        set(env, r, "WATCHDOG_PID", "0000000000"); /* the child puts in its own */
}

int process_definition_environment(const Process *p, char ***ret) {
        _cleanup_strv_free_ char **env = NULL;
        int r;

        r = process_shared_environment(p->manager, p->config, &env);
        if (r < 0)
                return r;
        increment(&env, &r, p->config->increment_var, p->instance);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(env);
        return 0;
}

bool process_shares_environment(const Process *a, const Process *b) {
        const AppConfig *c = a->config, *d = b->config;

        if (c->increment_var || d->increment_var)
                return false;
        if (c == d)
                return true;
        /* Apps of one file, which had one caller. */
        return c->port == d->port && !settings_have_environment(&a->manager->settings, c->name) &&
                !settings_have_environment(&b->manager->settings, d->name) && strv_equal(c->env, d->env);
}

int process_build_environment(const Process *p, char ***ret) {
        _cleanup_strv_free_ char **env = NULL;
        int r;

        r = process_definition_environment(p, &env);
        if (r < 0)
                return r;

        r = set_pm2(p, &env);
        set_user(&env, &r, p->credentials);
        set_notify(p, &env, &r);
        set(&env, &r, "INVOCATION_ID", "00000000000000000000000000000000"); /* the gate brings the real one */
        if (r < 0)
                return r;

        *ret = TAKE_PTR(env);
        return 0;
}
