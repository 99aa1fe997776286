/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/linkhash.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>

#include "pmd/systemd-client.h"
#include "shared/list.h"
#include "shared/string-table.h"

/* What systemd-client.c (connection and queue) and systemd-scope.c (the start of a scope) share; nobody else includes it. */

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"
#define SYSTEMD_UNIT "org.freedesktop.systemd1.Unit"

/* How the manager takes the process of a scope. By pidfd since systemd 255; the first start finds out. */
typedef enum PidPassing {
        PID_PASSING_UNKNOWN,
        PID_PASSING_PIDFD,
        PID_PASSING_PID,
        _PID_PASSING_MAX,
        _PID_PASSING_INVALID = -EINVAL,
} PidPassing;

DECLARE_STRING_TABLE(PidPassing, pid_passing);

/* One message to the manager, or one start of a scope, which holds its place until its job has ended. */
typedef struct Call {
        SystemdClient *client;
        sd_bus_message *message; /* NULL: a start, whose message is made when its turn comes */
        ScopeRef *scope;         /* NULL: nobody waits */
        sd_bus_slot *slot;
        struct Call *queue_next;
        LIST_FIELDS(struct Call, in_flight);
} Call;

struct SystemdClient {
        sd_bus *bus;
        sd_event *event;
        sd_event_source *dispatch_source;
        const SystemdWatch *watch;
        void *watch_userdata;
        sd_bus_slot *subscribe_slot, *job_removed_slot, *reloading_slot, *unit_removed_slot, *disconnected_slot;
        sd_bus_slot *watch_new_slot, *watch_removed_slot, *list_slot;
        bool reloading;          /* the manager reads its units again, or executes itself */
        PidPassing pid_passing;
        bool no_oom_policy;      /* scopes have none before systemd 253 */
        Call *queue_first, *queue_last;
        LIST_HEAD(Call, in_flight);
        unsigned n_queued, n_in_flight;
        struct lh_table *scopes; /* unit name → ScopeRef, from the start on until the unit is gone */
};

typedef enum ScopePhase {
        SCOPE_QUEUED,
        SCOPE_CALLING,  /* StartTransientUnit() is under way */
        SCOPE_WAITING,  /* for JobRemoved */
        SCOPE_FETCHING, /* the invocation id */
        SCOPE_RUNNING,
        SCOPE_ENDED,    /* failed, or the unit is gone */
        _SCOPE_PHASE_MAX,
        _SCOPE_PHASE_INVALID = -EINVAL,
} ScopePhase;

DECLARE_STRING_TABLE(ScopePhase, scope_phase);

struct ScopeRef {
        SystemdClient *client;
        ScopePhase phase;
        char *unit, *slice, *description, *after_unit;
        const PidRef *main;
        int kill_signal;
        usec_t timeout_stop;
        ResourceLimits limits;
        bool with_oom_policy;    /* so it was asked for */

        Call *call;
        char *job;               /* object path */
        char *early_result;      /* of a job that was removed before the reply came, whose path is in job */
        sd_bus_slot *fetch_slot;
        char invocation_id[SD_ID128_STRING_MAX]; /* "" as long as it is not known */
        unsigned n_repeats;    /* how often the manager has been replaced in the middle of the start */
        sd_event_source *timeout_source;

        bool in_doubt;           /* the manager said that it is gone, but while it was reloading: then it says so of all units
                                  * that will be there again */
        bool forgotten;          /* by its owner, while the manager may be making the unit: stopped if it comes up */
        scope_started_t started;
        unit_removed_t removed;
        void *userdata;
};

/* The scope is NULL for a message that nobody waits for, the message for the start of a scope. */
int client_enqueue(SystemdClient *c, sd_bus_message *m, ScopeRef *scope);
void client_end_call(SystemdClient *c, Call *call);
void client_schedule(SystemdClient *c);
int client_subscribe(SystemdClient *c);
int client_match(SystemdClient *c, sd_bus_slot **slot, const char *member, sd_bus_message_handler_t handler);
int on_reloading(sd_bus_message *m, void *userdata, sd_bus_error *reterr);

/* (sv) for each of the limits in mask. */
int systemd_append_limits(sd_bus_message *m, const ResourceLimits *l, unsigned mask);

ScopeRef *client_get_scope(SystemdClient *c, const char *unit);
ScopeRef *scope_destroy(ScopeRef *s);
void scope_set_phase(ScopeRef *s, ScopePhase phase);
/* Stops a scope whose name is taken, if nothing is in it. */
void scope_remove_left_over(sd_bus *bus, const char *unit);
int scope_send_start(ScopeRef *s);
void scope_fail(ScopeRef *s, int error);

/* Signals of the manager; userdata is the client. */
int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr);
int on_unit_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr);
