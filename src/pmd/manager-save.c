/* SPDX-License-Identifier: MIT */
#include "pmd/manager-save.h"

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/store.h"
#include "shared/app-config-saved.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define INSTANCE_MAX 65535

void restored_done(Restored *r) {
        free(r->job_ids);
        free(r->process_ids);
        strv_free(r->skipped);
        strv_free(r->warnings);
        *r = (Restored) {};
}

char *manager_saved_path(const Manager *m) {
        return strjoin(m->instance->state_dir, "/saved.json");
}

/* ---- saving ---- */

static int append_process(json_object *array, const Process *p) {
        json_object *o = json_object_new_object();
        int r;

        r = json_append(array, o);
        if (r < 0)
                return r;
        r = json_add(o, "instance", json_object_new_int64(p->instance));
        if (r < 0)
                return r;
        return json_add(o, "goal", json_object_new_string(process_goal_to_string(p->goal)));
}

/* The processes of one app and definition that stand beside each other are one entry: so their order is kept, and a definition
 * stands once, mostly. *i is left at the one behind them. */
static int append_entry(json_object *apps, const Manager *m, size_t *i) {
        const Process *first = m->processes[*i];
        json_object *entry, *processes = json_object_new_array();
        int r;

        r = app_config_save(first->config, &entry);
        if (r < 0) {
                json_object_put(processes);
                return r;
        }
        r = json_append(apps, entry);
        if (r < 0) {
                json_object_put(processes);
                return r;
        }
        r = json_add(entry, "processes", processes);
        if (r >= 0)
                r = json_add(entry, "owner", json_object_new_int64((int64_t) first->app->owner));

        for (; r >= 0 && *i < m->n_processes; (*i)++) {
                const Process *p = m->processes[*i];

                if (p->app != first->app || p->config != first->config)
                        break;
                r = append_process(processes, p);
        }
        return r;
}

static int save_list(Manager *m, json_object *apps, store_written_t done, void *userdata) {
        _cleanup_free_ char *path = manager_saved_path(m);
        int r;

        if (!path)
                return -ENOMEM;
        if (!m->store_writer) {
                r = store_writer_new(m->event, &m->store_writer);
                if (r < 0)
                        return r;
        }
        return store_writer_save(m->store_writer, path, apps, done, userdata);
}

int manager_save(Manager *m, bool force, store_written_t done, void *userdata) {
        _cleanup_(json_object_putp) json_object *apps = json_object_new_array();
        int r;

        if (m->exiting)
                return -ESHUTDOWN;
        if (m->n_processes == 0 && !force)
                return -ENODATA;
        if (!apps)
                return -ENOMEM;

        for (size_t i = 0; i < m->n_processes;) {
                r = append_entry(apps, m, &i);
                if (r < 0)
                        return r;
        }

        return save_list(m, apps, done, userdata);
}

int manager_clear_saved(Manager *m, store_written_t done, void *userdata) {
        _cleanup_(json_object_putp) json_object *apps = json_object_new_array();

        return apps ? save_list(m, apps, done, userdata) : -ENOMEM;
}

/* ---- restoring ---- */

typedef struct Restore {
        Manager *manager;
        unsigned first_id; /* processes from here on are of this restore */
        Process **up;      /* to be started */
        size_t n_up, n_up_allocated;
        Restored result;
} Restore;

static void restore_done(Restore *r) {
        free(r->up);
        restored_done(&r->result);
}

static int warn(Restore *restore, const char *name, const char *text) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n");

        if (!lines)
                return -ENOMEM;
        STRV_FOREACH(line, lines) {
                char *s = isempty(name) ? strdup(*line) : strjoin(name, ": ", *line);

                if (!s || strv_consume(&restore->result.warnings, s) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* For messages about an entry that is of no use. */
static const char *entry_name(json_object *entry) {
        json_object *resolved = json_get(entry, "resolved", json_type_object);
        const char *name = json_get_string(resolved, "name");

        return name ?: "an app";
}

static bool is_taken(const Restore *restore, const App *a) {
        return !a->processes || a->processes->id < restore->first_id;
}

/* 1: *ret is to be filled. 0: there is an app of this name. */
static int get_app(Restore *restore, AppConfig *config, uid_t owner, App **ret) {
        App *a = manager_get_app(restore->manager, config->name);
        int r;

        if (a && is_taken(restore, a)) {
                if (strv_contains(restore->result.skipped, config->name))
                        return 0;
                r = strv_extend(&restore->result.skipped, config->name);
                return r < 0 ? r : 0;
        }
        if (a) {
                app_config_unref(a->config);
                a->config = app_config_ref(config);
        } else {
                r = manager_make_app(restore->manager, config, owner, &a);
                if (r < 0)
                        return r;
        }
        *ret = a;
        return 1;
}

static int restore_process(Restore *restore, App *a, AppConfig *config, json_object *saved, int error, const char *fault) {
        json_object *instance = json_get(saved, "instance", json_type_int);
        ProcessGoal goal = process_goal_from_string(json_get_string(saved, "goal"));
        Restored *result = &restore->result;
        Process *p;
        int r;

        if (!instance || json_object_get_int64(instance) < 0 || json_object_get_int64(instance) > INSTANCE_MAX || goal < 0)
                return -EINVAL;
        if (!GREEDY_REALLOC(restore->up, restore->n_up_allocated, restore->n_up + 1) ||
            !GREEDY_REALLOC(result->process_ids, result->n_processes_allocated, result->n_processes + 1))
                return -ENOMEM;

        r = app_restore_process(a, config, (unsigned) json_object_get_int64(instance), error, fault, &p);
        if (r < 0)
                return r;

        result->process_ids[result->n_processes++] = p->id;
        if (goal == PROCESS_UP)
                restore->up[restore->n_up++] = p;
        return 0;
}

static int restore_processes(Restore *restore, json_object *entry, AppConfig *config, int error, const char *fault) {
        json_object *processes = json_get(entry, "processes", json_type_array), *owner = json_get(entry, "owner", json_type_int);
        App *a;
        int r;

        if (!processes || !owner || json_object_array_length(processes) == 0)
                return warn(restore, config->name, "it is left out, its entry says nothing of processes");

        r = get_app(restore, config, (uid_t) json_object_get_int64(owner), &a);
        if (r <= 0)
                return r;

        for (size_t i = 0; i < json_object_array_length(processes); i++) {
                r = restore_process(restore, a, config, json_object_array_get_idx(processes, i), error, fault);
                if (r == -EINVAL || r == -EEXIST)
                        r = warn(restore, config->name, "a process of it is left out, its entry makes no sense");
                if (r < 0)
                        break;
        }

        if (!a->processes)
                manager_remove_app(restore->manager, a);
        return r;
}

static int restore_entry(Restore *restore, json_object *entry) {
        _cleanup_free_ char *fault = NULL, *notes = NULL, *unusable = NULL;
        _cleanup_app_config_unref_ AppConfig *config = NULL;
        int r, error;

        r = app_config_restore(entry, &config, &error, &fault, &notes, &unusable);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                _cleanup_free_ char *text = strjoin("it is left out: ", unusable ?: strerror(-r));

                return text ? warn(restore, entry_name(entry), text) : -ENOMEM;
        }

        r = settings_apply(&restore->manager->settings, config);
        if (r < 0)
                return r;
        if (notes) {
                r = warn(restore, config->name, notes);
                if (r < 0)
                        return r;
        }
        if (error < 0) {
                r = warn(restore, config->name, fault ?: strerror(-error));
                if (r < 0)
                        return r;
        }
        return restore_processes(restore, entry, config, error, fault ?: strerror(-error));
}

static int restore_list(Restore *restore, json_object *apps) {
        int r, result = 0;

        for (size_t i = 0; i < json_object_array_length(apps); i++) {
                r = restore_entry(restore, json_object_array_get_idx(apps, i));
                if (r < 0) {
                        /* What has been made shall be started all the same. */
                        RET_GATHER(result, r);
                        break;
                }
        }

        r = manager_enqueue_jobs(restore->manager, JOB_START, restore->up, restore->n_up, &restore->result.job_ids,
                                 &restore->result.n_jobs);
        RET_GATHER(result, r);
        return result;
}

static int load_list(Restore *restore, json_object **ret) {
        _cleanup_free_ char *path = manager_saved_path(restore->manager), *warnings = NULL;
        int r, k;

        if (!path)
                return -ENOMEM;
        r = store_load(path, ret, &warnings);
        if (warnings) {
                k = warn(restore, NULL, warnings);
                if (k < 0)
                        return k;
        }
        return r;
}

int manager_resurrect(Manager *m, Restored *ret) {
        _cleanup_(json_object_putp) json_object *apps = NULL;
        _cleanup_(restore_done) Restore restore = { .manager = m, .first_id = m->next_process_id };
        int r;

        if (m->exiting)
                return -ESHUTDOWN;

        r = load_list(&restore, &apps);
        if (r >= 0)
                r = restore_list(&restore, apps);

        STRV_FOREACH(w, restore.result.warnings)
                log_warning("%s", *w);
        if (r >= 0 || r == -EBADMSG)
                *ret = TAKE_GENERIC(restore.result, (Restored) {});
        return r;
}
