/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "pmd/systemd-client.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* Each incarnation is a scope of the service manager: "systemctl status", "systemd-cgls", MemoryMax= and the journal know
 * it, and it outlives pmd. The cgroup itself is used by its files, without a round trip. */

typedef struct ScopeUnit {
        RunnerUnit base;
        ScopeRef *ref;
        bool pending;  /* the start was asked for */
        bool started;  /* and succeeded, and the manager has not forgotten the unit */
        bool draining;
        sd_event_source *events_source; /* cgroup.events */
} ScopeUnit;

static ScopeUnit *SCOPE_UNIT(RunnerUnit *u) {
        return CONTAINER_OF(u, ScopeUnit, base);
}

static bool main_is_alive(const RunnerUnit *u) {
        struct pollfd p = { .fd = u->main->fd, .events = POLLIN };

        return pidref_is_set(u->main) && poll(&p, 1, 0) == 0;
}

static bool unit_is_empty(const ScopeUnit *s) {
        const RunnerUnit *u = &s->base;
        int r;

        if (u->cgroup_fd < 0)
                return !s->started; /* UnitRemoved will tell */
        r = cgroup_is_populated(u->cgroup_fd);
        if (r < 0)
                log_debug_errno(r, "Failed to read whether %s is empty, assuming that it is: %m", u->name);
        return r <= 0;
}

/* ---- the end ---- */

static void stop_scope(ScopeUnit *s) {
        s->base.stopped_by_us = true;
        (void) systemd_client_stop_unit(s->base.runner->backend, s->base.name);
}

static void finish_drain(ScopeUnit *s) {
        s->draining = false;
        s->events_source = sd_event_source_disable_unref(s->events_source);
        s->base.on_empty(&s->base);
}

static int on_cgroup_events(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        ScopeUnit *s = ASSERT_PTR(userdata);

        if (s->draining && unit_is_empty(s))
                finish_drain(s);
        return 0;
}

static int watch_cgroup_events(ScopeUnit *s) {
        char path[STRLEN("/proc/self/fd//cgroup.events") + 16];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%i/cgroup.events", s->base.cgroup_fd);
        return sd_event_add_inotify(s->base.runner->event, &s->events_source, path, IN_MODIFY, on_cgroup_events, s);
}

static int scope_drain(RunnerUnit *u) {
        ScopeUnit *s = SCOPE_UNIT(u);
        int r;

        /* A scope that was adopted without a cgroup that can be read: nobody would tell of its end. */
        if (u->cgroup_fd < 0 && s->started && !s->ref) {
                stop_scope(s);
                s->started = false;
        }

        /* The child died at its gate, so there is nobody else; the client stops the scope should it still come up. */
        if (s->pending) {
                s->ref = scope_ref_free(s->ref);
                s->pending = false;
        }

        s->draining = true;
        if (unit_is_empty(s)) {
                finish_drain(s);
                return 0;
        }
        if (u->cgroup_fd < 0)
                return 0;

        r = watch_cgroup_events(s);
        if (r == -ENOENT) { /* removed in between */
                finish_drain(s);
                return 0;
        }
        if (r < 0) {
                s->draining = false;
                return r;
        }

        if (unit_is_empty(s))
                finish_drain(s);
        return 0;
}

static void on_unit_removed(void *userdata) {
        ScopeUnit *s = ASSERT_PTR(userdata);

        s->started = false;

        if (s->draining) {
                if (unit_is_empty(s))
                        finish_drain(s);
                return;
        }

        /* A late "cgroup is empty" can end a scope whose process lives on in the cgroup (systemd issue 36781). */
        if (main_is_alive(&s->base))
                log_warning("The service manager has given up %s though its main process %i lives, going on without it.",
                                s->base.name, s->base.main->pid);
}

/* ---- the start ---- */

/* Whether the child was alive when it was attached. A zombie can be attached too, but stays in the cgroup where it died. */
static bool take_cgroup(ScopeUnit *s, const char *cgroup) {
        RunnerUnit *u = &s->base;

        if (!cgroup || !streq(path_basename(cgroup), u->name))
                return false;

        u->cgroup = strdup(cgroup);
        u->cgroup_fd = cgroup_open(cgroup);
        if (u->cgroup_fd < 0) {
                log_debug_errno(u->cgroup_fd, "Failed to open cgroup %s, ignoring: %m", cgroup);
                return main_is_alive(u);
        }
        return !unit_is_empty(s);
}

static void on_scope_started(void *userdata, int error, const char *cgroup, const char *invocation_id) {
        ScopeUnit *s = ASSERT_PTR(userdata);
        RunnerUnit *u = &s->base;

        s->pending = false;
        if (error < 0) {
                u->stopped_by_us = true; /* what has its name is left over, or comes too late; the client stops it */
                u->on_attached(u, error);
                return;
        }

        s->started = true;
        (void) snprintf(u->invocation_id, sizeof(u->invocation_id), "%s", invocation_id);

        /* The manager never sees a scope become empty that was born so, and would keep it for ever. */
        if (!take_cgroup(s, cgroup))
                stop_scope(s);

        u->on_attached(u, 0);
}

static int scope_prepare(RunnerUnit *u) {
        return 0;
}

static int scope_attach(RunnerUnit *u) {
        _cleanup_free_ char *description = NULL;
        ScopeUnit *s = SCOPE_UNIT(u);
        unsigned weights;
        int r;

        weights = (resource_limits_mask(&u->config->limits) & LIMITS_OF_SLICE) | systemd_slice_weights(u->slice, u->runner->user);
        description = string_escape_cc(u->config->name);
        if (!description)
                return -ENOMEM;

        r = systemd_client_start_scope(u->runner->backend,
                        &(ScopeSpec) {
                                .unit = u->name,
                                .slice = u->slice,
                                .description = description,
                                .main = u->main,
                                .kill_signal = u->config->kill_signal,
                                .timeout_stop = u->config->kill_timeout,
                                .limits = &u->config->limits,
                                .slice_weights = weights,
                                /* At shutdown scopes are stopped before pmd, which sees them off, or at least before the bus, which pmd is told by. */
                                .after_unit = u->runner->user ? "dbus.service" : "pmd.service",
                        },
                        on_scope_started, on_unit_removed, s, &s->ref);
        if (r < 0)
                return r;

        s->pending = true;
        return 0;
}

static int scope_set_limits(RunnerUnit *u, unsigned mask) {
        const ResourceLimits *limits = &u->config->limits;
        unsigned weights = mask & LIMITS_OF_SLICE;
        int r;

        if (!SCOPE_UNIT(u)->started)
                return 0;

        r = systemd_client_set_limits(u->runner->backend, u->name, limits, mask);
        return r < 0 || weights == 0 ? r : systemd_client_set_limits(u->runner->backend, u->slice, limits, weights);
}

/* ---- signals ---- */

/* At the gate the child is alone; without a unit and a cgroup it is all we can reach. */
static bool only_main_is_known(const ScopeUnit *s) {
        return s->base.cgroup_fd < 0 && !s->started;
}

static int scope_signal(RunnerUnit *u, int signo) {
        ScopeUnit *s = SCOPE_UNIT(u);
        int r;

        if (only_main_is_known(s))
                return pidref_kill(u->main, signo);

        r = u->cgroup_fd >= 0 ? cgroup_signal_all(u->cgroup_fd, signo) : -EBADF;
        if (r == 0)
                return -ESRCH;
        if (r < 0 && s->started)
                r = systemd_client_kill_unit(u->runner->backend, u->name, signo);
        return r < 0 ? r : 0;
}

static int scope_kill(RunnerUnit *u) {
        ScopeUnit *s = SCOPE_UNIT(u);
        int r;

        if (only_main_is_known(s))
                return pidref_kill(u->main, SIGKILL);

        r = u->cgroup_fd >= 0 ? cgroup_kill_all(u->cgroup_fd) : -EBADF;
        if (r < 0 && s->started)
                r = systemd_client_kill_unit(u->runner->backend, u->name, SIGKILL);
        return r < 0 ? r : 0;
}

/* ---- the rest ---- */

/* A bus can be there without a service manager: in a container, or for a user who has none. */
static int scope_runner_init(Runner *r) {
        const char *dir = getenv("XDG_RUNTIME_DIR");
        _cleanup_free_ char *path = NULL;

        if (!r->user)
                return sd_booted() > 0 ? 0 : -EOPNOTSUPP;

        path = strjoin(strempty(dir), "/systemd/private");
        if (!path)
                return -ENOMEM;
        return access(path, F_OK) >= 0 ? 0 : -EOPNOTSUPP;
}

static void scope_adopt(RunnerUnit *u) {
        SCOPE_UNIT(u)->started = true;
}

static void scope_unit_done(RunnerUnit *u) {
        ScopeUnit *s = SCOPE_UNIT(u);

        s->events_source = sd_event_source_disable_unref(s->events_source);
        s->ref = scope_ref_free(s->ref);
}

static void scope_runner_done(Runner *r) {
}

const RunnerVTable runner_scope_vtable = {
        .name = "scope",
        .unit_size = sizeof(ScopeUnit),
        .runner_init = scope_runner_init,
        .prepare = scope_prepare,
        .attach = scope_attach,
        .signal = scope_signal,
        .kill = scope_kill,
        .drain = scope_drain,
        .adopt = scope_adopt,
        .set_limits = scope_set_limits,
        .unit_done = scope_unit_done,
        .runner_done = scope_runner_done,
};
