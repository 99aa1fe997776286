/* SPDX-License-Identifier: MIT */
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/event-bus.h"
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

/* Takes over the message. */
static void add_failure(Job *j, unsigned id, const char *error_name, char *message) {
        if (!message || !GREEDY_REALLOC(j->failures, j->n_failures_allocated, j->n_failures + 1)) {
                free(message);
                log_oom();
                return;
        }
        j->failures[j->n_failures++] = (JobFailure) { id, error_name, message };
}

static void begin_reload(Job *j, Process *p) {
        int r;

        process_want_reload(p, true);
        r = process_begin_reload(p);
        if (r < 0)
                add_failure(j, p->id, PMD_ERROR_SPAWN_FAILED, strprintf("Cannot start a new process for %s: %s", p->config->name, strerror(-r)));
        else if (j->reason) {
                process_history_trigger(p, j->reason);
                process_set_restart_trigger(p->peer, j->reason);
        }
}

/* Before pmd was killed. */
static bool has_begun(const Job *j, size_t i, const Process *p) {
        return j->incarnations && !IN_SET(j->verb, JOB_STOP, JOB_DELETE) && p->incarnation > j->incarnations[i];
}

static void job_begin_process(Job *j, size_t i) {
        static const ProcessEvent events[_JOB_VERB_MAX] = {
                [JOB_START] = PROCESS_EVENT_UP,
                [JOB_STOP] = PROCESS_EVENT_DOWN,
                [JOB_RESTART] = PROCESS_EVENT_RESTART,
                [JOB_RELOAD] = PROCESS_EVENT_RESTART, /* where two incarnations cannot run at once */
                [JOB_DELETE] = PROCESS_EVENT_DOWN,
        };
        Process *p = manager_get_process(j->app->manager, j->process_ids[i]);

        if (!p)
                return;
        if (has_begun(j, i, p)) {
                if (j->verb == JOB_RELOAD)
                        process_want_reload(p, false);
                return;
        }
        if (j->verb == JOB_RELOAD && (p->peer || process_can_overlap(p)))
                return begin_reload(j, p);

        if (p->reload_wanted)
                process_want_reload(p, false);
        p->delete_wanted = j->verb == JOB_DELETE;
        if (IN_SET(j->verb, JOB_STOP, JOB_DELETE)) {
                app_triggers_stop(p);
                process_end_hidden(p);
        }
        p->asked_for = !j->reason && !j->unattended;
        process_event(p, j->gentle ? PROCESS_EVENT_RETIRE : events[j->verb]);
        if (j->reason) {
                process_history_trigger(p, j->reason);
                process_set_restart_trigger(p, j->reason);
        }
}

/* One of them may be down, and is only started: that is no reason to be quicker with the others. */
static bool is_rolling(const Job *j) {
        for (size_t i = 0; j->verb == JOB_RELOAD && i < j->n_processes; i++) {
                Process *p = manager_get_process(j->app->manager, j->process_ids[i]);

                if (p && process_may_overlap(p))
                        return true;
        }
        return false;
}

static void job_begin_more(Job *j) {
        size_t window = is_rolling(j)                            ? MAX(j->parallel, 1U)
                        : IN_SET(j->verb, JOB_STOP, JOB_DELETE) ? j->n_processes
                                                                : JOB_STARTS_AT_ONCE;

        while (j->n_begun < j->n_processes && j->n_begun - j->n_finished < window)
                job_begin_process(j, j->n_begun++);
}

static void job_run(Job *j) {
        j->app->job = j;
        j->running = true;

        /* Not here and now: who made the job does not know its number yet. */
        manager_enqueue_job_check(j->app->manager, j);
}

/* What it has not come to, or is in the midst of, stays as it is. */
static void give_up_reload(Job *j) {
        for (size_t i = 0; i < j->n_processes; i++) {
                Process *p = manager_get_process(j->app->manager, j->process_ids[i]);

                if (p && !j->finished[i])
                        process_abandon_reload(p);
        }
}

static void job_finish(Job *j, JobResult result) {
        App *a = j->app;

        if (j->verb == JOB_RELOAD)
                give_up_reload(j);

        if (a->job == j)
                a->job = NULL;
        else
                LIST_REMOVE(jobs, a->waiting_jobs, j);

        manager_job_removed(a->manager, j, result);
        job_free(j);
}

static void run_next(App *a) {
        Job *next = a->waiting_jobs;

        LIST_REMOVE(jobs, a->waiting_jobs, next);
        job_run(next);
}

static bool supersedes(JobVerb later, JobVerb earlier) {
        return IN_SET(later, JOB_STOP, JOB_DELETE) && IN_SET(earlier, JOB_START, JOB_RESTART, JOB_RELOAD);
}

static void cancel_superseded(App *a, JobVerb verb) {
        if (!a->job || !supersedes(verb, a->job->verb))
                return;

        /* Those that wait came before, but what they want is superseded as well. */
        LIST_FOREACH_SAFE(jobs, w, a->waiting_jobs)
                if (supersedes(verb, w->verb))
                        job_finish(w, JOB_CANCELED);
        job_finish(a->job, JOB_CANCELED);
}

void app_cancel_starts(App *a) {
        cancel_superseded(a, JOB_STOP);
        if (!a->job && a->waiting_jobs)
                run_next(a);
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
        for (size_t i = 0; i < n; i++) {
                j->process_ids[i] = processes[i]->id;
                if (verb == JOB_RELOAD)
                        process_want_reload(processes[i], true);
        }

        manager_job_new(a->manager, j);
        cancel_superseded(a, verb);

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
        free(j->incarnations);
        free(j->reason);
        return mfree(j);
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
                return !process_has_hidden(p);
        if (!p->stuck)
                return false;

        add_failure(j, p->id, PMD_ERROR_KILL_FAILED, strprintf("Process %u of %s (pid %d) cannot be killed.", p->id, p->config->name, (int) p->main.pid));
        return true;
}

static char *describe_reload_failure(const Process *s) {
        _cleanup_free_ char *how = NULL;

        if (s->last_exit.reason == EXIT_REASON_EXEC_FAILED)
                return process_failure_message(s);
        if (s->spawn_error < 0)
                return strprintf("cannot start a process: %s", strerror(-s->spawn_error));
        if (s->start_timed_out)
                return strprintf("it was not ready within %u ms", (unsigned) (s->config->listen_timeout / USEC_PER_MSEC));
        how = describe_exit(&s->last_exit);
        return strprintf("before it was ready %s", strna(how));
}

static void add_reload_failure(Job *j, Process *p) {
        _cleanup_free_ char *why = describe_reload_failure(p->peer);

        process_history_reload_failed(p, strna(why));
        add_failure(j, p->id, p->peer->start_timed_out ? PMD_ERROR_NOT_READY : PMD_ERROR_EXITED_EARLY,
                    strprintf("The new process of %s (id %u) failed, the old one goes on: %s. See: pmctl logs %s", p->config->name, p->id, strna(why),
                              p->config->name));
}

/* A new version that fails is not tried on the others. */
static void stop_reload(Job *j) {
        for (size_t i = j->n_begun; i < j->n_processes; i++) {
                Process *p = manager_get_process(j->app->manager, j->process_ids[i]);

                if (p)
                        process_abandon_reload(p);
        }
        j->n_processes = j->n_begun;
}

static bool reload_is_over(Job *j, Process *p) {
        if (!p->peer)
                return start_is_over(j, p);

        switch (p->peer->state) {

        case PROCESS_ONLINE:
                process_end_reload(p);
                return true;

        case PROCESS_STOPPED:
        case PROCESS_ERRORED:
                add_reload_failure(j, p);
                process_abandon_reload(p);
                stop_reload(j);
                return true;

        default:
                return false;
        }
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
                if (p->state == PROCESS_STOPPED) {
                        event_bus_process_done(p, job_verb_to_string(JOB_DELETE), !j->reason);
                        forget_process(j->app->manager, p);
                }
                return true;

        case JOB_RELOAD:
                return reload_is_over(j, p);

        default:
                return start_is_over(j, p);
        }
}

static void tell_done(const Job *j, unsigned id) {
        Process *p = manager_get_process(j->app->manager, id);

        if (p && j->verb != JOB_DELETE)
                event_bus_process_done(p, job_verb_to_string(j->verb), !j->reason);
        if (p && j->verb == JOB_RELOAD)
                manager_job_progress(j->app->manager, j, id);
}

/* Looks at those that have begun; true if one more of them is over. */
static bool job_collect(Job *j) {
        size_t before = j->n_finished;

        for (size_t i = 0; i < j->n_begun; i++) {
                size_t n_failures = j->n_failures;
                Process *p;

                if (j->finished[i])
                        continue;
                p = manager_get_process(j->app->manager, j->process_ids[i]);
                j->finished[i] = !p || process_is_over(j, p);
                j->n_finished += j->finished[i];
                if (j->finished[i] && j->n_failures == n_failures)
                        tell_done(j, j->process_ids[i]);
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

        if (a->waiting_jobs)
                run_next(a);
        else if (!a->processes)
                manager_remove_app(a->manager, a);
}
