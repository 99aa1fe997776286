/* SPDX-License-Identifier: MIT */
#include "pmd/manager-definition.h"

#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/process.h"
#include "shared/env-util.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static const AppConfig *latest_config(const Process *p) {
        return p->next_config ?: p->config;
}

/* The variables that the definition itself sets, with their values; the others are of the one who started it. */
static int get_own_env(const AppConfig *c, char ***ret) {
        _cleanup_strv_free_ char **own = NULL;
        int r;

        STRV_FOREACH(name, c->own_env) {
                const char *value = strv_env_get(c->env, *name);

                if (!value)
                        continue;
                r = strv_env_set(&own, *name, value);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(own);
        return 0;
}

/* The environment of the overlay is in c->env already. */
static int merge_env(AppConfig *c, const AppConfig *old, char **reterr) {
        _cleanup_strv_free_ char **caller = NULL, **own = NULL;
        int r;

        r = get_own_env(old, &own);
        if (r < 0)
                return r;
        caller = c->env;
        c->env = TAKE_PTR(own);
        return app_config_make_env(c, caller, NULL, reterr);
}

static int refuse_name(const char *app, const char *name, char **reterr) {
        _cleanup_free_ char *escaped = string_escape_cc(name);

        *reterr = strprintf("name: an app cannot be given another name, '%s'; delete it and start it anew", strempty(escaped));
        return *reterr ? -EINVAL : -ENOMEM;
}

static int derive_config(const AppConfig *old, const char *app, json_object *overlay, bool replace, AppConfig **ret,
                          char **reterr) {
        _cleanup_app_config_unref_ AppConfig *c = NULL;
        int r;

        r = replace ? app_config_new(&c) : app_config_copy(old, &c);
        if (r < 0)
                return r;
        r = app_config_set_all(c, overlay, reterr);
        if (r < 0)
                return r;

        if (!replace && json_object_object_get_ex(overlay, "env", NULL)) {
                r = merge_env(c, old, reterr);
                if (r < 0)
                        return r;
        }
        /* A name that was made of the script does not follow it. */
        if (!app_config_has(c, "name")) {
                _cleanup_(json_object_putp) json_object *name = json_object_new_string(app);

                r = name ? app_config_set(c, "name", name, reterr) : -ENOMEM;
                if (r < 0)
                        return r;
        }

        r = app_config_finish(c, NULL, reterr);
        if (r < 0)
                return r;
        if (!streq(c->name, app))
                return refuse_name(app, c->name, reterr);

        *ret = TAKE_PTR(c);
        return 0;
}

AppConfig **manager_free_configs(AppConfig **configs, size_t n) {
        for (size_t i = 0; configs && i < n; i++)
                app_config_unref(configs[i]);
        return mfree(configs);
}

/* What processes before it that had the same definition have got; they stand beside each other mostly. */
static AppConfig *find_derived(Process *const *processes, AppConfig *const *configs, size_t n) {
        for (size_t i = n; i > 0; i--)
                if (latest_config(processes[i - 1]) == latest_config(processes[n]))
                        return configs[i - 1];
        return NULL;
}

static int add_faults(char **faults, const char *app, const char *text, bool many_apps) {
        _cleanup_strv_free_ char **lines = strv_split(strempty(text), "\n");

        if (!lines)
                return -ENOMEM;
        STRV_FOREACH(line, lines) {
                char *joined = strjoin(strempty(*faults), *faults ? "\n" : "", many_apps ? app : "", many_apps ? ": " : "", *line);

                if (!joined)
                        return -ENOMEM;
                free(*faults);
                *faults = joined;
        }
        return 0;
}

int manager_derive_configs(Process *const *processes, size_t n, json_object *overlay, bool replace, AppConfig ***ret,
                           char **reterr) {
        AppConfig **configs = new0(AppConfig *, n);
        _cleanup_free_ char *faults = NULL;
        int r = 0, result = 0;

        if (!configs)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                const App *a = processes[i]->app;
                _cleanup_free_ char *text = NULL;

                configs[i] = app_config_ref(find_derived(processes, configs, i));
                if (configs[i])
                        continue;
                r = derive_config(latest_config(processes[i]), a->name, overlay, replace, configs + i, &text);
                if (r == -ENOMEM)
                        break;
                if (r >= 0)
                        continue;
                RET_GATHER(result, r);
                if (i > 0 && processes[i - 1]->app == a)
                        continue; /* it would say the same again */
                r = add_faults(&faults, a->name, text, a != processes[0]->app || a != processes[n - 1]->app);
                if (r < 0)
                        break;
        }

        if (r == -ENOMEM || result < 0) {
                manager_free_configs(configs, n);
                *reterr = TAKE_PTR(faults);
                return r == -ENOMEM ? r : result;
        }

        *ret = configs;
        return 0;
}

void manager_change_configs(Process *const *processes, size_t n, AppConfig *const *configs, bool replace) {
        for (size_t i = 0; i < n; i++) {
                App *a = processes[i]->app;

                process_change_config(processes[i], configs[i]);
                if (replace)
                        app_triggers_follow_definition(processes[i]);
                if (a->config == configs[i])
                        continue;
                app_config_unref(a->config);
                a->config = app_config_ref(configs[i]);
        }
}

int manager_update_versions(Process *const *processes, size_t n) {
        _cleanup_app_config_unref_ AppConfig *before = NULL, *after = NULL;
        int r;

        for (size_t i = 0; i < n; i++) {
                /* Those that share a definition stand beside each other mostly. */
                if (latest_config(processes[i]) != before) {
                        app_config_unref(before);
                        before = app_config_ref(processes[i]->next_config ?: processes[i]->config);
                        after = app_config_unref(after);
                        r = app_config_update_version(before, &after);
                        if (r < 0)
                                return r;
                }
                if (after)
                        manager_change_configs(processes + i, 1, &after, false);
        }
        return 0;
}
