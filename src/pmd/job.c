/* SPDX-License-Identifier: MIT */
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/job.h"
#include "pmd/manager.h"
#include "pmd/process-history.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "shared/log.h"
#include "shared/pmd-protocol.h"
#include "shared/signal-util.h"
#include "shared/string-table.h"
#include "shared/string-util.h"

#define JOBS_WAITING_MAX 64U

static const char *const job_verb_table[_JOB_VERB_MAX] = {
        [JOB_START] = "start",
        [JOB_STOP] = "stop",
        [JOB_RESTART] = "restart",
        [JOB_RELOAD] = "reload",
        [JOB_DELETE] = "delete",
};

DEFINE_STRING_TABLE(JobVerb, job_verb);

static const char *const job_result_table[_JOB_RESULT_MAX] = {
        [JOB_DONE] = "done",
        [JOB_FAILED] = "failed",
        [JOB_CANCELED] = "canceled",
};

DEFINE_STRING_TABLE(JobResult, job_result);

DEFINE_CLEANUP_FUNC(Job *, job_free);

/* As many are started at a time: a fork is dear, and the bus shall be answered in between. */
#define JOB_STARTS_AT_ONCE 32U

static void job_begin_process(Job *j, size_t i) {
        static const ProcessEvent events[_JOB_VERB_MAX] = {
                [JOB_START] = PROCESS_EVENT_UP,
                [JOB_STOP] = PROCESS_EVENT_DOWN,
                [JOB_RESTART] = PROCESS_EVENT_RESTART,
                [JOB_RELOAD] = PROCESS_EVENT_RESTART,
                [JOB_DELETE] = PROCESS_EVENT_DOWN,
        };
        Process *p = manager_get_process(j->app->manager, j->process_ids[i]);

        if (!p)
                return;
        p->delete_wanted = j->verb == JOB_DELETE;
        if (IN_SET(j->verb, JOB_STOP, JOB_DELETE))
                app_triggers_stop(p);
        process_event(p, events[j->verb]);
        if (j->reason) {
                process_history_trigger(p, j->reason);
                process_set_restart_trigger(p, j->reason);
        }
}

static void job_begin_more(Job *j) {
        size_t window = IN_SET(j->verb, JOB_STOP, JOB_DELETE) ? j->n_processes : JOB_STARTS_AT_ONCE;

        while (j->n_begun < j->n_processes && j->n_begun - j->n_finished < window)
                job_begin_process(j, j->n_begun++);
}

static void job_run(Job *j) {
        j->app->job = j;
        j->running = true;

        /* Not here and now: who made the job does not know its number yet. */
        manager_enqueue_job_check(j->app->manager, j);
}

static bool supersedes(JobVerb later, JobVerb earlier) {
        return IN_SET(later, JOB_STOP, JOB_DELETE) && IN_SET(earlier, JOB_START, JOB_RESTART, JOB_RELOAD);
}

int job_new(App *a, JobVerb verb, Process *const *processes, size_t n, Job **ret) {
        _cleanup_(job_freep) Job *j = NULL;
        unsigned waiting = 0;

        LIST_FOREACH(jobs, w, a->waiting_jobs)
                waiting++;
        if (waiting >= JOBS_WAITING_MAX)
                return -EBUSY;

        j = new0(Job, 1);
        if (!j)
                return -ENOMEM;
        j->app = a;
        j->verb = verb;
        j->n_processes = n;
        j->process_ids = new0(unsigned, n);
        j->finished = new0(bool, n);
        if (!j->process_ids || !j->finished)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                j->process_ids[i] = processes[i]->id;

        manager_job_new(a->manager, j);

        if (a->job && supersedes(verb, a->job->verb)) {
                /* Those that wait came before this one, but what they want is superseded as well. */
                LIST_FOREACH_SAFE(jobs, w, a->waiting_jobs)
                        if (supersedes(verb, w->verb))
                                job_finish(w, JOB_CANCELED);
                job_finish(a->job, JOB_CANCELED);
        }

        *ret = j;
        if (a->job)
                LIST_APPEND(jobs, a->waiting_jobs, TAKE_PTR(j));
        else
                job_run(TAKE_PTR(j));
        return 0;
}

Job *job_free(Job *j) {
        if (!j)
                return NULL;

        manager_dequeue_job_check(j->app->manager, j);
        for (size_t i = 0; i < j->n_failures; i++)
                free(j->failures[i].message);
        free(j->failures);
        free(j->process_ids);
        free(j->finished);
        free(j->reason);
        return mfree(j);
}

void job_finish(Job *j, JobResult result) {
        App *a = j->app;

        if (a->job == j)
                a->job = NULL;
        else
                LIST_REMOVE(jobs, a->waiting_jobs, j);

        manager_job_removed(a->manager, j, result);
        job_free(j);
}

/* Takes over the message. */
static void add_failure(Job *j, unsigned id, const char *error_name, char *message) {
        if (!message || !GREEDY_REALLOC(j->failures, j->n_failures_allocated, j->n_failures + 1)) {
                free(message);
                log_oom();
                return;
        }
        j->failures[j->n_failures++] = (JobFailure) { id, error_name, message };
}

static char *describe_exit(const LastExit *e) {
        if (e->signal > 0)
                return strjoin("it was ended by ", strna(signal_to_string(e->signal)));
        return strprintf("it exited with code %d", e->code);
}

static void add_start_failure(Job *j, const Process *p) {
        _cleanup_free_ char *how = NULL;

        switch (p->last_exit.reason) {

        case EXIT_REASON_EXEC_FAILED:
                return add_failure(j, p->id, PMD_ERROR_EXEC_FAILED, process_failure_message(p));

        case EXIT_REASON_SPAWN_FAILED:
                if (p->start_fault)
                        return add_failure(j, p->id, PMD_ERROR_SPAWN_FAILED, strdup(p->start_fault));
                return add_failure(j, p->id, PMD_ERROR_SPAWN_FAILED, strprintf("Cannot start a process for %s: %s", p->config->name, strerror(-p->spawn_error)));

        default:
                how = describe_exit(&p->last_exit);
                return add_failure(j, p->id, p->state == PROCESS_ERRORED ? PMD_ERROR_ERRORED : PMD_ERROR_EXITED_EARLY,
                                   strprintf("%s was not up before %s. See: pmctl logs %s", p->config->name, strna(how), p->config->name));
        }
}

/* Whether a process that was to come up has done so, or never will. */
static bool start_is_over(Job *j, const Process *p) {
        if (p->reached_online && !p->restart_wanted)
                return true;
        if (!IN_SET(p->state, PROCESS_STOPPED, PROCESS_ERRORED, PROCESS_BACKOFF))
                return false;

        add_start_failure(j, p);
        return true;
}

static bool stop_is_over(Job *j, const Process *p) {
        if (p->state == PROCESS_STOPPED)
                return true;
        if (!p->stuck)
                return false;

        add_failure(j, p->id, PMD_ERROR_KILL_FAILED, strprintf("Process %u of %s (pid %d) cannot be killed.", p->id, p->config->name, (int) p->main.pid));
        return true;
}

static void forget_process(Manager *m, Process *p) {
        process_unsave(p);
        manager_remove_process(m, p);
}

static bool process_is_over(Job *j, Process *p) {
        switch (j->verb) {

        case JOB_STOP:
                return stop_is_over(j, p);

        case JOB_DELETE:
                if (!stop_is_over(j, p))
                        return false;
                if (p->state == PROCESS_STOPPED)
                        forget_process(j->app->manager, p);
                return true;

        default:
                return start_is_over(j, p);
        }
}

/* Looks at those that have begun; true if one more of them is over. */
static bool job_collect(Job *j) {
        size_t before = j->n_finished;

        for (size_t i = 0; i < j->n_begun; i++) {
                Process *p;

                if (j->finished[i])
                        continue;
                p = manager_get_process(j->app->manager, j->process_ids[i]);
                j->finished[i] = !p || process_is_over(j, p);
                j->n_finished += j->finished[i];
        }

        return j->n_finished > before;
}

void job_check(Job *j) {
        App *a = j->app;

        do
                job_begin_more(j);
        while (job_collect(j) && j->n_begun < j->n_processes);

        if (j->n_finished < j->n_processes)
                return;

        job_finish(j, j->n_failures > 0 ? JOB_FAILED : JOB_DONE);
        if (a->job)
                return;

        if (a->waiting_jobs) {
                Job *next = a->waiting_jobs;

                LIST_REMOVE(jobs, a->waiting_jobs, next);
                job_run(next);
        } else if (!a->processes)
                manager_remove_app(a->manager, a);
}
