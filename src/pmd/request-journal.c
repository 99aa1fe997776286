/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "pmd/request-journal-internal.h"

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define JOURNAL_VERSION 1
#define JOURNAL_FILE_MAX (4U << 20)
/* Clients come back within seconds, or not at all. */
#define ENDED_REQUESTS_MAX 64U

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

/* ---- entries ---- */

static char *entry_path(const RequestJournal *j, const Entry *e) {
        return strprintf("%s/%u", j->directory, e->serial);
}

static void entry_forget(RequestJournal *j, Entry *e) {
        _cleanup_free_ char *path = e->serial > 0 ? entry_path(j, e) : NULL;

        FAULT_BEFORE(REQUEST_REMOVE);
        if (path)
                (void) unlink(path);
        FAULT_AFTER(REQUEST_REMOVE);
        if (j->unwritten == e)
                j->unwritten = NULL;
        LIST_REMOVE(entries, j->entries, e);
        json_object_put(e->jobs);
        free(e->token);
        free(e);
}

static Entry *entry_new(RequestJournal *j, const char *token) {
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

json_object *journal_member(json_object *o, const char *key) {
        json_object *v = NULL;

        return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

size_t journal_array_length(json_object *array) {
        return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

unsigned journal_get_uint(json_object *o, const char *key) {
        return (unsigned) json_object_get_int64(journal_member(o, key));
}

bool journal_job_has_ended(json_object *job) {
        return journal_member(job, "result") != NULL;
}

static json_object *entry_find_job(const Entry *e, uint32_t id) {
        for (size_t i = 0; i < journal_array_length(e->jobs); i++) {
                json_object *o = json_object_array_get_idx(e->jobs, i);

                if (journal_get_uint(o, "id") == id && !journal_job_has_ended(o))
                        return o;
        }
        return NULL;
}

static Entry *find_open(const RequestJournal *j, uint32_t id, json_object **ret_job) {
        LIST_FOREACH(entries, e, j->entries) {
                json_object *o = e->n_open > 0 ? entry_find_job(e, id) : NULL;

                if (!o)
                        continue;
                *ret_job = o;
                return e;
        }
        return NULL;
}

static void drop_oldest_ended(RequestJournal *j) {
        Entry *oldest = NULL;
        unsigned n = 0;

        LIST_FOREACH(entries, e, j->entries)
                if (e->n_open == 0) {
                        oldest = oldest ?: e;
                        n++;
                }
        if (n > ENDED_REQUESTS_MAX)
                entry_forget(j, oldest);
}

/* ---- writing ---- */

static int add(json_object *o, const char *key, json_object *v) {
        if (v && json_object_object_add(o, key, v) >= 0)
                return 0;
        json_object_put(v);
        return -ENOMEM;
}

static int append(json_object *array, json_object *v) {
        if (v && json_object_array_add(array, v) >= 0)
                return 0;
        json_object_put(v);
        return -ENOMEM;
}

/* How many times it has been spawned, be it as another incarnation that is not current any more. */
static unsigned n_spawned(const Process *p) {
        return MAX(p->incarnation, p->last_incarnation);
}

static int add_processes(json_object *o, Manager *m, const unsigned *ids, size_t n) {
        json_object *processes = json_object_new_array(), *incarnations = json_object_new_array();
        int r;

        r = add(o, "processes", processes);
        RET_GATHER(r, add(o, "incarnations", incarnations));
        for (size_t i = 0; r >= 0 && i < n; i++) {
                const Process *p = manager_get_process(m, ids[i]);

                r = append(processes, json_object_new_int64(ids[i]));
                RET_GATHER(r, append(incarnations, json_object_new_int64(p ? n_spawned(p) : 0)));
        }
        return r;
}

static int describe_job(const Job *job, json_object **ret) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        r = add(o, "id", json_object_new_int64(job->id));
        RET_GATHER(r, add(o, "verb", json_object_new_string(job_verb_to_string(job->verb))));
        RET_GATHER(r, add(o, "app", json_object_new_string(job->app->name)));
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
                r = add(o, "gentle", json_object_new_boolean(true));
        if (job->parallel > 0)
                RET_GATHER(r, add(o, "parallel", json_object_new_int64(job->parallel)));
        if (job->reason)
                RET_GATHER(r, add(o, "reason", json_object_new_string(job->reason)));
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
        json_object *ids = journal_member(job, "processes");

        if ((journal_member(job, "made") != NULL) != made)
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

static int write_file(RequestJournal *j, Entry *e, json_object *o) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        int r;

        text = strjoin(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), "\n");
        e->serial = ++j->next_serial;
        path = entry_path(j, e);
        if (!text || !path)
                return -ENOMEM;

        r = write_file_replace(path, text, strlen(text), 0600);
        if (r != -ENOENT)
                return r;
        r = mkdir_parents(path, 0700);
        return r < 0 ? r : write_file_replace(path, text, strlen(text), 0600);
}

static int write_entry(RequestJournal *j, Entry *e) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        char boot[SD_ID128_STRING_MAX];
        sd_id128_t id;
        int r;

        if (!o)
                return -ENOMEM;
        r = sd_id128_get_boot(&id);
        if (r < 0)
                return r;

        r = add(o, "version", json_object_new_int(JOURNAL_VERSION));
        RET_GATHER(r, add(o, "boot", json_object_new_string(sd_id128_to_string(id, boot))));
        if (e->token)
                RET_GATHER(r, add(o, "token", json_object_new_string(e->token)));
        RET_GATHER(r, add(o, "jobs", json_object_get(e->jobs)));
        for (size_t i = 0; r >= 0 && i < journal_array_length(e->jobs); i++) {
                json_object *job = json_object_array_get_idx(e->jobs, i);
                App *a = manager_get_app(j->manager, json_object_get_string(journal_member(job, "app")));
                const Job *found = find_job(a, journal_get_uint(job, "id"));

                if (found)
                        r = complete_job(job, found);
        }
        return r < 0 ? r : write_file(j, e, o);
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
        r = write_entry(j, e);
        if (r < 0)
                log_warning_errno(r, "Failed to note a request, ignoring: %m");
        save_all_processes(j, e, true);
        if (e->n_open == 0 && !e->token)
                entry_forget(j, e);
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
                j->unwritten = entry_new(j, token);
        if (!j->unwritten) {
                log_oom();
                return;
        }

        r = describe_job(job, &o);
        if (r >= 0)
                r = append(j->unwritten->jobs, o);
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
        RET_GATHER(r, add(o, "made", json_object_new_int64((int64_t) job->n_processes))); /* how many it starts */
        if (r < 0)
                log_warning_errno(r, "Failed to note the processes of a job, ignoring: %m");
}

static int describe_failures(const Job *job, json_object *o) {
        json_object *failures = json_object_new_array();
        int r;

        r = add(o, "failures", failures);
        for (size_t i = 0; r >= 0 && i < job->n_failures; i++) {
                json_object *f = json_object_new_object();

                r = append(failures, f);
                if (r < 0)
                        return r;
                r = add(f, "process", json_object_new_int64(job->failures[i].process_id));
                RET_GATHER(r, add(f, "error", json_object_new_string(job->failures[i].error_name)));
                RET_GATHER(r, add(f, "message", json_object_new_string(job->failures[i].message)));
        }
        return r;
}

static int append_to_file(RequestJournal *j, const Entry *e, json_object *job) {
        _cleanup_free_ char *path = NULL, *line = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        path = entry_path(j, e);
        line = strjoin(json_object_to_json_string_ext(job, JSON_C_TO_STRING_PLAIN), "\n");
        if (!path || !line)
                return -ENOMEM;
        fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        FAULT_BEFORE(REQUEST_APPEND);
        r = write_all(fd, line, strlen(line));
        FAULT_AFTER(REQUEST_APPEND);
        return r;
}

void request_journal_job_removed(RequestJournal *j, const Job *job, JobResult result) {
        json_object *o;
        Entry *e;
        int r;

        e = j ? find_open(j, job->id, &o) : NULL;
        if (!e)
                return;

        r = describe_failures(job, o);
        RET_GATHER(r, add(o, "result", json_object_new_string(job_result_to_string(result))));
        if (--e->n_open == 0 && !e->token && e != j->unwritten) {
                entry_forget(j, e);
                return;
        }
        if (r >= 0 && e->serial > 0)
                r = append_to_file(j, e, o);
        if (r < 0)
                log_warning_errno(r, "Failed to note the end of a job, ignoring: %m");
        drop_oldest_ended(j);
}


/* ---- going on after a pmd that was killed ---- */

static size_t find_processes(Manager *m, json_object *job, Process **ret) {
        json_object *ids = journal_member(job, "processes");
        size_t n = 0;

        for (size_t i = 0; i < journal_array_length(ids); i++) {
                Process *p = manager_get_process(m, (unsigned) json_object_get_int64(json_object_array_get_idx(ids, i)));

                if (p && streq(p->app->name, json_object_get_string(journal_member(job, "app"))))
                        ret[n++] = p;
        }
        return n;
}

/* The one before was killed while it wrote them to files, one after the other: they are made as those that are there. */
static int make_missing(Manager *m, json_object *job, Process *sibling) {
        json_object *ids = journal_member(job, "processes");
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
        json_object *ids = journal_member(job, "processes"), *incarnations = journal_member(job, "incarnations");

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
        const char *reason = json_object_get_string(journal_member(job, "reason"));
        uint32_t next = m->next_job_id;
        Job *j;
        int r;

        m->next_job_id = journal_get_uint(job, "id") - 1;
        r = job_new(processes[0]->app, verb, processes, n, &j);
        m->next_job_id = MAX(next, m->next_job_id);
        if (r < 0)
                return r;

        j->gentle = json_object_get_boolean(journal_member(job, "gentle"));
        j->parallel = journal_get_uint(job, "parallel");
        if (reason)
                j->reason = strdup(reason);
        return set_incarnations(j, job);
}

/* 0: there is nothing left to do. */
static int resume_job(Manager *m, json_object *job) {
        JobVerb verb = job_verb_from_string(json_object_get_string(journal_member(job, "verb")));
        size_t n_max = journal_array_length(journal_member(job, "processes")), n;
        _cleanup_free_ Process **processes = new(Process *, MAX(n_max, (size_t) 1));
        int r;

        if (!processes)
                return -ENOMEM;
        if (verb < 0)
                return -EBADMSG;

        n = find_processes(m, job, processes);
        if (n == 0)
                return 0;
        if (journal_member(job, "made")) {
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
        size_t n_max = journal_array_length(journal_member(job, "processes"));
        _cleanup_free_ Process **processes = new(Process *, MAX(n_max, (size_t) 1));

        return processes && n_max > 0 && journal_member(job, "made") && find_processes(m, job, processes) == 0;
}

static void resume_entry(RequestJournal *j, Entry *e) {
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
                (void) add(job, "result", json_object_new_string(job_result_to_string(r < 0 ? JOB_FAILED : JOB_DONE)));
        }
        if (e->n_open == 0 && !e->token)
                entry_forget(j, e);
}

/* The lines behind the first say how jobs ended. */
static void read_ends(Entry *e, char *const *lines) {
        STRV_FOREACH(line, lines) {
                _cleanup_(json_object_putp) json_object *o = json_tokener_parse(*line);
                json_object *job = o ? entry_find_job(e, journal_get_uint(o, "id")) : NULL;

                if (!job || !journal_job_has_ended(o))
                        continue;
                (void) add(job, "failures", json_object_get(journal_member(o, "failures")));
                (void) add(job, "result", json_object_get(journal_member(o, "result")));
        }
}

static bool is_of_this_boot(json_object *o) {
        const char *s = json_object_get_string(journal_member(o, "boot"));
        sd_id128_t boot, saved;

        return s && sd_id128_get_boot(&boot) >= 0 && sd_id128_from_string(s, &saved) >= 0 && sd_id128_equal(boot, saved);
}

static int read_entry(RequestJournal *j, unsigned serial) {
        _cleanup_free_ char *path = strprintf("%s/%u", j->directory, serial), *text = NULL;
        _cleanup_(json_object_putp) json_object *o = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        json_object *jobs;
        Entry *e;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_full_file_at(AT_FDCWD, path, JOURNAL_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        if (!lines)
                return -ENOMEM;

        o = json_tokener_parse(strempty(lines[0]));
        jobs = journal_member(o, "jobs");
        if (!json_object_is_type(jobs, json_type_array))
                return -EBADMSG;
        if (journal_get_uint(o, "version") != JOURNAL_VERSION || !is_of_this_boot(o))
                return -ESTALE;

        e = entry_new(j, json_object_get_string(journal_member(o, "token")));
        if (!e)
                return -ENOMEM;
        e->serial = serial;
        json_object_put(e->jobs);
        e->jobs = json_object_get(jobs);
        read_ends(e, lines + 1);
        return 0;
}

static int compare_serials(const void *a, const void *b) {
        unsigned x = *(const unsigned *) a, y = *(const unsigned *) b;

        return (x > y) - (x < y);
}

static int list_serials(RequestJournal *j, unsigned **ret, size_t *ret_n) {
        _cleanup_closedir_ DIR *d = opendir(j->directory);
        _cleanup_free_ unsigned *serials = NULL;
        size_t n = 0, allocated = 0;

        if (!d && errno != ENOENT)
                return -errno;
        for (struct dirent *de; d && (de = readdir(d));) {
                if (!GREEDY_REALLOC(serials, allocated, n + 1))
                        return -ENOMEM;
                if (safe_atou(de->d_name, &serials[n]) >= 0)
                        n++;
                else if (de->d_name[0] != '.')
                        (void) unlinkat(dirfd(d), de->d_name, 0); /* half written */
        }
        if (n > 0)
                qsort(serials, n, sizeof(unsigned), compare_serials);
        *ret = TAKE_PTR(serials);
        *ret_n = n;
        return 0;
}

static void read_or_remove(RequestJournal *j, unsigned serial) {
        _cleanup_free_ char *path = NULL;
        int r;

        j->next_serial = MAX(j->next_serial, serial);
        r = read_entry(j, serial);
        if (r >= 0)
                return;
        if (r != -ESTALE)
                log_warning_errno(r, "Cannot read request %u of the pmd before, ignoring: %m", serial);
        path = strprintf("%s/%u", j->directory, serial);
        if (path)
                (void) unlink(path);
}

int request_journal_resume(RequestJournal *j) {
        _cleanup_free_ unsigned *serials = NULL;
        size_t n;
        int r;

        if (!j)
                return 0;
        r = list_serials(j, &serials, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                read_or_remove(j, serials[i]);

        j->resuming = true;
        LIST_FOREACH_SAFE(entries, e, j->entries)
                resume_entry(j, e);
        j->resuming = false;
        return 0;
}

/* ---- ---- */

void request_journal_clear(RequestJournal *j) {
        while (j && j->entries)
                entry_forget(j, j->entries);
}

int request_journal_new(Manager *m, RequestJournal **ret) {
        _cleanup_(request_journal_freep) RequestJournal *j = NULL;

        j = new0(RequestJournal, 1);
        if (!j)
                return -ENOMEM;
        j->manager = m;
        j->directory = strjoin(m->instance->runtime_dir, "/requests");
        if (!j->directory)
                return -ENOMEM;
        *ret = TAKE_PTR(j);
        return 0;
}

RequestJournal *request_journal_free(RequestJournal *j) {
        if (!j)
                return NULL;

        while (j->entries) {
                j->entries->serial = 0; /* the file stays */
                entry_forget(j, j->entries);
        }
        sd_bus_message_unref(j->message);
        free(j->token);
        free(j->directory);
        return mfree(j);
}
