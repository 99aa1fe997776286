/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/process-spawn.h"
#include "pmd/spawn-child.h"
#include "pmd/spawn-clone.h"
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

/* ---- in pmd ---- */

/* Where a container's seccomp filter refuses clone3(), which it cannot look into, fork() does if no cgroup is asked for: as long as
 * nobody has waited for the child, its pid is its own. */
static pid_t fork_with_pidfd(SpawnChild *c, int *ret_pidfd) {
        pid_t pid;

        pid = _Fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                spawn_child_run(c);

        *ret_pidfd = pidfd_open(pid, 0);
        if (*ret_pidfd < 0) {
                int r = -errno;

                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return r;
        }
        return pid;
}

/* As long as it waits at its gate the child has pmd's memory: not where another user could look at it, or where its own limits, at which the kernel kills whoever has that
 * memory, count. To the kernel the score of the one is that of the other, too. */
static bool may_share_memory(const SpawnParameters *p) {
        const SpawnRestrictions *s = p->restrictions;

        return !p->set_user && !p->has_memory_limit && !(s && (s->oom_score_adjust.set || s->set_capabilities));
}

static pid_t clone_child(SpawnChild *c, SpawnPlace *place, int *ret_pidfd) {
        uint64_t flags = place ? CLONE_FILES : 0;
        int cgroup_fd = c->parameters.cgroup_fd;
        pid_t pid;

        if (place && spawn_place_may_share_memory(place) && may_share_memory(&c->parameters)) {
                pid = spawn_clone_in_memory(flags, cgroup_fd, spawn_memory_stack(spawn_place_get_memory(place)), SPAWN_MEMORY_STACK, spawn_child_run, c, ret_pidfd);
                if (!IN_SET(pid, -EOPNOTSUPP, -ENOSYS, -EPERM))
                        return pid;
        }

        spawn_memory_exclude();
        pid = spawn_clone(flags, cgroup_fd, spawn_child_run, c, ret_pidfd);
        return IN_SET(pid, -ENOSYS, -EPERM) && cgroup_fd < 0 ? fork_with_pidfd(c, ret_pidfd) : pid;
}

static const char *const pid_places[PID_PLACES] = { LISTEN_PID_PLACE, WATCHDOG_PID_PLACE };

/* Where the child puts another pointer into its environment, or takes one out. */
static void find_places(SpawnChild *c) {
        STRV_FOREACH(e, c->envp) {
                if (streq(*e, INVOCATION_ID_PLACE)) {
                        c->invocation_id_slot = e;
                        memcpy(c->invocation_id, *e, sizeof(c->invocation_id));
                }
                for (size_t i = 0; i < PID_PLACES; i++)
                        if (streq(*e, pid_places[i])) {
                                c->pid_places[i] = (PidPlace) { .slot = e, .prefix = strcspn(*e, "=") + 1 };
                                strcpy(c->pid_places[i].text, *e);
                        }
        }
}

/* With all that p points to. */
static int make_child(SpawnMemory *m, const SpawnParameters *p, SpawnChild **ret) {
        const char *path = p->path ?: p->argv[0];
        SpawnChild *c;
        int r;

        r = spawn_memory_prepare(m, sizeof(SpawnChild) + spawn_memory_size_of_strv(p->argv) + spawn_memory_size_of_strv(p->envp) + strlen(path) + 1 +
                                 (p->cwd ? strlen(p->cwd) + 1 : 0) + p->n_extra_fds * sizeof(int) + p->n_groups * sizeof(gid_t) +
                                 sizeof(SpawnRestrictions));
        if (r < 0)
                return r;

        c = spawn_memory_copy(m, &(SpawnChild) { .parameters = *p, .last_place = -EBADF }, sizeof(SpawnChild));
        c->parameters.argv = spawn_memory_copy_strv(m, p->argv);
        c->parameters.envp = c->envp = spawn_memory_copy_strv(m, p->envp);
        c->parameters.path = spawn_memory_copy_string(m, path);
        c->parameters.cwd = spawn_memory_copy_string(m, p->cwd);
        c->parameters.extra_fds = c->extra = spawn_memory_copy(m, p->extra_fds, p->n_extra_fds * sizeof(int));
        c->parameters.groups = spawn_memory_copy(m, p->groups, p->n_groups * sizeof(gid_t));
        c->parameters.restrictions = spawn_memory_copy(m, p->restrictions, p->restrictions ? sizeof(SpawnRestrictions) : 0);
        find_places(c);
        *ret = c;
        return 0;
}

static int choose_stdio(SpawnChild *c, const SpawnParameters *p, int *ret_null_fd) {
        const int fds[] = { p->stdin_fd, p->stdout_fd, p->stderr_fd };
        int null_fd = spawner_get_null_fd(p->spawner);

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

static int send_fds(SpawnChild *c) {
        int *slots[SPAWNER_FDS_MAX], fds[SPAWNER_FDS_MAX];
        size_t n;

        n = spawn_child_list_fds(c, slots);
        for (size_t i = 0; i < n; i++)
                fds[i] = *slots[i];
        return spawner_send_fds(c->gate_peer_fd, fds, n);
}

static SpawnPlace *find_place(const SpawnParameters *p, int gate_fd) {
        return ELEMENTSOF(((SpawnChild *) NULL)->stdio) + 1 + p->n_extra_fds <= SPAWNER_FDS_MAX ? spawner_take_place(p->spawner, gate_fd) : NULL;
}

/* -EXFULL: the descriptors cannot be sent. */
static int spawn_at(SpawnPlace *place, const SpawnParameters *p, const int gate[static 2], const int error[static 2], PidRef *ret) {
        _cleanup_(spawn_memory_done) SpawnMemory memory = {};
        _cleanup_close_ int null_fd = -EBADF;
        int pidfd = -EBADF, r;
        SpawnChild *c;
        pid_t pid;

        r = make_child(place ? spawn_place_get_memory(place) : &memory, p, &c);
        if (r < 0)
                return r;
        r = choose_stdio(c, p, &null_fd);
        if (r < 0)
                return r;
        c->gate_fd = gate[0];
        c->gate_peer_fd = gate[1];
        c->error_fd = error[1];
        if (place) {
                if (send_fds(c) < 0)
                        return -EXFULL;
                c->gate_fd = spawn_place_get_fd(place);
                c->last_place = spawn_place_get_last(place);
        }

        FAULT_BEFORE(FORK);
        pid = clone_child(c, place, &pidfd);
        if (pid < 0)
                return pid;
        FAULT_AFTER(FORK);
        return take_child(pid, pidfd, ret);
}

int spawn_process(const SpawnParameters *p, SpawnResult *ret) {
        _cleanup_close_pair_ int gate[2] = EBADF_PAIR, error[2] = EBADF_PAIR;
        PidRef pidref = PIDREF_NULL;
        SpawnPlace *place;
        int r;

        if (pipe2(error, O_CLOEXEC) < 0)
                return -errno;
        r = fd_nonblock(error[0], true);
        if (r < 0)
                return r;
        /* Not a pipe: a message for a child that is gone must not raise SIGPIPE. */
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate) < 0)
                return -errno;

        place = find_place(p, gate[0]);
        r = spawn_at(place, p, gate, error, &pidref);
        if (r < 0)
                place = spawn_place_release(place, -EBADF);
        if (r == -EXFULL) /* too many are on their way: the child gets copies of all */
                r = spawn_at(NULL, p, gate, error, &pidref);
        if (r < 0)
                return r;

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

#define SCRIPT_LINE_MAX 255U

/* ENOENT of a file that exists is about what it needs to run. */
static char *advise_missing(const char *executable) {
        _cleanup_free_ char *line = NULL;
        size_t n;

        if (access(executable, F_OK) < 0)
                return strdup("There is no such file; check the path.");
        if (read_regular_file(executable, SCRIPT_LINE_MAX, &line, &n, NULL) < 0 || !startswith(line, "#!"))
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
