/* SPDX-License-Identifier: MIT */
#include "pmd/request-journal-internal.h"

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* Clients come back within seconds, or not at all. */
#define ENDED_REQUESTS_MAX 64U

/* ---- entries ---- */

static void entry_forget(RequestJournal *j, Entry *e) {
        if (j->unwritten == e)
                j->unwritten = NULL;
        LIST_REMOVE(entries, j->entries, e);
        json_object_put(e->jobs);
        free(e->token);
        free(e);
}

Entry *journal_add_entry(RequestJournal *j, const char *token) {
        Entry *e = new0(Entry, 1);

        if (!e)
                return NULL;
        e->jobs = json_object_new_array();
        e->token = token ? strdup(token) : NULL;
        if (!e->jobs || (token && !e->token)) {
                json_object_put(e->jobs);
                free(e->token);
                return mfree(e);
        }
        LIST_APPEND(entries, j->entries, e);
        return e;
}

size_t journal_array_length(json_object *array) {
        return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

unsigned journal_get_uint(json_object *o, const char *key) {
        return (unsigned) json_object_get_int64(json_object_object_get(o, key));
}

bool journal_job_has_ended(json_object *job) {
        return json_object_object_get(job, "result") != NULL;
}

static json_object *entry_find_job(const Entry *e, uint32_t id) {
        for (size_t i = 0; i < journal_array_length(e->jobs); i++) {
                json_object *o = json_object_array_get_idx(e->jobs, i);

                if (journal_get_uint(o, "id") == id && !journal_job_has_ended(o))
                        return o;
        }
        return NULL;
}

Entry *journal_find_open(const RequestJournal *j, uint32_t id, json_object **ret_job) {
        LIST_FOREACH(entries, e, j->entries) {
                json_object *o = e->n_open > 0 ? entry_find_job(e, id) : NULL;

                if (!o)
                        continue;
                *ret_job = o;
                return e;
        }
        return NULL;
}

/* What nobody asks for any more; the file follows when it is worth it. */
static void drop_ended(RequestJournal *j) {
        unsigned n = 0;

        LIST_FOREACH(entries, e, j->entries)
                n += e->n_open == 0 && e != j->unwritten;
        LIST_FOREACH_SAFE(entries, e, j->entries)
                if (e->n_open == 0 && e != j->unwritten && (!e->token || n > ENDED_REQUESTS_MAX)) {
                        entry_forget(j, e);
                        n--;
                }
        journal_tidy_file(j);
}

/* ---- writing ---- */

/* How many times it has been spawned, be it as another incarnation that is not current any more. */
static unsigned n_spawned(const Process *p) {
        return MAX(p->incarnation, p->last_incarnation);
}

static int add_processes(json_object *o, Manager *m, const unsigned *ids, size_t n) {
        json_object *processes = json_object_new_array(), *incarnations = json_object_new_array();
        int r;

        r = json_add(o, "processes", processes);
        RET_GATHER(r, json_add(o, "incarnations", incarnations));
        for (size_t i = 0; r >= 0 && i < n; i++) {
                const Process *p = manager_get_process(m, ids[i]);

                r = json_append(processes, json_object_new_int64(ids[i]));
                RET_GATHER(r, json_append(incarnations, json_object_new_int64(p ? n_spawned(p) : 0)));
        }
        return r;
}

static int describe_job(const Job *job, json_object **ret) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        r = json_add(o, "id", json_object_new_int64(job->id));
        RET_GATHER(r, json_add(o, "verb", json_object_new_string(job_verb_to_string(job->verb))));
        RET_GATHER(r, json_add(o, "app", json_object_new_string(job->app->name)));
        RET_GATHER(r, add_processes(o, job->app->manager, job->process_ids, job->n_processes));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(o);
        return 0;
}

/* What was set after the job had been made. */
static int complete_job(json_object *o, const Job *job) {
        int r = 0;

        if (job->gentle)
                r = json_add(o, "gentle", json_object_new_boolean(true));
        if (job->parallel > 0)
                RET_GATHER(r, json_add(o, "parallel", json_object_new_int64(job->parallel)));
        if (job->reason)
                RET_GATHER(r, json_add(o, "reason", json_object_new_string(job->reason)));
        return r;
}

static const Job *find_job(const App *a, uint32_t id) {
        if (!a)
                return NULL;
        if (a->job && a->job->id == id)
                return a->job;
        LIST_FOREACH(jobs, w, a->waiting_jobs)
                if (w->id == id)
                        return w;
        return NULL;
}

/* A definition that the next start is to be with has to be on file when the restart is. */
static void save_processes(Manager *m, json_object *job, bool made) {
        json_object *ids = json_object_object_get(job, "processes");

        if ((json_object_object_get(job, "made") != NULL) != made)
                return;
        for (size_t i = 0; i < journal_array_length(ids); i++) {
                Process *p = manager_get_process(m, (unsigned) json_object_get_int64(json_object_array_get_idx(ids, i)));
                int r;

                if (!p || (!made && !p->next_config))
                        continue;
                r = process_save(p);
                if (r < 0)
                        log_warning_errno(r, "Failed to save what is known of process %u, ignoring: %m", p->id);
        }
}

static void save_all_processes(RequestJournal *j, const Entry *e, bool made) {
        for (size_t i = 0; i < journal_array_length(e->jobs); i++)
                save_processes(j->manager, json_object_array_get_idx(e->jobs, i), made);
}

static int complete_jobs(RequestJournal *j, const Entry *e) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < journal_array_length(e->jobs); i++) {
                json_object *job = json_object_array_get_idx(e->jobs, i);
                App *a = manager_get_app(j->manager, json_object_get_string(json_object_object_get(job, "app")));
                const Job *found = find_job(a, journal_get_uint(job, "id"));

                if (found)
                        r = complete_job(job, found);
        }
        return r;
}

void request_journal_write(RequestJournal *j) {
        Entry *e;
        int r;

        if (!j)
                return;
        j->message = sd_bus_message_unref(j->message);
        e = TAKE_PTR(j->unwritten);
        if (!e)
                return;

        save_all_processes(j, e, false);
        r = complete_jobs(j, e);
        if (r >= 0 && (e->n_open > 0 || e->token))
                r = journal_write_entry(j, e);
        if (r < 0)
                log_warning_errno(r, "Failed to note a request, ignoring: %m");
        save_all_processes(j, e, true);
        if (e->n_open == 0)
                drop_ended(j);
}

/* ---- jobs ---- */

/* The token of the request that is being handled. */
static const char *present_token(const RequestJournal *j) {
        sd_bus *bus = j->message ? sd_bus_message_get_bus(j->message) : NULL;

        return bus && sd_bus_get_current_message(bus) == j->message ? j->token : NULL;
}

void request_journal_job_new(RequestJournal *j, Job *job) {
        const char *token;
        json_object *o;
        int r;

        if (!j || j->resuming)
                return;

        token = present_token(j);
        if (j->unwritten && !streq_ptr(j->unwritten->token, token))
                request_journal_write(j);
        if (!j->unwritten)
                j->unwritten = journal_add_entry(j, token);
        if (!j->unwritten) {
                log_oom();
                return;
        }

        r = describe_job(job, &o);
        if (r >= 0)
                r = json_append(j->unwritten->jobs, o);
        if (r < 0) {
                log_warning_errno(r, "Failed to note a job, ignoring: %m");
                return;
        }
        j->unwritten->n_open++;
}

void request_journal_processes_made(RequestJournal *j, const Job *job, const uint32_t *ids, size_t n) {
        json_object *o;
        int r;

        if (!j || !j->unwritten)
                return;
        o = entry_find_job(j->unwritten, job->id);
        if (!o)
                return;

        r = add_processes(o, j->manager, ids, n);
        RET_GATHER(r, json_add(o, "made", json_object_new_int64((int64_t) job->n_processes))); /* how many it starts */
        if (r < 0)
                log_warning_errno(r, "Failed to note the processes of a job, ignoring: %m");
}

static int describe_failures(const Job *job, json_object *o) {
        json_object *failures = json_object_new_array();
        int r;

        r = json_add(o, "failures", failures);
        for (size_t i = 0; r >= 0 && i < job->n_failures; i++) {
                json_object *f = json_object_new_object();

                r = json_append(failures, f);
                if (r < 0)
                        return r;
                r = json_add(f, "process", json_object_new_int64(job->failures[i].process_id));
                RET_GATHER(r, json_add(f, "error", json_object_new_string(job->failures[i].error_name)));
                RET_GATHER(r, json_add(f, "message", json_object_new_string(job->failures[i].message)));
        }
        return r;
}

void request_journal_job_removed(RequestJournal *j, const Job *job, JobResult result) {
        json_object *o;
        Entry *e;
        int r;

        e = j ? journal_find_open(j, job->id, &o) : NULL;
        if (!e)
                return;

        r = describe_failures(job, o);
        RET_GATHER(r, json_add(o, "result", json_object_new_string(job_result_to_string(result))));
        e->n_open--;
        if (r >= 0 && e->on_file)
                r = journal_write_end(j, o);
        if (r < 0)
                log_warning_errno(r, "Failed to note the end of a job, ignoring: %m");
        if (e->n_open == 0)
                drop_ended(j);
}

/* ---- going on after a pmd that was killed ---- */

static size_t find_processes(Manager *m, json_object *job, Process **ret) {
        json_object *ids = json_object_object_get(job, "processes");
        size_t n = 0;

        for (size_t i = 0; i < journal_array_length(ids); i++) {
                Process *p = manager_get_process(m, (unsigned) json_object_get_int64(json_object_array_get_idx(ids, i)));

                if (p && streq(p->app->name, json_object_get_string(json_object_object_get(job, "app"))))
                        ret[n++] = p;
        }
        return n;
}

/* The one before was killed while it wrote them to files, one after the other: they are made as those that are there. */
static int make_missing(Manager *m, json_object *job, Process *sibling) {
        json_object *ids = json_object_object_get(job, "processes");
        int r = 0;

        for (size_t i = 0; r >= 0 && i < journal_array_length(ids); i++) {
                unsigned id = (unsigned) json_object_get_int64(json_object_array_get_idx(ids, i));

                if (manager_get_process(m, id) || id < m->next_process_id)
                        continue;
                m->next_process_id = id;
                r = app_add_processes(sibling->app, sibling->config, 1);
        }
        return r;
}

/* Which of them have begun can be seen: they have been spawned since. */
static int set_incarnations(Job *j, json_object *job) {
        json_object *ids = json_object_object_get(job, "processes"), *incarnations = json_object_object_get(job, "incarnations");

        j->incarnations = new0(unsigned, j->n_processes);
        if (!j->incarnations)
                return -ENOMEM;
        for (size_t i = 0; i < j->n_processes; i++)
                for (size_t k = 0; k < journal_array_length(ids); k++)
                        if ((unsigned) json_object_get_int64(json_object_array_get_idx(ids, k)) == j->process_ids[i])
                                j->incarnations[i] = (unsigned) json_object_get_int64(json_object_array_get_idx(incarnations, k));
        return 0;
}

static int make_job(Manager *m, json_object *job, JobVerb verb, Process *const *processes, size_t n) {
        const char *reason = json_object_get_string(json_object_object_get(job, "reason"));
        uint32_t next = m->next_job_id;
        Job *j;
        int r;

        m->next_job_id = journal_get_uint(job, "id") - 1;
        r = job_new(processes[0]->app, verb, processes, n, &j);
        m->next_job_id = MAX(next, m->next_job_id);
        if (r < 0)
                return r;

        j->gentle = json_object_get_boolean(json_object_object_get(job, "gentle"));
        j->parallel = journal_get_uint(job, "parallel");
        if (reason)
                j->reason = strdup(reason);
        return set_incarnations(j, job);
}

/* 0: there is nothing left to do. */
static int resume_job(Manager *m, json_object *job) {
        JobVerb verb = job_verb_from_string(json_object_get_string(json_object_object_get(job, "verb")));
        size_t n_max = journal_array_length(json_object_object_get(job, "processes")), n;
        _cleanup_free_ Process **processes = new(Process *, MAX(n_max, (size_t) 1));
        int r;

        if (!processes)
                return -ENOMEM;
        if (verb < 0)
                return -EBADMSG;

        n = find_processes(m, job, processes);
        if (n == 0)
                return 0;
        if (json_object_object_get(job, "made")) {
                r = make_missing(m, job, processes[0]);
                if (r < 0)
                        return r;
                n = MIN(find_processes(m, job, processes), (size_t) journal_get_uint(job, "made"));
                if (n == 0)
                        return 0;
        }
        r = make_job(m, job, verb, processes, n);
        return r < 0 ? r : 1;
}

/* What was to be made is not there: nothing has been done, and the client may ask again. */
static bool was_not_begun(Manager *m, json_object *job) {
        size_t n_max = journal_array_length(json_object_object_get(job, "processes"));
        _cleanup_free_ Process **processes = new(Process *, MAX(n_max, (size_t) 1));

        return processes && n_max > 0 && json_object_object_get(job, "made") && find_processes(m, job, processes) == 0;
}

static void resume_entry(RequestJournal *j, Entry *e) {
        e->n_open = 0;
        for (size_t i = 0; i < journal_array_length(e->jobs); i++) {
                json_object *job = json_object_array_get_idx(e->jobs, i);
                int r;

                j->manager->next_job_id = MAX(j->manager->next_job_id, journal_get_uint(job, "id"));
                if (journal_job_has_ended(job))
                        continue;
                if (was_not_begun(j->manager, job)) {
                        entry_forget(j, e);
                        return;
                }
                r = resume_job(j->manager, job);
                if (r > 0) {
                        e->n_open++;
                        continue;
                }
                if (r < 0)
                        log_warning_errno(r, "Cannot go on with job %u, ignoring: %m", journal_get_uint(job, "id"));
                (void) json_add(job, "result", json_object_new_string(job_result_to_string(r < 0 ? JOB_FAILED : JOB_DONE)));
        }
}

int request_journal_resume(RequestJournal *j) {
        int r;

        if (!j)
                return 0;
        r = journal_load_file(j);
        if (r < 0)
                return r;

        j->resuming = true;
        LIST_FOREACH_SAFE(entries, e, j->entries)
                resume_entry(j, e);
        j->resuming = false;
        drop_ended(j);
        journal_compact_file(j);
        return 0;
}

/* ---- ---- */

void request_journal_repair(RequestJournal *j) {
        int r;

        if (!j)
                return;
        state_file_check_path(&j->file);
        if (!j->file.lost)
                return;
        r = journal_check_file(j);
        if (r < 0)
                log_warning_errno(r, "Failed to write %s anew, ignoring: %m", j->file.path);
}

void request_journal_clear(RequestJournal *j) {
        while (j && j->entries)
                entry_forget(j, j->entries);
        if (j)
                journal_tidy_file(j);
}

int request_journal_new(Manager *m, RequestJournal **ret) {
        _cleanup_(request_journal_freep) RequestJournal *j = NULL;

        j = new0(RequestJournal, 1);
        if (!j)
                return -ENOMEM;
        j->manager = m;
        if (state_file_init(&j->file, m->instance->runtime_dir, REQUEST_JOURNAL_FILE) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(j);
        return 0;
}

RequestJournal *request_journal_free(RequestJournal *j) {
        if (!j)
                return NULL;

        while (j->entries)
                entry_forget(j, j->entries);
        sd_bus_message_unref(j->message);
        free(j->token);
        state_file_done(&j->file);
        return mfree(j);
}
