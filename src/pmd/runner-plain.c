/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "shared/log.h"
#include "shared/proc-util.h"

/* Without cgroups. pmd is a subreaper, so all processes of a unit descend from the main process or, once a parent of theirs has ended,
 * from another child of pmd's: one of the main process's session, or with the unit's mark in its environment. Therefore nobody
 * has to look through all of /proc, and a unit is empty exactly when pmd has no such child.
 *
 * Of a unit that another pmd began, such a process is the child of whichever ancestor of pmd's came in its place: of the keeper, of a
 * subreaper above, or of process 1.
 *
 * Lost is who clears its environment, makes a session of its own, and loses its parent before anybody looked. */

#define KILL_ROUNDS_MAX 100U /* a fork bomb must not hold the event loop for ever */
#define ANCESTORS_MAX 64U
#define EXECVE_LOOKS_MAX 1000U /* some 10 ms */

typedef struct PlainUnit PlainUnit;

typedef struct Member {
        PlainUnit *unit;
        PidRef pidref;
        sd_event_source *exit_source; /* while draining */
} Member;

struct PlainUnit {
        RunnerUnit base;
        Member **members; /* found so far and not known to have ended, without the main process */
        size_t n_members, n_allocated;
        bool draining;
        bool adopted; /* begun by another pmd */
};

static PlainUnit *PLAIN_UNIT(RunnerUnit *u) {
        return CONTAINER_OF(u, PlainUnit, base);
}

static Member *member_free(Member *m) {
        if (!m)
                return NULL;

        sd_event_source_disable_unref(m->exit_source);
        pidref_done(&m->pidref);
        return mfree(m);
}
DEFINE_CLEANUP_FUNC(Member *, member_free);

/* ---- who belongs to it ---- */

static int on_member_exit(sd_event_source *s, int fd, uint32_t revents, void *userdata);

static int watch_member(Member *m) {
        if (m->exit_source)
                return 0;
        return sd_event_add_io(m->unit->base.runner->event, &m->exit_source, m->pidref.fd, EPOLLIN, on_member_exit, m);
}

static bool is_member(const PlainUnit *u, pid_t pid) {
        for (size_t i = 0; i < u->n_members; i++)
                if (u->members[i]->pidref.pid == pid)
                        return true;
        return false;
}

/* Those that are watched are left to on_member_exit(). */
static void forget_ended_members(PlainUnit *u) {
        size_t n = 0;

        for (size_t i = 0; i < u->n_members; i++)
                if (u->members[i]->exit_source || pidref_is_alive(&u->members[i]->pidref))
                        u->members[n++] = u->members[i];
                else
                        member_free(u->members[i]);
        u->n_members = n;
}

/* Whether the process of that pid, which was found as a child of parent, still is one and lives. */
static int open_child(pid_t pid, pid_t parent, PidRef *ret) {
        ProcStat st;
        PidRef p;
        int r;

        r = pidref_open(&p, pid);
        if (r < 0)
                return r;

        r = proc_read_stat(pid, &st);
        if (r >= 0 && (st.ppid != parent || !pidref_is_alive(&p)))
                r = -ESRCH;
        if (r < 0) {
                pidref_done(&p);
                return r;
        }

        *ret = p;
        return 0;
}

/* 1 if it was added, 0 if it is a member already or has ended meanwhile. */
static int add_member(PlainUnit *u, pid_t pid, pid_t parent) {
        _cleanup_(member_freep) Member *m = NULL;
        int r;

        if (is_member(u, pid))
                return 0;

        m = new(Member, 1);
        if (!m || !GREEDY_REALLOC(u->members, u->n_allocated, u->n_members + 1))
                return -ENOMEM;
        *m = (Member) { .unit = u, .pidref = PIDREF_NULL };

        r = open_child(pid, parent, &m->pidref);
        if (r == -ESRCH)
                return 0;
        if (r < 0)
                return r;
        if (u->draining) {
                r = watch_member(m);
                if (r < 0)
                        return r;
        }

        u->members[u->n_members++] = TAKE_PTR(m);
        return 1;
}

static int add_children(PlainUnit *u, pid_t parent) {
        _cleanup_free_ pid_t *children = NULL;
        int n, r, added = 0;

        n = proc_get_children(parent, &children);
        if (n == -ESRCH)
                return 0;
        if (n < 0)
                return n;

        for (int i = 0; i < n; i++) {
                r = add_member(u, children[i], parent);
                if (r < 0)
                        return r;
                added += r;
        }
        return added;
}

/* The kernel shows no environment for a part of execve(). It would not tell when that is over, so we look again at once. */
static bool has_mark(pid_t pid, const char *mark) {
        for (unsigned i = 0; i < EXECVE_LOOKS_MAX; i++) {
                int r = proc_has_environment(pid, mark);

                if (r != -EAGAIN)
                        return r > 0;
                (void) sched_yield();
        }
        log_debug("Process %d is in execve() for too long, taking it for a stranger.", (int) pid);
        return false;
}

static bool is_our_orphan(const PlainUnit *u, pid_t pid) {
        const RunnerUnit *base = &u->base;
        ProcStat st;

        if (pid == base->main->pid || runner_is_main(base->runner, pid) || is_member(u, pid))
                return false;
        /* A pid stays taken for as long as a session has its number. */
        if (proc_read_stat(pid, &st) >= 0 && st.session == base->main->pid)
                return true;
        return base->mark && has_mark(pid, base->mark);
}

/* Among the children of parent, which is pmd or an ancestor; ours is then the one that leads to pmd. */
static int add_orphans_of(PlainUnit *u, pid_t parent, pid_t ours) {
        _cleanup_free_ pid_t *children = NULL;
        int n, r, added = 0;

        n = proc_get_children(parent, &children);
        if (n < 0)
                return n;

        for (int i = 0; i < n; i++) {
                if (children[i] == ours || !is_our_orphan(u, children[i]))
                        continue;
                r = add_member(u, children[i], parent);
                if (r < 0)
                        return r;
                added += r;
        }
        return added;
}

static int add_orphans_of_ancestors(PlainUnit *u) {
        pid_t pid = getpid();
        int r, added = 0;

        for (unsigned i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
                ProcStat st;

                r = proc_read_stat(pid, &st);
                if (r < 0 || st.ppid <= 0)
                        break;
                r = add_orphans_of(u, st.ppid, pid);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) /* hidden from us */
                        break;
                added += r;
                pid = st.ppid;
        }
        return added;
}

static int add_orphans(PlainUnit *u) {
        int r, added;

        added = add_orphans_of(u, getpid(), 0);
        if (added < 0 || !u->adopted)
                return added;
        r = add_orphans_of_ancestors(u);
        return r < 0 ? r : added + r;
}

/* Looks for members. The number of those that were not known yet, or a negative errno. */
static int find_members(PlainUnit *u) {
        int r, added = 0;

        forget_ended_members(u);

        if (pidref_is_alive(u->base.main)) {
                r = add_children(u, u->base.main->pid);
                if (r < 0)
                        return r;
                added += r;
        }

        r = add_orphans(u);
        if (r < 0)
                return r;
        added += r;

        for (size_t i = 0; i < u->n_members; i++) { /* grows meanwhile */
                r = add_children(u, u->members[i]->pidref.pid);
                if (r < 0)
                        return r;
                added += r;
        }
        return added;
}

/* ---- signals ---- */

/* The number of those that were signalled, or the error of one that could not be if there was no other. */
static int signal_known(PlainUnit *u, int signo) {
        int n = 0, r = 0, k;

        if (pidref_is_alive(u->base.main)) {
                k = pidref_kill(u->base.main, signo);
                n += k >= 0;
                RET_GATHER(r, k == -ESRCH ? 0 : k);
        }
        for (size_t i = 0; i < u->n_members; i++) {
                k = pidref_kill(&u->members[i]->pidref, signo);
                n += k >= 0;
                RET_GATHER(r, k == -ESRCH ? 0 : k);
        }
        return n > 0 ? n : r;
}

static int plain_signal(RunnerUnit *u, int signo) {
        int n, r;

        r = find_members(PLAIN_UNIT(u));
        if (r < 0)
                log_debug_errno(r, "Failed to look for all processes of %s, ignoring: %m", u->name);

        n = signal_known(PLAIN_UNIT(u), signo);
        if (n == 0)
                return -ESRCH;
        return n < 0 ? n : 0;
}

/* Who was killed cannot fork any more, so this ends with the first look that finds nobody new. */
static int plain_kill(RunnerUnit *u) {
        int found = 1, r = 0;

        for (unsigned round = 0; round < KILL_ROUNDS_MAX && found > 0; round++) {
                found = find_members(PLAIN_UNIT(u));
                r = signal_known(PLAIN_UNIT(u), SIGKILL);
        }
        if (found != 0)
                return found > 0 ? -EAGAIN : found;
        return r < 0 ? r : 0;
}

/* ---- the end ---- */

static void report_empty(PlainUnit *u) {
        u->draining = false;
        u->base.on_empty(&u->base);
}

static int drain_members(PlainUnit *u) {
        int r;

        r = find_members(u);
        if (r < 0)
                return r;

        if (u->n_members == 0) {
                report_empty(u);
                return 0;
        }

        for (size_t i = 0; i < u->n_members; i++) {
                r = watch_member(u->members[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void remove_member(PlainUnit *u, Member *m) {
        for (size_t i = 0; i < u->n_members; i++)
                if (u->members[i] == m) {
                        u->members[i] = u->members[--u->n_members];
                        break;
                }
        member_free(m);
}

/* Whose children, if it had any, have become ours by now. */
static int on_member_exit(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Member *m = ASSERT_PTR(userdata);
        PlainUnit *u = m->unit;
        int r;

        remove_member(u, m);
        if (u->n_members > 0 || !u->draining)
                return 0;

        r = drain_members(u);
        if (r < 0) {
                log_warning_errno(r, "Failed to look for processes that %s left behind, assuming that there are none: %m", u->base.name);
                report_empty(u);
        }
        return 0;
}

static int plain_drain(RunnerUnit *u) {
        int r;

        PLAIN_UNIT(u)->draining = true;
        r = drain_members(PLAIN_UNIT(u)); /* on_empty() may have freed it */
        if (r < 0)
                PLAIN_UNIT(u)->draining = false;
        return r;
}

/* ---- the rest ---- */

/* Without orphans: to find them for every app would mean to read the list of our children as often. */
static int plain_read_usage(RunnerUnit *u, ResourceUsage *ret) {
        _cleanup_free_ pid_t *pids = NULL;
        size_t n = 0, allocated = 0;

        if (!GREEDY_REALLOC(pids, allocated, 1))
                return -ENOMEM;
        pids[n++] = u->main->pid;

        for (size_t i = 0; i < n; i++) { /* grows meanwhile */
                _cleanup_free_ pid_t *children = NULL;
                int k;

                k = proc_get_children(pids[i], &children);
                if (k <= 0)
                        continue;
                if (!GREEDY_REALLOC(pids, allocated, n + (size_t) k))
                        return -ENOMEM;
                memcpy(pids + n, children, (size_t) k * sizeof(pid_t));
                n += (size_t) k;
        }

        return procs_read_usage(pids, n, ret);
}

static int plain_prepare(RunnerUnit *u) {
        return 0;
}

static void plain_adopt(RunnerUnit *u) {
        PLAIN_UNIT(u)->adopted = true;
}

static void plain_unit_done(RunnerUnit *u) {
        PlainUnit *p = PLAIN_UNIT(u);

        for (size_t i = 0; i < p->n_members; i++)
                member_free(p->members[i]);
        free(p->members);
}

static int plain_runner_init(Runner *r) {
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return -errno;
        return 0;
}

static void plain_runner_done(Runner *r) {
}

const RunnerVTable runner_plain_vtable = {
        .name = "plain",
        .unit_size = sizeof(PlainUnit),
        .runner_init = plain_runner_init,
        .prepare = plain_prepare,
        .attach = runner_unit_report_attached,
        .signal = plain_signal,
        .kill = plain_kill,
        .drain = plain_drain,
        .adopt = plain_adopt,
        .read_usage = plain_read_usage,
        .unit_done = plain_unit_done,
        .runner_done = plain_runner_done,
};
