/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/app-config.h"
#include "shared/cgroup-util.h"
#include "shared/instance.h"
#include "shared/pidref.h"

/* A Runner keeps the processes of one incarnation together: in a systemd scope, in a cgroup of pmd's own, or, where there is
 * neither, by session, descent and a mark in the environment. The state machine never asks which.
 *
 * The life of a RunnerUnit, in order:
 *   prepare()  before the fork. A runner with cgroups of its own makes the directory and sets cgroup_fd: the child is born in it.
 *   attach()   the child exists (main is set) and waits at its gate. Ends in on_attached(unit, 0 or -errno), once, never from
 *              within attach() itself.
 *   signal()/kill()   at any time after the fork.
 *   drain()    the main process is gone. on_empty(unit) follows once, from the event loop or from within, when nothing of the unit is
 *              left alive; until then signal() and kill() still work.
 *   free()     forgets it; what is left of the unit (an empty directory, an inactive scope) is removed.
 */

struct RunnerUnit {
        Runner *runner;
        char *name;            /* "pm-api-0-1.scope"; the cgroup's directory name is the same */
        char *slice;           /* "pm-api.slice" */
        char *cgroup;          /* absolute path in the v2 tree, NULL: unknown or none */
        char *mark;            /* "unique_id=…" as it stands in the environment of every process that inherits it */
        int cgroup_fd;         /* directory, -EBADF: unknown or none */
        const PidRef *main;    /* the main process, owned by the Process; stays readable after its exit */
        AppConfig *config;
        unsigned incarnation;
        bool stopped_by_us;    /* the service manager was asked to stop it */
        char invocation_id[33]; /* 32 hex digits after attach(), "" where there is none */

        void (*on_attached)(RunnerUnit *u, int error);
        void (*on_empty)(RunnerUnit *u);
        void *userdata;

        sd_event_source *attached_source; /* of runner_unit_report_attached() */
};

typedef struct RunnerVTable {
        const char *name; /* "scope", "cgroup", "plain" */
        size_t unit_size; /* of the runner's own struct, whose first member is RunnerUnit */

        int (*runner_init)(Runner *r); /* sets backend; -EOPNOTSUPP: does not work here. NULL: nothing to set up */
        int (*prepare)(RunnerUnit *u);
        int (*attach)(RunnerUnit *u);
        int (*signal)(RunnerUnit *u, int signo); /* to every process of the unit; -ESRCH if there is none */
        int (*kill)(RunnerUnit *u);              /* SIGKILL to every process of the unit */
        int (*drain)(RunnerUnit *u);
        void (*adopt)(RunnerUnit *u);            /* cgroup and cgroup_fd are set, if known and still there; NULL: nothing to do */
        int (*set_limits)(RunnerUnit *u, unsigned mask); /* config has changed, in these LIMIT_BIT()s; NULL: it has no means for any */
        int (*read_usage)(RunnerUnit *u, ResourceUsage *ret); /* what it can tell at once, without blocking; NULL: nothing */
        void (*unit_done)(RunnerUnit *u);        /* frees what the runner's own struct holds */
        void (*runner_done)(Runner *r);
} RunnerVTable;

typedef bool (*runner_is_main_t)(pid_t pid, void *userdata);
typedef void (*runner_main_ended_t)(pid_t pid, void *userdata);

struct Runner {
        const RunnerVTable *vtable;
        sd_event *event;
        bool user;            /* names begin with "app-pm" */
        void *backend;        /* SystemdClient, or the cgroup below which the units go */

        sd_event_source *reaper_source;
        runner_is_main_t is_main;
        runner_main_ended_t main_ended;
        void *is_main_userdata;

        /* The parent of the cgroup that was read last, and what it and its siblings lack, for the same turn of the loop. */
        uint64_t siblings_iteration;
        char *siblings_parent;
        unsigned siblings_lack; /* CgroupLack */
};

/* The first that works of scope (needs a SystemdClient), cgroup, plain; name NULL means that, else just the one named.
 * 0, -EOPNOTSUPP if it does not work here. */
int runner_new(sd_event *event, SystemdClient *client, InstanceScope scope, const char *name, Runner **ret);
Runner *runner_free(Runner *r);
DEFINE_CLEANUP_FUNC(Runner *, runner_free);

/* Processes whose parents have ended become children of pmd's, which has to wait for them: on SIGCHLD (to be blocked in all threads
 * by the caller) every zombie is reaped that is_main() does not claim. Those are left to pidref_wait(); main_ended() is told of them, as a
 * debugger may have kept the end of one back until now. */
int runner_set_reaper(Runner *r, runner_is_main_t is_main, runner_main_ended_t main_ended, void *userdata);
bool runner_is_main(const Runner *r, pid_t pid);

int runner_unit_new(Runner *r, const char *app, unsigned id, unsigned incarnation, AppConfig *config, const PidRef *main_ref, RunnerUnit **ret);
RunnerUnit *runner_unit_free(RunnerUnit *u);
DEFINE_CLEANUP_FUNC(RunnerUnit *, runner_unit_free);

static inline int runner_unit_prepare(RunnerUnit *u) {
        return u->runner->vtable->prepare(u);
}
static inline int runner_unit_attach(RunnerUnit *u) {
        return u->runner->vtable->attach(u);
}
int runner_unit_signal(RunnerUnit *u, int signo);
int runner_unit_kill(RunnerUnit *u);
static inline int runner_unit_drain(RunnerUnit *u) {
        return u->runner->vtable->drain(u);
}
/* Instead of prepare() and attach(): the unit was made by a pmd that has ended. cgroup and invocation_id may be NULL. 0 or -ENOMEM. */
int runner_unit_adopt(RunnerUnit *u, const char *cgroup, const char *invocation_id);
/* Whether the process is one of the unit's: by its cgroup, or, where there is none, by session and descent. */
bool runner_unit_has_process(const RunnerUnit *u, pid_t pid);

/* Another definition for a unit that runs: changes the limits, which are the only part of it that can change. 0 or a negative errno. */
int runner_unit_set_config(RunnerUnit *u, AppConfig *config);
/* The LIMIT_BIT()s of the limits that were said but have no effect here, as far as can be seen. Of use once the unit is attached. */
unsigned runner_unit_unenforced(const RunnerUnit *u);

/* cgroup files → what the runner knows → the sum over its processes; the first that has a figure. */
int runner_unit_read_usage(RunnerUnit *u, ResourceUsage *ret);

/* For runners that have nothing to wait for: on_attached(u, 0) from the event loop. */
int runner_unit_report_attached(RunnerUnit *u);

extern const RunnerVTable runner_scope_vtable, runner_cgroup_vtable, runner_plain_vtable;
