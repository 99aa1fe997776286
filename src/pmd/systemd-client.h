/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "pmd/pmd-forward.h"
#include "shared/app-config.h"
#include "shared/pidref.h"
#include "shared/resource-limits.h"

/* Talks to org.freedesktop.systemd1, asynchronously only, with at most 64 calls in flight and the rest queued. */

typedef struct ScopeSpec {
        const char *unit, *slice, *description;
        const PidRef *main;
        int kill_signal;
        usec_t timeout_stop;
        const char *after_unit; /* "pmd.service", NULL: none */
        const ResourceLimits *limits; /* NULL: none */
        unsigned slice_weights; /* the slice gets these as well, said or not */
} ScopeSpec;

/* error: 0, or a negative errno (-EEXIST: the unit name is taken). invocation_id is "" if it could not be had. */
typedef void (*scope_started_t)(void *userdata, int error, const char *cgroup, const char *invocation_id);
typedef void (*unit_removed_t)(void *userdata);

typedef struct ScopeRef ScopeRef;

int systemd_client_new(sd_bus *bus, SystemdClient **ret);
SystemdClient *systemd_client_free(SystemdClient *c);
DEFINE_CLEANUP_FUNC(SystemdClient *, systemd_client_free);

/* The callbacks come from the event loop; none after scope_ref_free(). removed: UnitRemoved of a unit that had started. */
int systemd_client_start_scope(SystemdClient *c, const ScopeSpec *spec, scope_started_t started, unit_removed_t removed, void *userdata, ScopeRef **ret);
ScopeRef *scope_ref_free(ScopeRef *s);
DEFINE_CLEANUP_FUNC(ScopeRef *, scope_ref_free);

/* What the manager does that we have not asked for. */
typedef struct SystemdWatch {
        void (*scope_job)(const char *unit, void *userdata); /* a job for a scope was queued, be it by us */
        void (*stopping)(bool stopping, void *userdata);     /* the machine or the user's session goes down, or stays up after all */
} SystemdWatch;

int systemd_client_watch(SystemdClient *c, const SystemdWatch *watch, void *userdata); /* watch is static */

/* Asks whether the machine, or the user's session, is going down. When the answer comes, what the manager did before has been told. */
int systemd_client_ask_stopping(SystemdClient *c, sd_bus_message_handler_t told, void *userdata, sd_bus_slot **ret);
bool systemd_client_is_connected(const SystemdClient *c);
bool systemd_client_read_stopping(sd_bus_message *answer); /* false also where there is none */

/* Fire and forget; failures are logged at debug. */
int systemd_client_stop_unit(SystemdClient *c, const char *unit);
int systemd_client_kill_unit(SystemdClient *c, const char *unit, int signo);

/* Of a unit that has started, until it ends: those of LIMIT_BIT() in mask, back to none if they are not said. A failure is a warning. */
int systemd_client_set_limits(SystemdClient *c, const char *unit, const ResourceLimits *l, unsigned mask);

/* Between apps it is the weights of their slices that count. */
#define LIMITS_OF_SLICE (LIMIT_BIT(LIMIT_CPU_WEIGHT) | LIMIT_BIT(LIMIT_IO_WEIGHT))
/* Those that were set since the machine has booted, perhaps for an app of that name that is gone: the manager keeps them. */
unsigned systemd_slice_weights(const char *slice, bool user);
