/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "pmd/job.h"
#include "pmd/pmd-forward.h"

/* What was asked for and has not been done yet, in a file of the runtime directory: requests with their jobs. A request is written before
 * the first of its jobs begins, so that a pmd that is killed has done nothing of it, or the next one does the rest. A client that has lost
 * its pmd sends its request again, with the same token: it gets the same answer, and is told again of jobs that have ended. */

#define REQUEST_JOURNAL_FILE "requests"

int request_journal_new(Manager *m, RequestJournal **ret);
RequestJournal *request_journal_free(RequestJournal *j);
DEFINE_CLEANUP_FUNC(RequestJournal *, request_journal_free);

/* What jobs do to it; NULL journals are fine. */
void request_journal_job_new(RequestJournal *j, Job *job);
void request_journal_job_removed(RequestJournal *j, const Job *job, JobResult result);
/* The job is about processes that have just been made, which may be more than it starts. */
void request_journal_processes_made(RequestJournal *j, const Job *job, const uint32_t *ids, size_t n);

/* Before anything of the new requests is done. */
void request_journal_write(RequestJournal *j);

/* At start-up, when the processes are there again: the jobs of the pmd before go on. */
int request_journal_resume(RequestJournal *j);

/* Somebody may have removed the file, or moved it away. */
void request_journal_repair(RequestJournal *j);

/* Nothing of it is to be done any more. */
void request_journal_clear(RequestJournal *j);

/* A filter for connections, userdata is the Manager: sees the tokens, and answers requests that are known. */
int request_journal_filter(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
