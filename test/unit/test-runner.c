/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/process-spawn.h"
#include "pmd/runner.h"
#include "shared/fd-util.h"
#include "shared/proc-util.h"

#define TIMEOUT_USEC (20 * USEC_PER_SEC)
#define MARK "unique_id=11111111-2222-3333-4444-555555555555"
#define OTHER_MARK "unique_id=99999999-2222-3333-4444-555555555555"

/* A main process that leaves behind one whose parent ends, in a session of its own; tells the pid of that. */
#define STRAY_SCRIPT "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000"
/* One that cannot be known by its session or environment, but has its parent. */
#define CHILD_SCRIPT "env -i setsid sh -c 'echo $$; exec sleep 1000' & wait"

typedef struct Bed {
        sd_event *event;
        Runner *runner;
        RunnerUnit *unit;
        SpawnResult child;
        int out_fd;
        PidRef stray;
        unsigned n_attached, n_empty;
        int attach_error;
        pid_t mains[2];
} Bed;

static bool is_main(pid_t pid, void *userdata) {
        Bed *b = ASSERT_PTR(userdata);

        return pid == b->mains[0] || pid == b->mains[1];
}

static void main_ended(pid_t pid, void *userdata) {
}

static void on_attached(RunnerUnit *u, int error) {
        Bed *b = ASSERT_PTR(u->userdata);

        b->n_attached++;
        b->attach_error = error;
}

static void on_empty(RunnerUnit *u) {
        Bed *b = ASSERT_PTR(u->userdata);

        b->n_empty++;
}

/* False where this runner does not work. */
static bool bed_init(Bed *b, const char *runner) {
        sigset_t mask;
        int r;

        ASSERT_OK(sigemptyset(&mask));
        ASSERT_OK(sigaddset(&mask, SIGCHLD));
        ASSERT_OK(sigprocmask(SIG_BLOCK, &mask, NULL));

        *b = (Bed) { .out_fd = -EBADF, .stray = PIDREF_NULL };
        ASSERT_OK(sd_event_new(&b->event));
        r = runner_new(b->event, NULL, INSTANCE_PRIVATE, runner, &b->runner);
        if (r == -EOPNOTSUPP) {
                printf("# skipped, no %s runner here\n", runner);
                sd_event_unref(b->event);
                return false;
        }
        ASSERT_OK(r);
        ASSERT_STREQ(b->runner->vtable->name, runner);
        ASSERT_OK(runner_set_reaper(b->runner, is_main, main_ended, b));
        return true;
}

/* Lets the reaper do its work, of which SIGCHLD tells a moment after the pidfd. */
static void wait_reaped(Bed *b, idtype_t type, int id) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), TIMEOUT_USEC);
        siginfo_t si;

        while (waitid(type, (id_t) id, &si, WEXITED | WNOHANG | WNOWAIT) >= 0) {
                ASSERT_OK(sd_event_run(b->event, USEC_PER_SEC));
                ASSERT_TRUE(now(CLOCK_MONOTONIC) < deadline);
        }
        ASSERT_EQ(errno, ECHILD);
}

static void bed_done(Bed *b) {
        wait_reaped(b, P_ALL, 0);
        runner_unit_free(b->unit);
        pidref_done(&b->child.pidref);
        pidref_done(&b->stray);
        safe_close(b->child.error_fd);
        safe_close(b->out_fd);
        runner_free(b->runner);
        sd_event_unref(b->event);
}

static void bed_unit(Bed *b, unsigned incarnation, const char *mark) {
        ASSERT_OK(runner_unit_new(b->runner, "my-app", 0, incarnation, NULL, &b->child.pidref, &b->unit));
        b->unit->on_attached = on_attached;
        b->unit->on_empty = on_empty;
        b->unit->userdata = b;
        b->unit->mark = strdup(mark);
        b->n_attached = b->n_empty = 0;
        ASSERT_OK(runner_unit_prepare(b->unit));
}

static void loop_until(Bed *b, const unsigned *counter) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), TIMEOUT_USEC);

        while (*counter == 0) {
                ASSERT_OK(sd_event_run(b->event, USEC_PER_SEC));
                ASSERT_TRUE(now(CLOCK_MONOTONIC) < deadline);
        }
}

static void bed_spawn(Bed *b, const char *script, const char *mark) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) script, NULL };
        char *const envp[] = { (char *) "PATH=/usr/bin:/bin", (char *) mark, NULL };
        _cleanup_close_pair_ int out[2] = EBADF_PAIR;

        ASSERT_OK(pipe2(out, O_CLOEXEC));
        ASSERT_OK(spawn_process(&(SpawnParameters) {
                        .argv = argv,
                        .envp = envp,
                        .stdin_fd = -EBADF,
                        .stdout_fd = out[1],
                        .stderr_fd = -EBADF,
                        .cgroup_fd = b->unit->cgroup_fd,
                }, &b->child));
        b->out_fd = TAKE_FD(out[0]);
        b->mains[0] = b->child.pidref.pid;

        ASSERT_OK(runner_unit_attach(b->unit));
        ASSERT_EQ(b->n_attached, 0);
        loop_until(b, &b->n_attached);
        ASSERT_EQ(b->n_attached, 1);
        ASSERT_EQ(b->attach_error, 0);
        b->child.gate_fd = spawn_open_gate(b->child.gate_fd, b->unit->invocation_id);
}

static void wait_readable(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        ASSERT_EQ(poll(&pollfd, 1, (int) (TIMEOUT_USEC / USEC_PER_MSEC)), 1);
}

static void wait_stray(Bed *b) {
        char text[16] = "";

        wait_readable(b->out_fd);
        ASSERT_TRUE(read(b->out_fd, text, sizeof(text) - 1) > 0);
        ASSERT_OK(pidref_open(&b->stray, atoi(text)));
}

/* Until its parent has ended. */
static void wait_orphan(Bed *b) {
        ProcStat st;

        do {
                (void) sched_yield();
                ASSERT_OK(proc_read_stat(b->stray.pid, &st));
        } while (st.ppid != getpid());
}

static int reap_main(Bed *b) {
        siginfo_t si;

        wait_readable(b->child.pidref.fd);
        ASSERT_EQ(pidref_wait(&b->child.pidref, &si), 1);
        b->mains[0] = 0;
        return si.si_status;
}

static bool begin(Bed *b, const char *runner, const char *script) {
        if (!bed_init(b, runner))
                return false;
        bed_unit(b, 1, MARK);
        bed_spawn(b, script, MARK);
        wait_stray(b);
        return true;
}

/* ---- children of the test itself: they come first, as a child that is spawned keeps the heap out of those that follow (spawn-memory.h) ---- */

static char *root_directory(Runner *r) {
        _cleanup_free_ char *mount = NULL, *path = NULL;
        RunnerUnit *u;

        ASSERT_OK(runner_unit_new(r, "probe", 0, 0, NULL, &PIDREF_NULL, &u));
        ASSERT_OK(runner_unit_prepare(u));
        path = strndup(u->cgroup, strlen(u->cgroup) - strlen(u->name) - 1);
        runner_unit_free(u);
        ASSERT_OK(cgroup_find_mount(&mount));
        return strjoin(mount, path);
}

/* What a pmd that was killed has left is removed by the next, what a living one has is not. */
TEST(cgroup_stale) {
        _cleanup_free_ char *living = NULL, *fresh = NULL;
        char stale[4096] = "";
        int fds[2], status;
        pid_t pid;
        Runner *r;
        Bed b;

        if (!bed_init(&b, "cgroup"))
                return;
        living = root_directory(b.runner);

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                _cleanup_free_ char *mine = NULL;

                if (runner_new(b.event, NULL, INSTANCE_PRIVATE, "cgroup", &r) < 0)
                        _exit(1);
                mine = root_directory(r);
                _exit(access(mine, F_OK) < 0 || write(fds[1], mine, strlen(mine)) < 0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        ASSERT_TRUE(read(fds[0], stale, sizeof(stale) - 1) > 0);

        ASSERT_OK(runner_new(b.event, NULL, INSTANCE_PRIVATE, "cgroup", &r));
        fresh = root_directory(r);
        ASSERT_TRUE(access(stale, F_OK) < 0);
        ASSERT_EQ(access(living, F_OK), 0);
        ASSERT_EQ(access(fresh, F_OK), 0);
        runner_free(r);
        safe_close_pair(fds);
        b.child = (SpawnResult) { PIDREF_NULL, -EBADF, -EBADF };
        bed_done(&b);
}

static pid_t fork_exiting(int code, PidRef *ret) {
        pid_t pid = fork();

        ASSERT_OK(pid);
        if (pid == 0)
                _exit(code);
        ASSERT_OK(pidref_open(ret, pid));
        wait_readable(ret->fd);
        return pid;
}

/* Main processes that nobody has waited for yet keep their status, and hide no orphan. */
TEST(reaper) {
        PidRef first, orphan, last;
        siginfo_t si;
        Bed b;

        ASSERT_TRUE(bed_init(&b, "plain"));
        b.mains[0] = fork_exiting(1, &first);
        (void) fork_exiting(2, &orphan);
        b.mains[1] = fork_exiting(3, &last);

        wait_reaped(&b, P_PIDFD, orphan.fd);
        ASSERT_EQ(pidref_wait(&first, &si), 1);
        ASSERT_EQ(si.si_status, 1);
        ASSERT_EQ(pidref_wait(&last, &si), 1);
        ASSERT_EQ(si.si_status, 3);

        pidref_done(&first);
        pidref_done(&orphan);
        pidref_done(&last);
        b.child = (SpawnResult) { PIDREF_NULL, -EBADF, -EBADF };
        bed_done(&b);
}

/* ---- what both must do ---- */

static void check_kill(const char *runner, const char *script, bool orphan) {
        Bed b;

        if (!begin(&b, runner, script))
                return;
        if (orphan)
                wait_orphan(&b);

        ASSERT_OK(runner_unit_kill(b.unit));
        ASSERT_EQ(reap_main(&b), SIGKILL);
        wait_readable(b.stray.fd);

        ASSERT_OK(runner_unit_drain(b.unit));
        loop_until(&b, &b.n_empty);
        ASSERT_EQ(b.n_empty, 1);
        wait_reaped(&b, P_ALL, 0);
        ASSERT_EQ(b.n_empty, 1);
        ASSERT_EQ(runner_unit_signal(b.unit, SIGTERM), -ESRCH);
        bed_done(&b);
}

TEST(cgroup_kill) {
        check_kill("cgroup", STRAY_SCRIPT, true);
}

TEST(plain_kill) {
        check_kill("plain", STRAY_SCRIPT, true);
}

TEST(plain_kill_child) {
        check_kill("plain", CHILD_SCRIPT, false);
}

/* The main process ends, what it left behind does not. */
static void check_drain(const char *runner, int signo) {
        Bed b;

        if (!begin(&b, runner, STRAY_SCRIPT))
                return;
        wait_orphan(&b);

        ASSERT_OK(pidref_kill(&b.child.pidref, SIGTERM));
        ASSERT_EQ(reap_main(&b), SIGTERM);
        ASSERT_OK(runner_unit_drain(b.unit));
        while (sd_event_run(b.event, 50 * USEC_PER_MSEC) > 0)
                ;
        ASSERT_EQ(b.n_empty, 0);
        ASSERT_TRUE(pidref_is_alive(&b.stray));

        ASSERT_OK(signo == SIGKILL ? runner_unit_kill(b.unit) : runner_unit_signal(b.unit, signo));
        loop_until(&b, &b.n_empty);
        ASSERT_TRUE(!pidref_is_alive(&b.stray));
        wait_reaped(&b, P_ALL, 0);
        ASSERT_EQ(b.n_empty, 1);
        bed_done(&b);
}

TEST(cgroup_drain) {
        check_drain("cgroup", SIGTERM);
        check_drain("cgroup", SIGKILL);
}

TEST(plain_drain) {
        check_drain("plain", SIGTERM);
        check_drain("plain", SIGKILL);
}

/* A stray that ends has a child of its own, which only then becomes ours. */
static void check_drain_twice(const char *runner) {
        static const char script[] = "(setsid sh -c 'sleep 1000 & echo $!; exec sleep 1001' &); exec sleep 1000";
        ProcStat st;
        PidRef parent;
        Bed b;

        if (!begin(&b, runner, script))
                return;
        ASSERT_OK(proc_read_stat(b.stray.pid, &st));
        ASSERT_OK(pidref_open(&parent, st.ppid));

        ASSERT_OK(pidref_kill(&b.child.pidref, SIGTERM));
        ASSERT_EQ(reap_main(&b), SIGTERM);
        ASSERT_OK(runner_unit_drain(b.unit));
        ASSERT_OK(pidref_kill(&parent, SIGTERM));
        wait_readable(parent.fd);
        while (sd_event_run(b.event, 50 * USEC_PER_MSEC) > 0)
                ;
        ASSERT_EQ(b.n_empty, 0);
        ASSERT_OK(pidref_kill(&b.stray, SIGTERM));
        loop_until(&b, &b.n_empty);
        wait_reaped(&b, P_ALL, 0);
        ASSERT_EQ(b.n_empty, 1);
        pidref_done(&parent);
        bed_done(&b);
}

TEST(drain_twice) {
        check_drain_twice("cgroup");
        check_drain_twice("plain");
}

static void check_drain_nothing(const char *runner) {
        Bed b;

        if (!bed_init(&b, runner))
                return;
        bed_unit(&b, 1, MARK);
        bed_spawn(&b, "exit 3", MARK);
        ASSERT_EQ(reap_main(&b), 3);
        ASSERT_OK(runner_unit_drain(b.unit));
        loop_until(&b, &b.n_empty);
        ASSERT_EQ(b.n_empty, 1);
        bed_done(&b);
}

TEST(drain_nothing) {
        check_drain_nothing("cgroup");
        check_drain_nothing("plain");
}

/* At the gate, too, where the child may not even have a session. */
static void check_kill_at_gate(const char *runner) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        Bed b;

        if (!bed_init(&b, runner))
                return;
        bed_unit(&b, 1, MARK);
        ASSERT_OK(spawn_process(&(SpawnParameters) {
                        .argv = argv,
                        .stdin_fd = -EBADF,
                        .stdout_fd = -EBADF,
                        .stderr_fd = -EBADF,
                        .cgroup_fd = b.unit->cgroup_fd,
                }, &b.child));
        b.mains[0] = b.child.pidref.pid;
        ASSERT_OK(runner_unit_kill(b.unit));
        ASSERT_EQ(reap_main(&b), SIGKILL);
        safe_close(b.child.gate_fd);
        bed_done(&b);
}

TEST(kill_at_gate) {
        check_kill_at_gate("cgroup");
        check_kill_at_gate("plain");
}

static void check_usage(const char *runner) {
        ResourceUsage u;
        Bed b;

        if (!begin(&b, runner, CHILD_SCRIPT))
                return;
        ASSERT_OK(runner_unit_read_usage(b.unit, &u));
        ASSERT_TRUE(u.memory_current > 0 && u.memory_current != UINT64_MAX);
        ASSERT_TRUE(u.cpu_usage_nsec != UINT64_MAX);
        ASSERT_EQ(u.tasks_current, 2);
        ASSERT_OK(runner_unit_kill(b.unit));
        (void) reap_main(&b);
        wait_readable(b.stray.fd);
        ASSERT_OK(runner_unit_drain(b.unit));
        loop_until(&b, &b.n_empty);
        bed_done(&b);
}

TEST(usage) {
        check_usage("cgroup");
        check_usage("plain");
}

/* ---- the cgroup runner ---- */

TEST(cgroup_directories) {
        _cleanup_free_ char *own = NULL, *path = NULL, *mount = NULL, *directory = NULL, *root = NULL;
        Bed b;

        if (!begin(&b, "cgroup", STRAY_SCRIPT))
                return;
        wait_orphan(&b);

        ASSERT_OK(cgroup_path_of_pid(0, &own));
        ASSERT_TRUE(startswith(b.unit->cgroup, own));
        ASSERT_STREQ(endswith(b.unit->cgroup, b.unit->name), b.unit->name);
        ASSERT_OK(cgroup_path_of_pid(b.stray.pid, &path));
        ASSERT_STREQ(path, b.unit->cgroup);

        ASSERT_OK(cgroup_find_mount(&mount));
        directory = strjoin(mount, b.unit->cgroup);
        root = strndup(directory, strlen(directory) - strlen(b.unit->name) - 1);
        ASSERT_EQ(access(directory, F_OK), 0);

        ASSERT_OK(runner_unit_kill(b.unit));
        (void) reap_main(&b);
        wait_readable(b.stray.fd);
        b.unit = runner_unit_free(b.unit);
        ASSERT_TRUE(access(directory, F_OK) < 0);
        ASSERT_EQ(access(root, F_OK), 0);

        bed_done(&b);
        ASSERT_TRUE(access(root, F_OK) < 0);
}

/* A directory that could not be removed with its unit goes with the runner. */
TEST(cgroup_late_removal) {
        _cleanup_free_ char *mount = NULL, *directory = NULL;
        Bed b;

        if (!begin(&b, "cgroup", STRAY_SCRIPT))
                return;
        wait_orphan(&b);
        ASSERT_OK(cgroup_find_mount(&mount));
        directory = strjoin(mount, b.unit->cgroup);

        ASSERT_OK(pidref_kill(&b.child.pidref, SIGKILL));
        (void) reap_main(&b);
        b.unit = runner_unit_free(b.unit);
        ASSERT_EQ(access(directory, F_OK), 0);

        ASSERT_OK(pidref_kill(&b.stray, SIGKILL));
        wait_readable(b.stray.fd);
        bed_done(&b);
        ASSERT_TRUE(access(directory, F_OK) < 0);
}

TEST(cgroup_name_taken) {
        RunnerUnit *again;
        Bed b;

        if (!bed_init(&b, "cgroup"))
                return;
        bed_unit(&b, 1, MARK);
        ASSERT_OK(runner_unit_new(b.runner, "my-app", 0, 1, NULL, &b.child.pidref, &again));
        ASSERT_EQ(runner_unit_prepare(again), -EEXIST);
        runner_unit_free(again);
        ASSERT_EQ(cgroup_is_populated(b.unit->cgroup_fd), 0);
        ASSERT_EQ(faccessat(b.unit->cgroup_fd, "cgroup.procs", F_OK, 0), 0); /* still there */
        b.child = (SpawnResult) { PIDREF_NULL, -EBADF, -EBADF };
        bed_done(&b);
}

/* ---- the plain runner ---- */

/* An orphan of another unit is nobody's but that unit's. */
TEST(plain_strangers) {
        PidRef other;
        Bed b;

        ASSERT_TRUE(begin(&b, "plain", STRAY_SCRIPT));
        wait_orphan(&b);
        other = b.stray;
        b.stray = PIDREF_NULL;
        ASSERT_OK(pidref_kill(&b.child.pidref, SIGKILL));
        (void) reap_main(&b);
        b.unit = runner_unit_free(b.unit);
        pidref_done(&b.child.pidref);
        safe_close(b.child.error_fd);
        safe_close(b.out_fd);

        bed_unit(&b, 2, OTHER_MARK);
        bed_spawn(&b, STRAY_SCRIPT, OTHER_MARK);
        wait_stray(&b);
        wait_orphan(&b);
        ASSERT_OK(runner_unit_kill(b.unit));
        (void) reap_main(&b);
        wait_readable(b.stray.fd);
        ASSERT_TRUE(pidref_is_alive(&other));
        ASSERT_OK(runner_unit_drain(b.unit));
        loop_until(&b, &b.n_empty);
        ASSERT_TRUE(pidref_is_alive(&other));

        ASSERT_OK(pidref_kill(&other, SIGKILL));
        wait_readable(other.fd);
        pidref_done(&other);
        bed_done(&b);
}

/* Without a mark an orphan is known by its session. */
TEST(plain_session) {
        Bed b;

        ASSERT_TRUE(begin(&b, "plain", "(env -i sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000"));
        wait_orphan(&b);
        ASSERT_OK(pidref_kill(&b.child.pidref, SIGKILL));
        (void) reap_main(&b);
        ASSERT_OK(runner_unit_kill(b.unit));
        wait_readable(b.stray.fd);
        ASSERT_OK(runner_unit_drain(b.unit));
        loop_until(&b, &b.n_empty);
        bed_done(&b);
}

/* Who was seen once is not lost with its parent. */
TEST(plain_remembers) {
        Bed b;

        ASSERT_TRUE(begin(&b, "plain", CHILD_SCRIPT));
        ASSERT_OK(runner_unit_signal(b.unit, SIGCONT));
        ASSERT_OK(pidref_kill(&b.child.pidref, SIGKILL));
        (void) reap_main(&b);
        ASSERT_OK(runner_unit_drain(b.unit));
        ASSERT_EQ(b.n_empty, 0);
        ASSERT_OK(runner_unit_signal(b.unit, SIGTERM));
        loop_until(&b, &b.n_empty);
        ASSERT_TRUE(!pidref_is_alive(&b.stray));
        bed_done(&b);
}

/* ---- which one, and the reaping ---- */

TEST(choice) {
        Runner *r = NULL;
        sd_event *event;

        ASSERT_OK(sd_event_new(&event));
        ASSERT_EQ(runner_new(event, NULL, INSTANCE_SYSTEM, "scope", &r), -EOPNOTSUPP);
        ASSERT_EQ(runner_new(event, NULL, INSTANCE_SYSTEM, "no such runner", &r), -EINVAL);
        ASSERT_TRUE(!r);

        ASSERT_OK(runner_new(event, NULL, INSTANCE_SYSTEM, NULL, &r));
        ASSERT_TRUE(streq(r->vtable->name, "cgroup") || streq(r->vtable->name, "plain"));
        r = runner_free(r);
        sd_event_unref(event);
}

TEST(names) {
        RunnerUnit *u;
        sd_event *event;
        Runner *r;

        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(runner_new(event, NULL, INSTANCE_USER, "plain", &r));
        ASSERT_OK(runner_unit_new(r, "my-app", 3, 7, NULL, &PIDREF_NULL, &u));
        ASSERT_STREQ(u->name, "app-pm-my\\x2dapp-3-7.scope");
        ASSERT_STREQ(u->slice, "app-pm-my\\x2dapp.slice");
        ASSERT_STREQ(u->invocation_id, "");
        ASSERT_EQ(u->cgroup_fd, -EBADF);
        runner_unit_free(u);
        runner_free(r);
        sd_event_unref(event);
}
