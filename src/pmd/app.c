/* SPDX-License-Identifier: MIT */
#include <systemd/sd-bus.h>

#include "pmd/app-sockets.h"
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/cluster.h"
#include "pmd/job.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/pmd-protocol.h"

int app_new(Manager *m, AppConfig *config, uid_t owner, App **ret) {
        _cleanup_(app_freep) App *a = NULL;
        int r;

        a = new0(App, 1);
        if (!a)
                return -ENOMEM;

        a->manager = m;
        a->owner = owner;
        a->config = app_config_ref(config);
        a->name = strdup(config->name);
        if (!a->name)
                return -ENOMEM;

        r = sd_bus_path_encode(PMD_PATH_APP, a->name, &a->object_path);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(a);
        return 0;
}

App *app_free(App *a) {
        if (!a)
                return NULL;

        assert(!a->processes);
        app_triggers_done(a);
        LIST_FOREACH_SAFE(jobs, j, a->waiting_jobs)
                job_free(j);
        job_free(a->job);
        cluster_free(a->cluster);
        app_close_sockets(a);
        app_config_unref(a->config);
        free(a->object_path);
        free(a->name);
        return mfree(a);
}

static bool instance_is_taken(const App *a, unsigned instance) {
        LIST_FOREACH(siblings, p, a->processes)
                if (p->instance == instance)
                        return true;
        return false;
}

static unsigned lowest_free_instance(const App *a) {
        unsigned i = 0;

        while (instance_is_taken(a, i))
                i++;
        return i;
}

int app_restore_process(App *a, AppConfig *config, unsigned instance, int error, const char *fault, Process **ret) {
        Process *p;
        int r;

        if (instance_is_taken(a, instance))
                return -EEXIST;
        r = manager_reserve_processes(a->manager, 1);
        if (r < 0)
                return r;
        r = process_new_restored(a->manager, a, config, a->manager->next_process_id, instance, error, fault, &p);
        if (r < 0)
                return r;

        LIST_APPEND(siblings, a->processes, p);
        a->manager->next_process_id++;
        manager_add_process(a->manager, p);
        *ret = p;
        return 0;
}

static Process *first_of_app(Process *hidden, const App *a) {
        while (hidden && hidden->app != a)
                hidden = hidden->hidden_next;
        return hidden;
}

Process *app_next_incarnation(const App *a, const Process *p) {
        if (p && p->role != PROCESS_CURRENT)
                return first_of_app(p->hidden_next, a);
        return (p ? p->siblings_next : a->processes) ?: first_of_app(a->manager->hidden_processes, a);
}

int app_add_processes(App *a, AppConfig *config, unsigned n) {
        Process **added = NULL;
        unsigned done = 0;
        int r;

        r = manager_reserve_processes(a->manager, n);
        if (r < 0)
                return r;
        added = new(Process *, n);
        if (!added)
                return -ENOMEM;

        for (; done < n; done++) {
                r = process_new(a->manager, a, config, a->manager->next_process_id, lowest_free_instance(a), &added[done]);
                if (r < 0)
                        break;
                LIST_APPEND(siblings, a->processes, added[done]);
                a->manager->next_process_id++;
        }

        if (r < 0) {
                a->manager->next_process_id -= done;
                while (done > 0) {
                        done--;
                        LIST_REMOVE(siblings, a->processes, added[done]);
                        process_free(added[done]);
                }
        } else
                for (unsigned i = 0; i < n; i++)
                        manager_add_process(a->manager, added[i]);

        free(added);
        return r < 0 ? r : 0;
}
