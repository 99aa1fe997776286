/* SPDX-License-Identifier: MIT */
#include "shared/settings.h"

#include "shared/app-option.h"
#include "shared/env-util.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

/* A second and all apps together; more than any machine can do. */
#define RESTARTS_MAX 10000U

static const Setting table[] = {
        { "LogLevel", NULL, "info", "What pmd logs of itself: emerg, alert, crit, err, warning, notice, info or debug" },
        { "LogTarget", NULL, "auto", "Where the lines of apps go that say nothing else: auto, journal or file; from the next start of pmd on" },
        { "LogMaxSize", "log_max_size", "10M", "Rotate log files that would grow larger; 0: never" },
        { "LogRetain", "log_retain", "10", "Rotated log files that are kept" },
        { "LogCompress", "log_compress", "no", "Compress rotated log files" },
        { "LogRotateInterval", "log_rotate_interval", "0", "Rotate log files at these times too, a cron expression; 0: never" },
        { "LogOverflow", "log_overflow", "auto", "When a log takes no more lines: auto, block or drop" },
        { "KillSignal", "kill_signal", "SIGINT", "Signal that asks an app to finish" },
        { "KillTimeout", "kill_timeout", "1600", "Time between the signal that asks and SIGKILL" },
        { "ListenTimeout", "listen_timeout", "3000", "Time to wait until an app with wait_ready is ready" },
        { "MinUptime", "min_uptime", "1000", "A process that ran for less counts as unstable" },
        { "MaxRestarts", "max_restarts", "16", "Give up after so many unstable restarts" },
        { "RestartDelay", "restart_delay", "0", "Wait before each restart" },
        { "ExpBackoffRestartDelay", "exp_backoff_restart_delay", "0", "Wait before a restart, longer each time" },
        { "RestartBudget", NULL, "30", "Automatic restarts a second of all apps together; the rest waits its turn. 0: no limit" },
        { "RestartBudgetBurst", NULL, "200", "Automatic restarts at once, after a time with fewer than that" },
};

const Setting *settings_table(size_t *ret_n) {
        *ret_n = ELEMENTSOF(table);
        return table;
}

const Setting *setting_find(const char *key) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].key, key))
                        return table + i;
        return NULL;
}

static int set_default_of(const Setting *s, const char *value, AppConfig *config, char **reterr) {
        _cleanup_(json_object_putp) json_object *v = json_object_new_string(value);
        OptionSet set = config->set;
        int r;

        if (!v)
                return -ENOMEM;
        r = app_config_set(config, s->option, v, reterr);
        config->set = set;
        return r;
}

static int check_option(const Setting *s, const char *value, char **reterr) {
        _cleanup_app_config_unref_ AppConfig *scratch = NULL;
        _cleanup_free_ char *fault = NULL;
        int r;

        r = app_config_new(&scratch);
        if (r < 0)
                return r;
        r = set_default_of(s, value, scratch, &fault);
        if (r == -ENOMEM || r >= 0)
                return r;
        /* The fault begins with the name of the option. */
        return config_fault(reterr, -EINVAL, "%s: %s", s->key, fault ? fault + strlen(s->option) + STRLEN(": ") : strerror(-r));
}

static bool is_restart_budget(const Setting *s) {
        return startswith(s->key, "RestartBudget");
}

int setting_check(const Setting *s, const char *value, char **reterr) {
        unsigned n;

        if (s->option)
                return check_option(s, value, reterr);
        if (streq(s->key, "LogLevel") && log_level_from_string(value) < 0)
                return config_fault(reterr, -EINVAL, "%s: '%s' is no log level", s->key, value);
        if (streq(s->key, "LogTarget") && !IN_SET(log_target_from_string(value), LOG_TARGET_AUTO, LOG_TARGET_JOURNAL, LOG_TARGET_FILE))
                return config_fault(reterr, -EINVAL, "%s: '%s' is none of auto, journal and file", s->key, value);
        if (is_restart_budget(s) && (safe_atou(value, &n) < 0 || n > RESTARTS_MAX))
                return config_fault(reterr, -EINVAL, "%s: '%s' is not between 0 and %u", s->key, value, RESTARTS_MAX);
        return 0;
}

static int add_line(char **faults, const char *line) {
        char *joined = strjoin(strempty(*faults), *faults ? "\n" : "", line);

        if (!joined)
                return -ENOMEM;
        free(*faults);
        *faults = joined;
        return 0;
}

static bool section_is_module(const char *section) {
        const char *name = startswith(section, SETTINGS_MODULE_PREFIX);

        return name ? *name != 0 : streq(section, SETTINGS_MODULE_NONE);
}

/* 1: it is good, 0: it is to be left out. */
static int check_entry(const ConfEntry *e, char **faults) {
        _cleanup_free_ char *fault = NULL;
        const Setting *s;
        int r;

        if (section_is_module(e->section))
                return 1;
        if (!streq(e->section, SETTINGS_SECTION))
                (void) config_fault(&fault, -EINVAL, "[%s]: there is no such section, ignoring %s=", e->section, e->key);
        else if (!(s = setting_find(e->key)))
                (void) config_fault(&fault, -EINVAL, "%s: there is no such setting, ignoring it", e->key);
        else {
                r = setting_check(s, e->value, &fault);
                if (r == -ENOMEM || r >= 0)
                        return r < 0 ? r : 1;
        }
        return fault ? add_line(faults, fault) : -ENOMEM;
}

int settings_load(const Instance *i, Conf *ret, char **ret_faults) {
        _cleanup_free_ char *faults = NULL;
        _cleanup_conf_ Conf all = {}, good = {};
        int r;

        r = conf_load(&all, i->conf_dirs, SETTINGS_FILE, &faults);
        if (r < 0)
                return r;

        for (size_t k = 0; k < all.n; k++) {
                const ConfEntry *e = all.entries + k;

                r = check_entry(e, &faults);
                if (r > 0)
                        r = conf_set(&good, e->section, e->key, e->value);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_GENERIC(good, (Conf) {});
        *ret_faults = TAKE_PTR(faults);
        return 0;
}

const char *settings_get(const Conf *c, const char *key) {
        const char *value = conf_get(c, SETTINGS_SECTION, key);
        const Setting *s = setting_find(key);

        return value ?: s ? s->default_value : NULL;
}

int settings_apply(const Conf *c, AppConfig *config) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const char *value = conf_get(c, SETTINGS_SECTION, table[i].key);
                int r;

                if (!value || !table[i].option || app_config_has(config, table[i].option))
                        continue;
                r = set_default_of(table + i, value, config, NULL);
                if (r == -ENOMEM)
                        return r;
        }
        return 0;
}

bool settings_have_environment(const Conf *c, const char *name) {
        for (size_t i = 0; i < c->n; i++) {
                const char *module = startswith(c->entries[i].section, SETTINGS_MODULE_PREFIX);

                if (module && streq(module, name))
                        return true;
        }
        return false;
}

int settings_add_environment(const Conf *c, const char *name, char ***env) {
        _cleanup_(json_object_putp) json_object *all = NULL;
        int r;

        for (size_t i = 0; i < c->n; i++) {
                const ConfEntry *e = c->entries + i;
                const char *module = startswith(e->section, SETTINGS_MODULE_PREFIX);
                json_object *value;

                if (!module || !streq(module, name))
                        continue;
                r = strv_env_set(env, e->key, e->value);
                if (r == -ENOMEM)
                        return r;

                if (!all)
                        all = json_object_new_object();
                value = json_object_new_string(e->value);
                if (!all || !value || json_object_object_add(all, e->key, value) < 0) {
                        json_object_put(value);
                        return -ENOMEM;
                }
        }
        if (!all)
                return 0;

        r = strv_env_set(env, name, json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        return r == -ENOMEM ? r : 0;
}
