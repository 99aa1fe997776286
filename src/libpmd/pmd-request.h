/* SPDX-License-Identifier: MIT */
#pragma once

#include "libpmd/pmd-internal.h"

/* If pmd dies meanwhile, the call is sent to the next one, with the same token: that one goes on with the jobs, or tells again how they
 * ended, and does nothing twice.
 *
 * A request is a call that answers with jobs, and then the JobRemoved signal of each. As a job may end before the answer
 * is there, signals are kept as long as an answer is expected. The waiting functions are the others with a loop around. */

struct Request {
        pmd_connection *connection;
        sd_bus_slot *call_slot, *resolve_slot;
        sd_bus_message *call, *resolve; /* as they were sent; resolve is NULL once it is answered */
        unsigned n_repeats;
        bool calling;      /* no answer yet */
        bool waited_for;   /* by a function that waits: it takes the outcome itself */
        bool ended;
        char *pmd;         /* unique name of the pmd that answered, NULL peer to peer */
        uint32_t *jobs;    /* that have not ended */
        size_t n_jobs;
        bool failed;       /* a job did not end well */

        int outcome;
        bool refused;      /* nothing was done, or nobody knows: there is an error instead of a result */
        pmd_result result;
        pmd_error error;
        pmd_restored restored; /* of pmd_resurrect() */

        pmd_done_t done;
        void *userdata;
        LIST_FIELDS(Request, requests);
};

/* On the list of its connection. */
int request_new(pmd_connection *c, Request **ret);
Request *request_free(Request *q);
DEFINE_CLEANUP_FUNC(Request *, request_free);

/* Asks which processes the targets mean; sent before the request, it is answered before anything is deleted. */
int request_resolve(Request *q, char *const *targets);

/* The call, which is kept to be sent again. */
int request_send(Request *q, sd_bus_message *m);

/* Until it has ended; waited_for is set. The outcome, with *reterr if nothing was done. */
int request_wait(Request *q, pmd_result *ret, pmd_error *reterr);
