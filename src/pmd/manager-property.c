/* SPDX-License-Identifier: MIT */
#include "pmd/manager-property.h"

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What is looked at when it matters, so that a change is all there is to do; limits, which the unit is told. */
static const char *const changeable[] = {
        "allowed_cpus", "cpu_quota", "cpu_weight", "io_weight", "memory_high", "memory_max", "tasks_max",
        "autorestart", "exp_backoff_restart_delay", "kill_signal", "kill_timeout", "listen_timeout", "max_memory_restart", "max_restarts", "min_uptime",
        "restart_delay", "stop_exit_codes", "treekill", NULL,
};

static int check_changeable(json_object *properties, char **reterr) {
        json_object_object_foreach(properties, key, value) {
                const AppOption *o = app_option_find(key);

                (void) value;
                if (!o || strv_contains((char *const *) changeable, o->key))
                        continue;
                *reterr = strprintf("%s: it cannot be changed while the app runs", o->key);
                return *reterr ? -EINVAL : -ENOMEM;
        }
        return 0;
}

/* The processes of an app, and apps with their processes, share a definition; so do its successors. */
typedef struct Change {
        AppConfig *before, *after;
} Change;

typedef struct Changes {
        Change *items;
        size_t n, n_allocated;
} Changes;

static void changes_done(Changes *c) {
        for (size_t i = 0; i < c->n; i++) {
                app_config_unref(c->items[i].before);
                app_config_unref(c->items[i].after);
        }
        free(c->items);
}

static AppConfig *find_change(const Changes *c, const AppConfig *before) {
        for (size_t i = c->n; i > 0; i--) /* the last one is the most likely */
                if (c->items[i - 1].before == before)
                        return c->items[i - 1].after;
        return NULL;
}

static int add_change(Changes *c, AppConfig *before, json_object *properties, char **reterr) {
        _cleanup_app_config_unref_ AppConfig *after = NULL;
        int r;

        if (find_change(c, before))
                return 0;

        r = app_config_copy(before, &after);
        if (r < 0)
                return r;
        r = app_config_set_all(after, properties, reterr);
        if (r < 0)
                return r;
        if (!GREEDY_REALLOC(c->items, c->n_allocated, c->n + 1))
                return -ENOMEM;
        c->items[c->n++] = (Change) { app_config_ref(before), TAKE_PTR(after) };
        return 0;
}

static void change_process(const Changes *c, Process *p) {
        process_set_config(p, find_change(c, p->config));
        if (p->next_config)
                process_change_config(p, find_change(c, p->next_config));
}

/* The definition is for processes to come too, so it changes only if all that there are have changed. */
static bool all_have_changed(const Changes *c, const App *a) {
        LIST_FOREACH(siblings, p, a->processes) {
                bool changed = false;

                for (size_t i = 0; i < c->n && !changed; i++)
                        changed = c->items[i].after == p->config;
                if (!changed)
                        return false;
        }
        return true;
}

static void change_app(const Changes *c, App *a) {
        AppConfig *after = find_change(c, a->config);

        if (!after || !all_have_changed(c, a))
                return;
        app_config_unref(a->config);
        a->config = app_config_ref(after);
}

int manager_set_properties(Manager *m, json_object *properties, Process *const *processes, size_t n, char **reterr) {
        _cleanup_(changes_done) Changes changes = {};
        int r;

        r = check_changeable(properties, reterr);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = add_change(&changes, processes[i]->config, properties, reterr);
                if (r >= 0)
                        r = add_change(&changes, processes[i]->app->config, properties, reterr);
                if (r >= 0 && processes[i]->next_config)
                        r = add_change(&changes, processes[i]->next_config, properties, reterr);
        }
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++)
                change_process(&changes, processes[i]);
        for (size_t i = 0; i < n; i++)
                change_app(&changes, processes[i]->app);
        return 0;
}
