/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/list.h"
#include "shared/macro.h"

/* One requested change to some or all processes of one app. At most one runs per app; a later one waits its turn, except that
 * stop and delete cancel a start or restart that has not finished. */

typedef enum JobVerb {
        JOB_START,
        JOB_STOP,
        JOB_RESTART,
        JOB_RELOAD,
        JOB_DELETE,
        _JOB_VERB_MAX,
        _JOB_VERB_INVALID = -EINVAL,
} JobVerb;

const char *job_verb_to_string(JobVerb v);
JobVerb job_verb_from_string(const char *s);

typedef enum JobResult {
        JOB_DONE,
        JOB_FAILED,   /* of some processes at least; failures tells which and why */
        JOB_CANCELED, /* another job took its place */
        _JOB_RESULT_MAX,
        _JOB_RESULT_INVALID = -EINVAL,
} JobResult;

const char *job_result_to_string(JobResult r);
JobResult job_result_from_string(const char *s);

typedef struct JobFailure {
        unsigned process_id;
        const char *error_name; /* static: org.pmd1.Error.… */
        char *message;
} JobFailure;

struct Job {
        uint32_t id;
        JobVerb verb;
        App *app;
        bool running, in_check_queue;
        bool unattended;    /* nobody waits for its end: it is of the boot */
        char *reason;       /* of a restart that nobody asked for; NULL: somebody did */
        unsigned *process_ids; /* what it is about, by id: a process may be gone before the job is */
        bool *finished;
        unsigned *incarnations; /* of a job that another pmd began: who has been spawned more often has begun; NULL: none has */
        size_t n_processes, n_begun, n_finished;
        unsigned parallel;  /* of a reload: how many processes at a time; 0: one */
        bool gentle;        /* of a delete: what has been begun is finished first */
        JobFailure *failures;
        size_t n_failures, n_failures_allocated;
        LIST_FIELDS(Job, jobs); /* the App's waiting jobs */
        LIST_FIELDS(Job, check_queue);
};

/* Queues it, starts it if nothing is in its way. -EBUSY if too many wait. */
int job_new(App *a, JobVerb verb, Process *const *processes, size_t n, Job **ret);
Job *job_free(Job *j);

/* Those that would start something; pmd is about to end. */
void app_cancel_starts(App *a);

/* From the manager's dispatch: ends, and frees, the job if all its processes are where they should be, and runs the next one. */
void job_check(Job *j);
