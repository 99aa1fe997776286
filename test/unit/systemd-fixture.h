/* SPDX-License-Identifier: MIT */
#pragma once

/* The client against a service manager that answers when it is told to, at the other end of a socket pair. */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "pmd/systemd-client.h"
#include "shared/pidref.h"

#define JOB "/org/freedesktop/systemd1/job/7"

typedef struct Fake {
        sd_event *event;
        sd_bus *server, *bus;
        SystemdClient *client;
        PidRef self;

        sd_bus_message *starts[128]; /* StartTransientUnit() calls, in order */
        size_t n_starts;
        sd_bus_message *set_properties; /* the last SetUnitProperties() */
        sd_bus_message *fetch;       /* the last Get() of an invocation id */
        unsigned n_fetches;
        bool job_waits;              /* units have no invocation id yet */
        const char *state;           /* SystemState; NULL: refuses to tell */
        const char *cgroup;          /* ControlGroup of each scope; NULL: there is none of this name any more */
        unsigned n_cgroup_fetches;
        const char *left;            /* the one unit that ListUnitsByNames() knows; NULL: refuses to tell */
        unsigned n_lists;
        unsigned n_stops;
        bool hold_fetch;
} Fake;

typedef struct Scope {
        ScopeRef *ref;
        unsigned n_started, n_removed;
        int error;
        bool has_cgroup, free_when_started;
        char invocation_id[33];
} Scope;

/* ---- the manager ---- */

void pump(Fake *f);
void fake_init(Fake *f);
void fake_done(Fake *f);
void reply_job(Fake *f, size_t i);
void reply_error(Fake *f, size_t i, const char *name);
void send_signal(Fake *f, const char *member, const char *types, ...);
void send_job_removed(Fake *f, const char *job, const char *unit, const char *result);
void send_unit_removed(Fake *f, const char *unit);

/* ---- the caller ---- */

void on_started(void *userdata, int error, const char *cgroup, const char *invocation_id);
void on_removed(void *userdata);
int scope_ask(Fake *f, Scope *s, const char *unit);
int scope_start(Fake *f, Scope *s, const char *unit);
void scope_bring_up(Fake *f, Scope *s, const char *unit);
