/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/request-journal.h"

static int get_or_make_app(Manager *m, AppConfig *config, uid_t owner, bool force, App **ret) {
        App *a = manager_get_app(m, config->name);
        int r;

        if (a) {
                *ret = a;
                return force ? 0 : -EEXIST;
        }

        r = manager_make_app(m, config, owner, ret);
        return r < 0 ? r : 1;
}

static Process **newest_processes(Manager *m, unsigned n) {
        return m->processes + m->n_processes - n;
}

static int start_new_processes(Manager *m, App *a, unsigned n, Job **ret_job, uint32_t **ret_ids) {
        _cleanup_free_ uint32_t *ids = NULL;
        int r;

        ids = new(uint32_t, n);
        if (!ids)
                return -ENOMEM;
        for (unsigned i = 0; i < n; i++)
                ids[i] = newest_processes(m, n)[i]->id;

        r = job_new(a, JOB_START, newest_processes(m, n), a->config->autostart ? n : 0, ret_job);
        if (r < 0)
                return r;
        request_journal_processes_made(m->request_journal, *ret_job, ids, n);

        *ret_ids = TAKE_PTR(ids);
        return 0;
}

int manager_start_app(Manager *m, AppConfig *config, uid_t owner, bool force, App **ret_app, Job **ret_job, uint32_t **ret_ids, size_t *ret_n) {
        unsigned n = (unsigned) config->instances;
        bool is_new;
        App *a;
        int r;

        if (m->exiting)
                return -ESHUTDOWN;

        r = settings_apply(&m->settings, config);
        if (r < 0)
                return r;
        r = get_or_make_app(m, config, owner, force, &a);
        if (r < 0)
                return r;
        is_new = r > 0;

        r = app_add_processes(a, config, n);
        if (r < 0) {
                if (is_new)
                        manager_remove_app(m, a);
                return r;
        }

        app_config_unref(a->config);
        a->config = app_config_ref(config);

        r = start_new_processes(m, a, n, ret_job, ret_ids);
        if (r < 0) {
                for (unsigned i = 0; i < n; i++)
                        manager_remove_process(m, m->processes[m->n_processes - 1]);
                if (is_new)
                        manager_remove_app(m, a);
                return r;
        }

        *ret_app = a;
        *ret_n = n;
        return 0;
}

static int add_to_app(Manager *m, App *a, unsigned n, Job **ret_job, uint32_t **ret_ids) {
        int r;

        r = app_add_processes(a, a->config, n);
        if (r < 0)
                return r;
        r = start_new_processes(m, a, n, ret_job, ret_ids);
        if (r < 0)
                for (unsigned i = 0; i < n; i++)
                        manager_remove_process(m, m->processes[m->n_processes - 1]);
        return r;
}

static int delete_from_app(App *a, unsigned n, Job **ret_job, uint32_t **ret_ids) {
        _cleanup_free_ Process **processes = new(Process *, n);
        _cleanup_free_ uint32_t *ids = new(uint32_t, n);
        unsigned i = 0;
        int r;

        if (!processes || !ids)
                return -ENOMEM;

        LIST_FOREACH(siblings, p, a->processes) {
                if (i == n)
                        break;
                processes[i] = p;
                ids[i++] = p->id;
        }
        r = job_new(a, JOB_DELETE, processes, n, ret_job);
        if (r < 0)
                return r;
        (*ret_job)->gentle = true;

        *ret_ids = TAKE_PTR(ids);
        return 0;
}

int manager_scale_app(Manager *m, App *a, unsigned n, Job **ret_job, uint32_t **ret_ids, size_t *ret_n) {
        unsigned have = 0;
        int r;

        if (m->exiting)
                return -ESHUTDOWN;

        LIST_FOREACH(siblings, p, a->processes)
                have++;
        if (have == n)
                return -EALREADY;

        r = n > have ? add_to_app(m, a, n - have, ret_job, ret_ids) : delete_from_app(a, have - n, ret_job, ret_ids);
        if (r < 0)
                return r;
        *ret_n = n > have ? n - have : have - n;
        return 0;
}

/* The processes of the list that belong to one app, in their order. */
static size_t pick_siblings(Process *const *processes, size_t n, const App *a, Process **ret) {
        size_t k = 0;

        for (size_t i = 0; i < n; i++)
                if (processes[i]->app == a)
                        ret[k++] = processes[i];
        return k;
}

static bool first_of_its_app(Process *const *processes, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (processes[k]->app == processes[i]->app)
                        return false;
        return true;
}

static int enqueue_jobs(Manager *m, JobVerb verb, Process *const *processes, size_t n, unsigned parallel, uint32_t **ret_ids, size_t *ret_n) {
        _cleanup_free_ Process **siblings = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n_ids = 0;
        int r;

        if (m->exiting)
                return -ESHUTDOWN;

        siblings = new(Process *, n);
        ids = new(uint32_t, n);
        if (!siblings || !ids)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                Job *j;

                if (!first_of_its_app(processes, i))
                        continue;
                r = job_new(processes[i]->app, verb, siblings, pick_siblings(processes, n, processes[i]->app, siblings), &j);
                if (r < 0)
                        return r;
                j->parallel = parallel;
                ids[n_ids++] = j->id;
        }

        *ret_ids = TAKE_PTR(ids);
        *ret_n = n_ids;
        return 0;
}

int manager_enqueue_jobs(Manager *m, JobVerb verb, Process *const *processes, size_t n, uint32_t **ret_ids, size_t *ret_n) {
        return enqueue_jobs(m, verb, processes, n, 0, ret_ids, ret_n);
}

int manager_enqueue_reload(Manager *m, Process *const *processes, size_t n, unsigned parallel, uint32_t **ret_ids, size_t *ret_n) {
        return enqueue_jobs(m, JOB_RELOAD, processes, n, parallel, ret_ids, ret_n);
}

static bool restart_waits(const App *a) {
        LIST_FOREACH(jobs, j, a->waiting_jobs)
                if (j->reason)
                        return true;
        return false;
}

int manager_enqueue_restart(Manager *m, JobVerb verb, Process *const *processes, size_t n, const char *reason) {
        _cleanup_free_ char *copy = NULL;
        Job *j;
        int r;

        if (m->exiting)
                return -ESHUTDOWN;
        if (restart_waits(processes[0]->app))
                return -EALREADY;

        copy = strdup(reason);
        if (!copy)
                return -ENOMEM;
        r = job_new(processes[0]->app, verb, processes, n, &j);
        if (r < 0)
                return r;
        j->reason = TAKE_PTR(copy);
        return 0;
}
