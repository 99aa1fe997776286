/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/proc-util.h"
#include "shared/resource-limits.h"
#include "shared/string-util.h"
#include "shared/unit-name.h"

#define DESCENT_MAX 64U

/* ---- which runner ---- */

static const RunnerVTable *const vtables[] = {
        &runner_scope_vtable,
        &runner_cgroup_vtable,
        &runner_plain_vtable,
};

static const RunnerVTable *find_vtable(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(vtables); i++)
                if (streq(vtables[i]->name, name))
                        return vtables[i];
        return NULL;
}

static int try_runner(const RunnerVTable *vtable, sd_event *event, SystemdClient *client, InstanceScope scope, Runner **ret) {
        Runner *runner;
        int r;

        if (vtable == &runner_scope_vtable && !client)
                return -EOPNOTSUPP;

        runner = new(Runner, 1);
        if (!runner)
                return -ENOMEM;

        *runner = (Runner) {
                .vtable = vtable,
                .event = sd_event_ref(event),
                .user = scope == INSTANCE_USER,
                .backend = vtable == &runner_scope_vtable ? client : NULL,
        };

        r = vtable->runner_init ? vtable->runner_init(runner) : 0;
        if (r < 0) {
                sd_event_unref(runner->event);
                free(runner);
                return r;
        }

        *ret = runner;
        return 0;
}

int runner_new(sd_event *event, SystemdClient *client, InstanceScope scope, const char *name, Runner **ret) {
        const RunnerVTable *vtable;
        int r = -EOPNOTSUPP;

        if (name) {
                vtable = find_vtable(name);
                return vtable ? try_runner(vtable, event, client, scope, ret) : -EINVAL;
        }

        for (size_t i = 0; i < ELEMENTSOF(vtables) && r == -EOPNOTSUPP; i++) {
                if (vtables[i] == &runner_scope_vtable && scope == INSTANCE_PRIVATE)
                        continue;
                r = try_runner(vtables[i], event, client, scope, ret);
        }
        return r;
}

Runner *runner_free(Runner *r) {
        if (!r)
                return NULL;

        sd_event_source_disable_unref(r->reaper_source);
        r->vtable->runner_done(r);
        sd_event_unref(r->event);
        free(r->siblings_parent);
        return mfree(r);
}

/* ---- orphans ---- */

bool runner_is_main(const Runner *r, pid_t pid) {
        return r->is_main && r->is_main(pid, r->is_main_userdata);
}

static void reap(pid_t pid) {
        siginfo_t si = {};

        if (waitid(P_PID, (id_t) pid, &si, WEXITED | WNOHANG) >= 0 && si.si_pid > 0)
                log_debug("Reaped the orphan %d.", (int) pid);
}

static int reap_among_children(Runner *r) {
        _cleanup_free_ pid_t *children = NULL;
        int n;

        n = proc_get_children(getpid(), &children);
        if (n < 0)
                return n;

        for (int i = 0; i < n; i++)
                if (runner_is_main(r, children[i]))
                        r->main_ended(children[i], r->is_main_userdata);
                else
                        reap(children[i]);
        return 0;
}

static int reap_orphans(Runner *r) {
        for (;;) {
                siginfo_t si = {};

                if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
                        return errno == ECHILD ? 0 : -errno;
                if (si.si_pid == 0)
                        return 0;
                /* It would be shown to us again and again, and hides who is behind it. */
                if (runner_is_main(r, si.si_pid))
                        return reap_among_children(r);
                reap(si.si_pid);
        }
}

static int on_sigchld(sd_event_source *s, const struct signalfd_siginfo *ssi, void *userdata) {
        Runner *runner = ASSERT_PTR(userdata);
        int r;

        r = reap_orphans(runner);
        if (r < 0)
                log_warning_errno(r, "Failed to reap orphans, ignoring: %m");
        return 0;
}

int runner_set_reaper(Runner *r, runner_is_main_t is_main, runner_main_ended_t main_ended, void *userdata) {
        int k;

        r->is_main = is_main;
        r->main_ended = main_ended;
        r->is_main_userdata = userdata;

        if (!r->reaper_source) {
                k = sd_event_add_signal(r->event, &r->reaper_source, SIGCHLD, on_sigchld, r);
                if (k < 0)
                        return k;
                /* After the pidfds of main processes, which are reaped then and no longer in the way. */
                k = sd_event_source_set_priority(r->reaper_source, SD_EVENT_PRIORITY_NORMAL + 1);
                if (k < 0)
                        return k;
        }

        return reap_orphans(r); /* whose SIGCHLD came earlier */
}

/* ---- units ---- */

int runner_unit_new(Runner *runner, const char *app, unsigned id, unsigned incarnation, AppConfig *config,
                    const PidRef *main_ref, RunnerUnit **ret) {
        _cleanup_(runner_unit_freep) RunnerUnit *u = NULL;
        int r;

        u = calloc(1, runner->vtable->unit_size);
        if (!u)
                return -ENOMEM;

        u->runner = runner;
        u->cgroup_fd = -EBADF;
        u->main = main_ref;
        u->config = app_config_ref(config);
        u->incarnation = incarnation;

        r = unit_name_scope(app, id, incarnation, runner->user, &u->name);
        if (r < 0)
                return r;
        r = unit_name_slice(app, runner->user, &u->slice);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(u);
        return 0;
}

RunnerUnit *runner_unit_free(RunnerUnit *u) {
        if (!u)
                return NULL;

        u->runner->vtable->unit_done(u);
        sd_event_source_disable_unref(u->attached_source);
        safe_close(u->cgroup_fd);
        free(u->name);
        free(u->slice);
        free(u->cgroup);
        free(u->mark);
        app_config_unref(u->config);
        return mfree(u);
}

static int on_report_attached(sd_event_source *s, void *userdata) {
        RunnerUnit *u = ASSERT_PTR(userdata);

        u->attached_source = sd_event_source_unref(u->attached_source);
        u->on_attached(u, 0);
        return 0;
}

int runner_unit_report_attached(RunnerUnit *u) {
        return sd_event_add_defer(u->runner->event, &u->attached_source, on_report_attached, u);
}

/* ---- members ---- */

static bool path_is_below(const char *path, const char *cgroup) {
        const char *rest = startswith(path, cgroup);

        return rest && IN_SET(*rest, 0, '/');
}

static bool cgroup_has_process(const char *cgroup, pid_t pid) {
        _cleanup_free_ char *path = NULL;

        return cgroup_path_of_pid(pid, &path) >= 0 && path_is_below(path, cgroup);
}

/* A session cannot be joined from outside. */
static bool descends_from(pid_t ancestor, pid_t pid) {
        for (unsigned i = 0; i < DESCENT_MAX && pid > 1 && pid != getpid(); i++) {
                ProcStat st;

                if (pid == ancestor)
                        return true;
                if (proc_read_stat(pid, &st) < 0)
                        return false;
                if (st.session == ancestor)
                        return true;
                pid = st.ppid;
        }
        return false;
}

bool runner_unit_has_process(const RunnerUnit *u, pid_t pid) {
        if (!pidref_is_set(u->main))
                return false;
        if (pid == u->main->pid)
                return true;
        return u->cgroup ? cgroup_has_process(u->cgroup, pid) : descends_from(u->main->pid, pid);
}

/* ---- signals ---- */

/* Who may do so can move it to another cgroup, and then remove its own. */
static bool main_was_moved(const RunnerUnit *u) {
        _cleanup_free_ char *path = NULL;

        return u->cgroup_fd >= 0 && pidref_is_alive(u->main) && cgroup_path_of_pid(u->main->pid, &path) >= 0 && !path_is_below(path, u->cgroup);
}

/* r: what came of the signal to the unit. */
static int signal_moved_main(const RunnerUnit *u, int signo, int r) {
        if (!main_was_moved(u))
                return r;
        log_debug("Process %d is not in %s any more.", (int) u->main->pid, u->cgroup);
        return pidref_kill(u->main, signo);
}

int runner_unit_signal(RunnerUnit *u, int signo) {
        return signal_moved_main(u, signo, u->runner->vtable->signal(u, signo));
}

int runner_unit_kill(RunnerUnit *u) {
        return signal_moved_main(u, SIGKILL, u->runner->vtable->kill(u));
}

/* ---- limits ---- */

static unsigned changed_limits(const RunnerUnit *u, const AppConfig *before) {
        unsigned mask = 0;

        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++)
                if (k == LIMIT_ALLOWED_CPUS ? !streq_ptr(u->config->limits.allowed_cpus, before->limits.allowed_cpus) :
                                              resource_limits_get(&u->config->limits, k) != resource_limits_get(&before->limits, k))
                        mask |= LIMIT_BIT(k);
        return mask;
}

int runner_unit_set_config(RunnerUnit *u, AppConfig *config) {
        _cleanup_app_config_unref_ AppConfig *before = u->config;
        unsigned mask;

        u->config = app_config_ref(config);
        mask = changed_limits(u, before);
        return mask != 0 && u->runner->vtable->set_limits ? u->runner->vtable->set_limits(u, mask) : 0;
}

static bool can_limit(const RunnerUnit *u, LimitKind k) {
        if (u->cgroup_fd >= 0 && cgroup_can_limit(u->cgroup_fd, k))
                return true;
        return u->runner->vtable == &runner_scope_vtable && pidref_is_set(u->main) && cgroup_v1_can_limit(u->main->pid, u->name, k);
}

unsigned runner_unit_unenforced(const RunnerUnit *u) {
        unsigned mask = u->config ? resource_limits_mask(&u->config->limits) : 0, unenforced = 0;

        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++)
                if ((mask & LIMIT_BIT(k)) && !can_limit(u, k))
                        unenforced |= LIMIT_BIT(k);
        return unenforced;
}

/* ---- usage ---- */

static bool usage_is_complete(const ResourceUsage *u) {
        return u->memory_current != UINT64_MAX && u->cpu_usage_nsec != UINT64_MAX && u->tasks_current != UINT64_MAX;
}

static int sum_up_cgroup(int cgroup_fd, ResourceUsage *ret) {
        _cleanup_free_ pid_t *pids = NULL;
        int n;

        n = cgroup_get_pids(cgroup_fd, &pids);
        return n < 0 ? n : procs_read_usage(pids, (size_t) n, ret);
}

int runner_unit_adopt(RunnerUnit *u, const char *cgroup, const char *invocation_id) {
        int r;

        if (invocation_id)
                (void) snprintf(u->invocation_id, sizeof u->invocation_id, "%s", invocation_id);
        if (cgroup) {
                u->cgroup = strdup(cgroup);
                if (!u->cgroup)
                        return -ENOMEM;
                r = cgroup_open(cgroup);
                if (r >= 0)
                        u->cgroup_fd = r;
                else if (r == -ENOENT) /* with who was in it */
                        u->cgroup = mfree(u->cgroup);
                else
                        log_warning_errno(r, "Failed to open cgroup %s, ignoring: %m", cgroup);
        }
        if (u->runner->vtable->adopt)
                u->runner->vtable->adopt(u);
        return 0;
}

/* What is known of the siblings of a unit's cgroup; NULL if nothing can be. Somebody may give them controllers at any time, so it is
 * forgotten with the turn of the loop. */
static unsigned *lacks_of_siblings(RunnerUnit *u) {
        const char *slash = u->cgroup ? strrchr(u->cgroup, '/') : NULL;
        size_t n = slash ? (size_t) (slash - u->cgroup) : 0;
        Runner *runner = u->runner;
        uint64_t iteration;

        if (!slash || sd_event_get_iteration(runner->event, &iteration) < 0)
                return NULL;
        if (runner->siblings_parent && runner->siblings_iteration == iteration && strncmp(runner->siblings_parent, u->cgroup, n) == 0 &&
            runner->siblings_parent[n] == '\0')
                return &runner->siblings_lack;

        free(runner->siblings_parent);
        runner->siblings_parent = strndup(u->cgroup, n);
        runner->siblings_iteration = iteration;
        runner->siblings_lack = 0;
        return &runner->siblings_lack;
}

int runner_unit_read_usage(RunnerUnit *u, ResourceUsage *ret) {
        const RunnerVTable *vtable = u->runner->vtable;
        ResourceUsage usage = RESOURCE_USAGE_UNSET, more;

        if (u->cgroup_fd >= 0 && cgroup_read_usage(u->cgroup_fd, lacks_of_siblings(u), &more) >= 0)
                resource_usage_fill(&usage, &more);
        if (!usage_is_complete(&usage) && vtable->read_usage && vtable->read_usage(u, &more) >= 0)
                resource_usage_fill(&usage, &more);
        if (!usage_is_complete(&usage) && u->cgroup_fd >= 0 && sum_up_cgroup(u->cgroup_fd, &more) >= 0)
                resource_usage_fill(&usage, &more);

        *ret = usage;
        return 0;
}
