/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/process-spawn.h"
#include "pmd/spawn-memory.h"
#include "pmd/spawn-restrict.h"
#include "pmd/spawner.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static const char *const spawn_step_table[_SPAWN_STEP_MAX] = {
        [SPAWN_STEP_NONE] = "none",
        [SPAWN_STEP_SETUP] = "setup",
        [SPAWN_STEP_OOM_SCORE] = "oom-score",
        [SPAWN_STEP_NICE] = "nice",
        [SPAWN_STEP_LIMITS] = "limits",
        [SPAWN_STEP_CAPABILITIES] = "capabilities",
        [SPAWN_STEP_NO_NEW_PRIVILEGES] = "no-new-privileges",
        [SPAWN_STEP_GROUP] = "group",
        [SPAWN_STEP_USER] = "user",
        [SPAWN_STEP_CHDIR] = "chdir",
        [SPAWN_STEP_EXEC] = "exec",
};
DEFINE_STRING_TABLE(SpawnStep, spawn_step);

#define INVOCATION_ID_LENGTH 32
#define INVOCATION_ID_PLACE "INVOCATION_ID=00000000000000000000000000000000"

/* Where the child puts in its own pid. */
static const char *const pid_places[] = { "LISTEN_PID=0000000000", "WATCHDOG_PID=0000000000" };

typedef struct PidPlace {
        char **slot; /* in envp, NULL: there is no such place */
        size_t prefix;
        char text[sizeof("WATCHDOG_PID=0000000000")];
} PidPlace;

/* What opens the gate. The end of the stream without it means that there is nobody any more who would. */
typedef struct GateMessage {
        char invocation_id[INVOCATION_ID_LENGTH]; /* all NUL: none */
} GateMessage;

/* All that the child needs, made before the fork; what it points to is in a SpawnMemory. */
typedef struct Child {
        SpawnParameters parameters;
        char **envp;
        char **invocation_id_slot; /* in envp, NULL: no place for it */
        char invocation_id[sizeof(INVOCATION_ID_PLACE)];
        PidPlace pid_places[ELEMENTSOF(pid_places)];
        int stdio[3];
        int *extra; /* as in the parameters; may be moved */
        int gate_fd, error_fd;
        int gate_peer_fd;
        int last_place; /* -EBADF: all descriptors are here, as copies */
} Child;

/* ---- in the child: nothing but system calls ---- */

_noreturn_ static void child_fail(const Child *c, SpawnStep step, int error) {
        SpawnError e = { .step = step, .error = error };
        ssize_t n _unused_;

        n = write(c->error_fd, &e, sizeof(e));
        _exit(step == SPAWN_STEP_EXEC && error == ENOENT ? 127 : 126); /* as shells tell these apart */
}

static int child_reset_signals(void) {
        struct sigaction sa = { .sa_handler = SIG_DFL };
        sigset_t none;

        /* Before the mask, so that no handler of ours runs here. EINVAL is the answer for those libc keeps to itself. */
        for (int s = 1; s < _NSIG; s++)
                if (!IN_SET(s, SIGKILL, SIGSTOP) && sigaction(s, &sa, NULL) < 0 && errno != EINVAL)
                        return -errno;

        (void) sigemptyset(&none);
        return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/* Makes room below first: a descriptor that is there by chance goes elsewhere. */
static int child_move_up(int *fd, int first) {
        if (*fd >= first)
                return 0;
        *fd = fcntl(*fd, F_DUPFD_CLOEXEC, first);
        return *fd < 0 ? -errno : 0;
}

static int child_move_all_up(int *fds, size_t n, int first) {
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = child_move_up(fds + i, first);
        return r;
}

static int close_between(int first, int last) {
        if (first > last)
                return 0;
        return close_range((unsigned) first, (unsigned) last, 0) < 0 ? -errno : 0;
}

/* What pmd has open is closed at once, not by execve(): a child may wait at its gate for long, and must hold neither a
 * socket of pmd's nor the other end of a gate. */
static int child_arrange_fds(Child *c) {
        size_t n_extra = c->parameters.n_extra_fds;
        int first = STDERR_FILENO + 1 + (int) n_extra, low, high, r;

        r = child_move_all_up(c->stdio, ELEMENTSOF(c->stdio), first);
        if (r < 0)
                return r;
        r = child_move_all_up(c->extra, n_extra, first);
        if (r < 0)
                return r;
        r = child_move_up(&c->error_fd, first);
        if (r < 0)
                return r;
        r = child_move_up(&c->gate_fd, first);
        if (r < 0)
                return r;

        for (int i = 0; i < 3; i++)
                if (dup2(c->stdio[i], i) < 0)
                        return -errno;
        for (size_t i = 0; i < n_extra; i++)
                if (dup2(c->extra[i], STDERR_FILENO + 1 + (int) i) < 0)
                        return -errno;

        low = MIN(c->gate_fd, c->error_fd);
        high = MAX(c->gate_fd, c->error_fd);
        r = close_between(first, low - 1);
        if (r < 0)
                return r;
        r = close_between(low + 1, high - 1);
        if (r < 0)
                return r;
        return close_between(high + 1, INT32_MAX);
}

/* In the order in which they are sent. */
static size_t list_fds(Child *c, int **ret) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(c->stdio); i++)
                ret[n++] = c->stdio + i;
        ret[n++] = &c->error_fd;
        for (size_t i = 0; i < c->parameters.n_extra_fds; i++)
                ret[n++] = c->extra + i;
        return n;
}

static int child_get_fds(Child *c) {
        int *slots[SPAWNER_FDS_MAX], fds[SPAWNER_FDS_MAX], r;
        size_t n = list_fds(c, slots);

        r = spawner_receive_fds(c->gate_fd, c->last_place, fds, n);
        for (size_t i = 0; r >= 0 && i < n; i++)
                *slots[i] = fds[i];
        return r;
}

/* Digits by hand: of libc's functions some take locks. */
static void child_put_pid(PidPlace *place) {
        char digits[16], *d = digits + sizeof(digits), *to = place->text + place->prefix;
        unsigned pid = (unsigned) getpid();

        if (!place->slot)
                return;
        do
                *--d = (char) ('0' + pid % 10);
        while ((pid /= 10) > 0);
        while (d < digits + sizeof(digits))
                *to++ = *d++;
        *to = 0;
        *place->slot = place->text;
}

static void child_wait_at_gate(Child *c) {
        GateMessage m;
        ssize_t n;

        do
                n = read(c->gate_fd, &m, sizeof(m));
        while (n < 0 && errno == EINTR);
        if (n != sizeof(m))
                _exit(SPAWN_EXIT_GATE_CLOSED);

        if (!c->invocation_id_slot)
                return;
        if (m.invocation_id[0] != 0) {
                memcpy(c->invocation_id + STRLEN("INVOCATION_ID="), m.invocation_id, sizeof(m.invocation_id));
                *c->invocation_id_slot = c->invocation_id;
                return;
        }
        for (char **p = c->invocation_id_slot; *p; p++)
                p[0] = p[1];
}

#ifdef SYS_setresuid32 /* the plain ones are of 16 bits there */
#define RAW_SETGROUPS SYS_setgroups32
#define RAW_SETRESGID SYS_setresgid32
#define RAW_SETRESUID SYS_setresuid32
#else
#define RAW_SETGROUPS SYS_setgroups
#define RAW_SETRESGID SYS_setresgid
#define RAW_SETRESUID SYS_setresuid
#endif

/* libc's functions would wait for all threads to change with us, and of those of pmd none is here. */
static void child_change_user(const Child *c) {
        const SpawnParameters *p = &c->parameters;

        if (syscall(RAW_SETGROUPS, p->n_groups, p->groups) < 0 || syscall(RAW_SETRESGID, p->gid, p->gid, p->gid) < 0)
                child_fail(c, SPAWN_STEP_GROUP, errno);
        if (syscall(RAW_SETRESUID, p->uid, p->uid, p->uid) < 0)
                child_fail(c, SPAWN_STEP_USER, errno);
}

_noreturn_ static void child_run(Child *c) {
        const SpawnParameters *p = &c->parameters;
        SpawnStep step = SPAWN_STEP_NONE;
        int r;

        if (c->last_place < 0)
                (void) close(c->gate_peer_fd);
        else if (child_get_fds(c) < 0)
                _exit(SPAWN_EXIT_GATE_CLOSED);

        if (setsid() < 0)
                child_fail(c, SPAWN_STEP_SETUP, errno);
        r = child_reset_signals();
        if (r < 0)
                child_fail(c, SPAWN_STEP_SETUP, -r);
        r = child_arrange_fds(c);
        if (r < 0)
                child_fail(c, SPAWN_STEP_SETUP, -r);

        for (size_t i = 0; i < ELEMENTSOF(c->pid_places); i++)
                child_put_pid(c->pid_places + i);
        child_wait_at_gate(c);

        r = restrict_before_user(p->restrictions, &step);
        if (r < 0)
                child_fail(c, step, -r);
        if (p->set_user)
                child_change_user(c);
        r = restrict_after_user(p->restrictions, &step);
        if (r < 0)
                child_fail(c, step, -r);
        /* Only now: it needs the rights of that user. */
        if (p->cwd && chdir(p->cwd) < 0)
                child_fail(c, SPAWN_STEP_CHDIR, errno);

        (void) execve(p->path, p->argv, c->envp);
        child_fail(c, SPAWN_STEP_EXEC, errno);
}

/* ---- in pmd ---- */

/* Where a container's seccomp filter refuses clone3(), which it cannot look into, fork() does if no cgroup is asked for: as long as
 * nobody has waited for the child, its pid is its own. */
static pid_t fork_with_pidfd(int *ret_pidfd) {
        pid_t pid;

        pid = _Fork();
        if (pid <= 0)
                return pid < 0 ? -errno : 0;

        *ret_pidfd = pidfd_open(pid, 0);
        if (*ret_pidfd < 0) {
                int r = -errno;

                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return r;
        }
        return pid;
}

/* As fork(): 0 in the child; in the parent its pid or a negative errno. */
static pid_t clone_child(int cgroup_fd, uint64_t flags, int *ret_pidfd) {
        int pidfd = -EBADF;
        struct clone_args args = {
                .flags = CLONE_PIDFD | flags,
                .pidfd = (uintptr_t) &pidfd,
                .exit_signal = SIGCHLD,
        };
        long pid;

        if (cgroup_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t) cgroup_fd;
        }

        FAULT_BEFORE(FORK);
        pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid < 0 && cgroup_fd < 0 && IN_SET(errno, ENOSYS, EPERM))
                return fork_with_pidfd(ret_pidfd);
        if (pid < 0)
                return -errno;
        if (pid > 0) {
                *ret_pidfd = pidfd;
                FAULT_AFTER(FORK);
        }
        return (pid_t) pid;
}

/* Where the child puts another pointer into its environment, or takes one out. */
static void find_places(Child *c) {
        STRV_FOREACH(e, c->envp) {
                if (streq(*e, INVOCATION_ID_PLACE)) {
                        c->invocation_id_slot = e;
                        memcpy(c->invocation_id, *e, sizeof(c->invocation_id));
                }
                for (size_t i = 0; i < ELEMENTSOF(pid_places); i++)
                        if (streq(*e, pid_places[i])) {
                                c->pid_places[i] = (PidPlace) { .slot = e, .prefix = strcspn(*e, "=") + 1 };
                                strcpy(c->pid_places[i].text, *e);
                        }
        }
}

/* All that p points to, where the child has it. */
static int copy_parameters(Child *c, const SpawnParameters *p, SpawnMemory *m) {
        const char *path = p->path ?: p->argv[0];
        int r;

        r = spawn_memory_new(m, spawn_memory_size_of_strv(p->argv) + spawn_memory_size_of_strv(p->envp) + strlen(path) + 1 +
                             (p->cwd ? strlen(p->cwd) + 1 : 0) + p->n_extra_fds * sizeof(int) + p->n_groups * sizeof(gid_t) +
                             sizeof(SpawnRestrictions));
        if (r < 0)
                return r;

        c->parameters = *p;
        c->parameters.argv = spawn_memory_copy_strv(m, p->argv);
        c->parameters.envp = c->envp = spawn_memory_copy_strv(m, p->envp);
        c->parameters.path = spawn_memory_copy_string(m, path);
        c->parameters.cwd = spawn_memory_copy_string(m, p->cwd);
        c->parameters.extra_fds = c->extra = spawn_memory_copy(m, p->extra_fds, p->n_extra_fds * sizeof(int));
        c->parameters.groups = spawn_memory_copy(m, p->groups, p->n_groups * sizeof(gid_t));
        c->parameters.restrictions = spawn_memory_copy(m, p->restrictions, p->restrictions ? sizeof(SpawnRestrictions) : 0);
        find_places(c);
        return 0;
}

static int choose_stdio(Child *c, const SpawnParameters *p, int *ret_null_fd) {
        const int fds[] = { p->stdin_fd, p->stdout_fd, p->stderr_fd };
        int null_fd = spawner_null_fd(p->spawner);

        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                if (fds[i] < 0 && null_fd < 0) {
                        null_fd = *ret_null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
                        if (null_fd < 0)
                                return -errno;
                }
                c->stdio[i] = fds[i] < 0 ? null_fd : fds[i];
        }
        return 0;
}

/* Where that fails (no place is free, too many descriptors are on their way, …) the child gets copies of all that are open. */
static int send_fds(Child *c, Spawner *spawner) {
        int *slots[SPAWNER_FDS_MAX], fds[SPAWNER_FDS_MAX], place;
        size_t n;

        if (ELEMENTSOF(c->stdio) + 1 + c->parameters.n_extra_fds > SPAWNER_FDS_MAX)
                return -EBADF;
        place = spawner_take_place(spawner, c->gate_fd);
        if (place < 0)
                return -EBADF;

        n = list_fds(c, slots);
        for (size_t i = 0; i < n; i++)
                fds[i] = *slots[i];
        if (spawner_send_fds(c->gate_peer_fd, fds, n) < 0) {
                spawner_release_place(spawner, place);
                return -EBADF;
        }

        c->gate_fd = place;
        c->last_place = spawner_last_place(spawner);
        return place;
}

static int take_child(pid_t pid, int pidfd, PidRef *ret) {
        int r;

        r = pidref_set_consume(ret, pid, pidfd);
        if (r < 0) {
                /* Its pid stays its own until it has been waited for, which happens here. */
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
        }
        return r;
}

int spawn_process(const SpawnParameters *p, SpawnResult *ret) {
        _cleanup_close_pair_ int gate[2] = EBADF_PAIR, error[2] = EBADF_PAIR;
        _cleanup_(spawn_memory_done) SpawnMemory memory = {};
        _cleanup_close_ int null_fd = -EBADF;
        PidRef pidref = PIDREF_NULL;
        int pidfd = -EBADF, place, r;
        Child c = { .last_place = -EBADF };
        pid_t pid;

        r = copy_parameters(&c, p, &memory);
        if (r < 0)
                return r;
        r = choose_stdio(&c, p, &null_fd);
        if (r < 0)
                return r;
        if (pipe2(error, O_CLOEXEC) < 0)
                return -errno;
        r = fd_nonblock(error[0], true);
        if (r < 0)
                return r;
        /* Not a pipe: a message for a child that is gone must not raise SIGPIPE. */
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate) < 0)
                return -errno;

        c.gate_fd = gate[0];
        c.gate_peer_fd = gate[1];
        c.error_fd = error[1];
        place = send_fds(&c, p->spawner);

        spawn_memory_exclude();
        pid = clone_child(p->cgroup_fd, place >= 0 ? CLONE_FILES : 0, &pidfd);
        if (pid == 0)
                child_run(&c);
        r = pid < 0 ? pid : take_child(pid, pidfd, &pidref);
        if (r < 0) {
                spawner_release_place(p->spawner, place);
                return r;
        }

        *ret = (SpawnResult) {
                .pidref = pidref,
                .gate_fd = TAKE_FD(gate[1]),
                .error_fd = TAKE_FD(error[0]),
                .place = place,
        };
        return 0;
}

int spawn_open_gate(int gate_fd, const char *invocation_id) {
        GateMessage m = {};

        if (strlen(invocation_id) == sizeof(m.invocation_id))
                memcpy(m.invocation_id, invocation_id, sizeof(m.invocation_id));

        FAULT_BEFORE(GATE_OPEN);
        if (send(gate_fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
                log_debug_errno(errno, "Failed to open the gate of a child, which has probably ended, ignoring: %m");
        FAULT_AFTER(GATE_OPEN);
        return safe_close(gate_fd);
}

int spawn_read_error(int error_fd, SpawnStep *ret_step) {
        SpawnError e;
        ssize_t n;

        *ret_step = SPAWN_STEP_NONE; /* where reading itself fails */

        n = read(error_fd, &e, sizeof(e));
        if (n == 0)
                return 1;
        if (n < 0)
                return IN_SET(errno, EAGAIN, EINTR) ? 0 : -errno;
        if (n != sizeof(e) || e.step <= SPAWN_STEP_NONE || e.step >= _SPAWN_STEP_MAX || e.error <= 0)
                return -EBADMSG;

        *ret_step = (SpawnStep) e.step;
        return -e.error;
}

/* ---- what to say about it ---- */

typedef struct Advice {
        SpawnStep step;
        int error;
        const char *text;
} Advice;

static const Advice advice_table[] = {
        { SPAWN_STEP_NONE, EAGAIN, "No more processes are allowed here; see pids.max, TasksMax= or 'ulimit -u'." },
        { SPAWN_STEP_NONE, ENOMEM, "Memory is short." },
        { SPAWN_STEP_NONE, EMFILE, "pmd has too many files open; raise its LimitNOFILE=." },
        { SPAWN_STEP_OOM_SCORE, EACCES, "Only a pmd that runs as root can set 'oom_score_adjust' below its own." },
        { SPAWN_STEP_NICE, EACCES, "Only a pmd that runs as root can set 'nice' below its own, or within its LimitNICE=." },
        { SPAWN_STEP_LIMITS, EPERM, "Only a pmd that runs as root can set a 'limit_…' above its own hard limit (ulimit -Ha), and "
                                    "'limit_nofile' above /proc/sys/fs/nr_open nobody can." },
        { SPAWN_STEP_CAPABILITIES, EPERM, "A pmd that does not run as root, or has less than all capabilities, cannot set "
                                          "'capabilities'." },
        { SPAWN_STEP_GROUP, EPERM, "Only a pmd that runs as root can start apps as somebody else." },
        { SPAWN_STEP_USER, EPERM, "Only a pmd that runs as root can start apps as somebody else." },
        { SPAWN_STEP_USER, EAGAIN, "That user has as many processes as it may have (ulimit -u)." },
        { SPAWN_STEP_CHDIR, ENOENT, "Make the directory, or set 'cwd' to one that exists." },
        { SPAWN_STEP_CHDIR, ENOTDIR, "Set 'cwd' to a directory." },
        { SPAWN_STEP_EXEC, EAGAIN, "That user has as many processes as it may have (ulimit -u)." },
        { SPAWN_STEP_EXEC, E2BIG, "Its arguments and environment are larger than the kernel takes; shorten them." },
        { SPAWN_STEP_EXEC, ENOEXEC, "It is neither a program for this machine nor a script that begins with '#!'; "
                                    "set 'interpreter', or add such a line." },
        { SPAWN_STEP_EXEC, ENOTDIR, "A part of the path is a file, not a directory." },
        { SPAWN_STEP_EXEC, ETXTBSY, "Somebody is still writing to it; start it again when that has ended." },
        { SPAWN_STEP_EXEC, EPERM, "A security policy of this system forbids it." },
        { SPAWN_STEP_EXEC, ELOOP, "Its symbolic links, or the interpreters of its '#!' line, go round in circles." },
};

static const char *find_advice(SpawnStep step, int error) {
        for (size_t i = 0; i < ELEMENTSOF(advice_table); i++)
                if (advice_table[i].step == step && advice_table[i].error == error)
                        return advice_table[i].text;
        return "";
}

/* ENOENT of a file that exists is about what it needs to run. */
static char *advise_missing(const char *executable) {
        char line[256];
        size_t n;

        if (access(executable, F_OK) < 0)
                return strdup("There is no such file; check the path.");
        if (read_virtual_file_at(AT_FDCWD, executable, line, sizeof(line)) < 2 || !startswith(line, "#!"))
                return strdup("The file is there, but the loader that it was linked for is not: it was built for another system.");

        line[strcspn(line, "\n")] = 0;
        char *interpreter = line + STRLEN("#!") + strspn(line + STRLEN("#!"), " \t");
        interpreter[strcspn(interpreter, " \t")] = 0;

        n = strlen(interpreter);
        if (n > 0 && interpreter[n - 1] == '\r') {
                interpreter[n - 1] = 0;
                return strprintf("The file is there, but its lines end in CR LF, so that the interpreter '%s' in the first is not found; "
                                 "convert them.", interpreter);
        }
        return strprintf("The file is there, but the interpreter that its first line names, '%s', is not.", interpreter);
}

static char *advise_denied(const char *executable, const char *user) {
        struct stat st;

        if (stat(executable, &st) >= 0 && S_ISDIR(st.st_mode))
                return strdup("It is a directory.");
        if (stat(executable, &st) >= 0 && (st.st_mode & 0111) == 0)
                return strprintf("Make it executable: chmod +x '%s'.", executable);
        return strprintf("The file, every directory of its path and the file system (noexec) must allow it to %s.", user);
}

static char *make_advice(SpawnStep step, int error, const char *executable, const char *user) {
        if (step == SPAWN_STEP_EXEC && error == ENOENT)
                return advise_missing(executable);
        if (step == SPAWN_STEP_EXEC && error == EACCES)
                return advise_denied(executable, user);
        if (step == SPAWN_STEP_CHDIR && error == EACCES)
                return strprintf("It and every directory above it must be open to %s.", user);
        return strdup(find_advice(step, error));
}

static char *describe_failure(SpawnStep step, const char *executable, const char *cwd, const char *user) {
        switch (step) {
        case SPAWN_STEP_EXEC:
                return strprintf("Cannot execute '%s'", executable);
        case SPAWN_STEP_CHDIR:
                return strprintf("Cannot change to the working directory '%s'", strempty(cwd));
        case SPAWN_STEP_OOM_SCORE:
                return strprintf("Cannot set oom_score_adjust for '%s'", executable);
        case SPAWN_STEP_NICE:
                return strprintf("Cannot set the nice level of '%s'", executable);
        case SPAWN_STEP_LIMITS:
                return strprintf("Cannot set the resource limits of '%s'", executable);
        case SPAWN_STEP_CAPABILITIES:
                return strprintf("Cannot set the capabilities of '%s'", executable);
        case SPAWN_STEP_NO_NEW_PRIVILEGES:
                return strprintf("Cannot forbid new privileges to '%s'", executable);
        case SPAWN_STEP_GROUP:
                return strprintf("Cannot take on the groups of %s", user);
        case SPAWN_STEP_USER:
                return strprintf("Cannot become %s", user);
        default:
                return strprintf("Cannot make a process for '%s'", executable);
        }
}

char *spawn_error_message(SpawnStep step, int error, const char *executable, const char *cwd, const char *user) {
        _cleanup_free_ char *who = NULL, *what = NULL, *advice = NULL, *message = NULL;
        const char *name = strerrorname_np(abs(error));

        who = user ? strprintf("user '%s'", user) : strdup("the user that pmd runs as");
        if (!who)
                return NULL;
        what = describe_failure(step, executable, cwd, who);
        advice = make_advice(step, abs(error), executable, who);
        if (!what || !advice)
                return NULL;

        message = strprintf("%s: %s (%s).%s%s", what, strerror(abs(error)), name ?: "?", isempty(advice) ? "" : " ", advice);
        return message ? string_escape_cc(message) : NULL; /* paths may hold anything */
}
