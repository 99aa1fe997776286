/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "libpmd/pmd.h"
#include "shared/instance.h"
#include "shared/list.h"
#include "shared/macro.h"
#include "shared/time-util.h"

typedef struct EventSubscription EventSubscription;
typedef struct Request Request;

struct pmd_connection {
        sd_bus *bus;
        Instance *instance;
        char *log_hint;       /* where pmd's own messages are: a file, or a command to type */
        pmd_scope scope;
        bool on_broker;       /* else peer to peer, over the private socket */
        bool bus_is_lent;     /* pmd_get_bus(): somebody may want signals that we know nothing of */
        bool no_start, interactive, was_started;
        pid_t peer_pid;       /* who listens on the private socket; 0: unknown */
        uint64_t timeout_usec;
        unsigned n_revivals;  /* how often pmd has died and another one was found; what was subscribed to then is to be asked for again */
        bool lost;            /* pmd has died, and nobody has looked for the next one yet */

        /* Requests whose call or jobs are under way, and those that have ended and wait for pmd_dispatch() to tell. */
        LIST_HEAD(Request, requests);
        LIST_HEAD(Request, completed);

        /* JobRemoved signals that came while calls were under way: one may be of a job whose number we are yet to learn. */
        sd_bus_message **early;
        size_t n_early, n_early_allocated;
        sd_bus_slot *job_removed_slot, *owner_slot, *disconnected_slot, *progress_slot;

        pmd_progress_t progress; /* NULL: none */
        void *progress_userdata;

        EventSubscription *events; /* NULL: none */
};

static inline void pmd_closep(pmd_connection **c) {
        if (*c)
                (void) pmd_close(*c);
}

/* ---- errors (pmd.c) ---- */

/* Describes an error; returns -abs(error). */
int error_set(pmd_error *reterr, int error, const char *name, const char *format, ...) _printf_(4, 5);
/* The errno of an error that pmd, the bus or sd-bus reported, with its description. */
int error_from_bus(const pmd_connection *c, const sd_bus_error *e, pmd_error *reterr);
/* The same for a failure of our own, outside of a method call. */
int error_from_errno(const pmd_connection *c, int error, pmd_error *reterr);

/* ---- calls (pmd.c) ---- */

/* How often pmd may die while one call is made or one request is under way, so that one that kills it does not do so for ever. */
#define REPEATS_MAX 10U

/* A method call to the Manager object. */
int connection_new_call(pmd_connection *c, const char *interface, const char *member, sd_bus_message **ret);
/* Sends it and waits; timeout as for sd_bus_call(). reply may be NULL. */
int connection_call(pmd_connection *c, sd_bus_message *m, uint64_t timeout, sd_bus_message **ret, pmd_error *reterr);
/* The same call for the present connection, with a copy of what m holds, which has been sent before. */
int connection_copy_call(pmd_connection *c, sd_bus_message *m, sd_bus_message **ret);
/* Whether an error says that pmd has ended: the connection broke, or the broker (not we, who lost patience) found it gone. */
bool bus_error_is_loss(const pmd_connection *c, int error, const sd_bus_error *e);
/* Handles what comes in and waits for more until the deadline at most; 0, -ETIMEDOUT, or the error of the connection. */
int bus_process_or_wait(sd_bus *bus, usec_t deadline);
/* Reads an "au" into new memory. */
int message_read_ids(sd_bus_message *m, uint32_t **ret, size_t *ret_n);

/* ---- definitions (pmd-definition.c) ---- */

void attribute_done(pmd_attribute *a);
int message_append_definition(sd_bus_message *m, const pmd_definition *d, pmd_error *reterr);

/* ---- lists (pmd-list.c, pmd-list-packed.c) ---- */

/* Where the memory of a list begins. */
typedef struct ProcessListHead {
        bool in_one_piece; /* all that the processes refer to comes behind them */
        pmd_process items[];
} ProcessListHead;

static inline ProcessListHead *process_list_head(pmd_process *items) {
        return CONTAINER_OF(items, ProcessListHead, items);
}

/* As pmd_list(); -EOPNOTSUPP if pmd does not know how, or knows it in another version. */
int list_packed(pmd_connection *c, char *const *targets, unsigned flags, pmd_process **ret, size_t *ret_n, pmd_error *reterr);

/* ---- requests (pmd-request.c) ---- */

/* Calls done() of one ended request; false if there is none. The connection may be gone afterwards. */
bool connection_dispatch_completed(pmd_connection *c);
/* Forgets all requests, without a word. */
void connection_drop_requests(pmd_connection *c);

/* ---- events (pmd-event.c) ---- */

/* Subscribes again, on a new sd_bus below the same connection; 0 also if there is no subscription. */
int connection_resubscribe_events(pmd_connection *c);
void connection_drop_events(pmd_connection *c);

/* After pmd has died: finds the next one and sends again what is open. 0, or a negative errno, which is then the outcome of all requests. */
int connection_revive(pmd_connection *c);
/* Hears of the ends of jobs and of pmd. */
int connection_watch_pmd(pmd_connection *c);
/* From now on all signals are to come. */
void connection_lend_bus(pmd_connection *c);

/* ---- connecting (pmd-connect.c) ---- */

/* Waits for the pmd that comes after one that has died, and connects to it. Where none will come, or none has come in time: a negative
 * errno. The slots of the connection before are to be gone. */
int connection_find_next_pmd(pmd_connection *c);

/* ---- launching (pmd-launch.c) ---- */

/* Runs "pmd --private=HOME" as a daemon and waits until it is ready. 0; -EBUSY if another one holds the lock; or another
 * negative errno; with *reterr. */
int launch_pmd(pmd_connection *c, usec_t deadline, pmd_error *reterr);
