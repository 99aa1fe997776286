/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "libpmd/pmd-internal.h"
#include "shared/fd-util.h"
#include "shared/notify-util.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* pmd is started by two forks: the grandchild becomes pmd's keeper, which ends as pmd does if that cannot start, and the child
 * between, the guard, waits with it, because only a parent learns how a process ended. The guard leaves as soon as we know that pmd is
 * ready, or are gone ourselves.
 *
 * We may be a thread among many, so between fork and exec only what is async-signal-safe is called. */

#define LOG_TAIL_MAX 4096

#define ERROR_SPAWN_FAILED "org.freedesktop.DBus.Error.Spawn.Failed"
#define ERROR_SPAWN_EXEC_FAILED "org.freedesktop.DBus.Error.Spawn.ExecFailed"
#define ERROR_SPAWN_CHILD_EXITED "org.freedesktop.DBus.Error.Spawn.ChildExited"

typedef struct Launch {
        char *binary, *argument, *log_path;
        char **environment;
        off_t log_offset;     /* what lies behind it was written by this pmd */
        int null_fd, log_fd;  /* all fds are above standard error */
        int notify_fd;
        int report_fds[2];    /* ours, the guard's */
        pid_t guard;
} Launch;

/* What the guard, or the process that cannot become pmd, has to say. */
typedef struct LaunchReport {
        int exec_errno;
        int code, status;     /* of siginfo_t */
} LaunchReport;

static void launch_done(Launch *l) {
        free(l->binary);
        free(l->argument);
        free(l->log_path);
        strv_free(l->environment);
        safe_close(l->null_fd);
        safe_close(l->log_fd);
        safe_close(l->notify_fd);
        safe_close_pair(l->report_fds);
        if (l->guard > 0)
                while (waitpid(l->guard, NULL, 0) < 0 && errno == EINTR)
                        ;
}

/* ---- preparation ---- */

static int binary_beside_us(char **ret) {
        char exe[PATH_MAX], *slash;
        _cleanup_free_ char *p = NULL;
        ssize_t n;

        n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
        if (n < 0)
                return -errno;
        exe[n] = 0;
        slash = strrchr(exe, '/');
        if (!slash)
                return -ENOENT;
        *slash = 0;

        p = strjoin(exe, "/pmd");
        if (!p)
                return -ENOMEM;
        return find_executable(p, NULL, ret);
}

static int find_binary(char **ret, pmd_error *reterr) {
        const char *e = secure_getenv("PMD_DAEMON"), *path = e;
        _cleanup_free_ char *cwd = NULL, *absolute = NULL;
        int r;

        if (isempty(e)) {
                if (binary_beside_us(ret) >= 0)
                        return 0;
                path = PMD_BINARY;
        }

        cwd = getcwd(NULL, 0);
        absolute = path_resolve(cwd ?: "/", path);
        if (!absolute)
                return error_set(reterr, ENOMEM, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");

        r = find_executable(absolute, NULL, ret);
        if (r < 0)
                return error_set(reterr, r, ERROR_SPAWN_EXEC_FAILED,
                                 "Cannot start pmd: %s: %m. %s", absolute,
                                 isempty(e) ? "Install it, or say where it is with PMD_DAEMON=/path/to/pmd." :
                                              "PMD_DAEMON says so.");
        return 0;
}

static bool environment_is_for_pmd(const char *assignment) {
        static const char *const names[] = {
                "PATH=", "HOME=", "USER=", "LOGNAME=", "LANG=", "LC_", "TZ=", "XDG_RUNTIME_DIR=",
                "PMD_LOG_LEVEL=", "PMD_RUNNER=",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (startswith(assignment, names[i]))
                        return true;
        return false;
}

/* Apps get the environment of who starts them by their definition; that of who happened to start pmd is not for them. */
static int make_environment(const char *notify_address, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        STRV_FOREACH(e, environ) {
                if (!environment_is_for_pmd(*e))
                        continue;
                r = strv_extend(&l, *e);
                if (r < 0)
                        return r;
        }
        r = strv_consume(&l, strjoin("NOTIFY_SOCKET=", notify_address));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

/* Who runs with standard descriptors closed gets their numbers for new ones. */
static int fd_move_above_stdio(int *fd) {
        int moved;

        if (*fd > STDERR_FILENO)
                return 0;
        moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0)
                return -errno;
        safe_close(*fd);
        *fd = moved;
        return 0;
}

static int open_stdio(Launch *l) {
        struct stat st;
        int r;

        l->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (l->null_fd < 0)
                return -errno;
        l->log_fd = open(l->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (l->log_fd < 0)
                return -errno;
        if (fstat(l->log_fd, &st) < 0)
                return -errno;
        l->log_offset = st.st_size;

        r = fd_move_above_stdio(&l->null_fd);
        if (r < 0)
                return r;
        return fd_move_above_stdio(&l->log_fd);
}

static int launch_prepare(Launch *l, const Instance *i, pmd_error *reterr) {
        _cleanup_free_ char *notify_address = NULL;
        int r;

        r = find_binary(&l->binary, reterr);
        if (r < 0)
                return r;

        l->argument = strjoin("--private=", i->home);
        l->log_path = strjoin(i->home, "/pmd.log");
        if (!l->argument || !l->log_path)
                return error_set(reterr, ENOMEM, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");

        r = open_stdio(l);
        if (r < 0)
                return error_set(reterr, r, ERROR_SPAWN_FAILED, "Cannot start pmd: %s: %m", l->log_path);

        r = notify_listen(&l->notify_fd, &notify_address);
        if (r >= 0)
                r = make_environment(notify_address, &l->environment);
        if (r >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, l->report_fds) < 0)
                r = -errno;
        if (r >= 0)
                r = fd_move_above_stdio(&l->report_fds[1]);
        return r < 0 ? error_set(reterr, r, ERROR_SPAWN_FAILED, "Cannot start pmd: %m") : 0;
}

/* ---- between fork and exec ---- */

static void send_report(int fd, const LaunchReport *report) {
        (void) send(fd, report, sizeof(*report), MSG_NOSIGNAL | MSG_DONTWAIT);
}

_noreturn_ static void become_pmd(const Launch *l) {
        const char *const argv[] = { l->binary, l->argument, "--keeper", NULL };
        sigset_t none;

        /* Ignored signals stay so across exec. */
        for (int s = 1; s < _NSIG; s++)
                (void) signal(s, SIG_DFL);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);

        if (dup2(l->null_fd, STDIN_FILENO) >= 0 && dup2(l->log_fd, STDOUT_FILENO) >= 0 &&
            dup2(l->log_fd, STDERR_FILENO) >= 0 && chdir("/") >= 0) {
                /* Not every program that uses this library marks its descriptors. */
                (void) syscall(SYS_close_range, STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
                (void) execve(l->binary, (char *const *) argv, l->environment);
        }

        send_report(l->report_fds[1], &(LaunchReport) { .exec_errno = errno });
        _exit(EXIT_FAILURE);
}

_noreturn_ static void guard_pmd(const Launch *l) {
        LaunchReport report = {};
        struct pollfd fds[2];
        siginfo_t si = {};
        pid_t pid;

        (void) close(l->report_fds[0]);
        (void) signal(SIGCHLD, SIG_DFL); /* ignored, it would take the exit status from us */
        (void) setsid();

        pid = _Fork();
        if (pid == 0)
                become_pmd(l);
        if (pid < 0) {
                send_report(l->report_fds[1], &(LaunchReport) { .exec_errno = errno });
                _exit(EXIT_FAILURE);
        }

        fds[0] = (struct pollfd) { .fd = (int) syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
        fds[1] = (struct pollfd) { .fd = l->report_fds[1] };
        while (poll(fds, ELEMENTSOF(fds), -1) < 0 && errno == EINTR)
                ;

        if (fds[0].revents && waitid(P_PID, (id_t) pid, &si, WEXITED) >= 0) {
                report.code = si.si_code;
                report.status = si.si_status;
                send_report(l->report_fds[1], &report);
        }
        _exit(EXIT_SUCCESS);
}

/* ---- the caller's side ---- */

static int launch_fork(Launch *l) {
        sigset_t all, before;
        pid_t pid;
        int r;

        /* The guard keeps them blocked: no handler of the program may run in it. */
        (void) sigfillset(&all);
        r = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r != 0)
                return -r;

        pid = _Fork();
        if (pid == 0)
                guard_pmd(l);
        r = pid < 0 ? -errno : 0;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r < 0)
                return r;

        l->guard = pid;
        l->report_fds[1] = safe_close(l->report_fds[1]);
        return 0;
}

static bool message_is_from_us(struct msghdr *mh) {
        for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
                struct ucred cred;

                if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_CREDENTIALS)
                        continue;
                memcpy(&cred, CMSG_DATA(h), sizeof(cred));
                return cred.uid == geteuid();
        }
        return false;
}

static bool says_ready(const char *text) {
        for (const char *s = text; s; s = strchr(s, '\n')) {
                s += *s == '\n';
                if (startswith(s, "READY=1") && IN_SET(s[STRLEN("READY=1")], '\n', '\0'))
                        return true;
        }
        return false;
}

/* Reads what has been notified so far. Descriptors that came along find no room and are dropped by the kernel. */
static bool read_ready(int fd) {
        for (;;) {
                union {
                        struct cmsghdr header;
                        char buffer[CMSG_SPACE(sizeof(struct ucred))];
                } control;
                char text[4096];
                struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
                struct msghdr mh = {
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control),
                };
                ssize_t n;

                n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return false;
                text[n] = 0;
                if (message_is_from_us(&mh) && says_ready(text))
                        return true;
        }
}

/* What the keeper says of its end, which tells less than what pmd said before. */
static bool is_keepers(const char *line) {
        return strstr(line, " pmd ended with status ");
}

/* The last line that pmd wrote to its log, NULL if it wrote none. */
static char *last_line(const Launch *l) {
        char buffer[LOG_TAIL_MAX + 1], *nl;
        _cleanup_close_ int fd = -EBADF;
        off_t offset = l->log_offset;
        struct stat st;
        ssize_t n;

        fd = open(l->log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return NULL;
        n = pread(fd, buffer, LOG_TAIL_MAX, MAX(offset, st.st_size - LOG_TAIL_MAX));
        while (n > 0 && buffer[n - 1] == '\n')
                n--;
        if (n <= 0)
                return NULL;
        buffer[n] = 0;

        nl = memrchr(buffer, '\n', (size_t) n);
        if (nl && is_keepers(nl + 1)) {
                *nl = 0;
                nl = strrchr(buffer, '\n');
        }
        return string_escape_cc(nl ? nl + 1 : buffer);
}

/* -EBUSY if another pmd was in the way. */
static int explain_end(const Launch *l, const LaunchReport *report, pmd_error *reterr) {
        int error = report->code == CLD_EXITED && report->status == PMD_EXIT_ANOTHER_SERVES ? EBUSY : ECONNREFUSED;
        _cleanup_free_ char *line = NULL;

        if (report->exec_errno > 0)
                return error_set(reterr, report->exec_errno, ERROR_SPAWN_EXEC_FAILED, "Cannot execute %s: %m", l->binary);

        line = last_line(l);
        if (line)
                return error_set(reterr, error, ERROR_SPAWN_CHILD_EXITED, "pmd ended while it started: %s (%s)",
                                 line, l->log_path);
        if (report->code == CLD_EXITED)
                return error_set(reterr, error, ERROR_SPAWN_CHILD_EXITED,
                                 "pmd ended while it started, with status %i and without a word.", report->status);
        return error_set(reterr, error, ERROR_SPAWN_CHILD_EXITED,
                         "pmd was killed by signal %i (%s) while it started.", report->status, strsignal(report->status));
}

static int read_report(const Launch *l, pmd_error *reterr) {
        LaunchReport report;

        if (recv(l->report_fds[0], &report, sizeof(report), MSG_DONTWAIT) != sizeof(report))
                return error_set(reterr, ECONNREFUSED, ERROR_SPAWN_FAILED, "The process that was to start pmd was killed.");
        return explain_end(l, &report, reterr);
}

static int wait_until_ready(const Launch *l, usec_t deadline, pmd_error *reterr) {
        struct pollfd fds[] = {
                { .fd = l->notify_fd, .events = POLLIN },
                { .fd = l->report_fds[0], .events = POLLIN },
        };

        for (;;) {
                usec_t left = usec_sub(deadline, now(CLOCK_MONOTONIC));
                int n;

                if (left == 0)
                        return error_set(reterr, ETIMEDOUT, SD_BUS_ERROR_TIMEOUT,
                                         "pmd was started, but is not ready yet. See %s.", l->log_path);

                n = poll(fds, ELEMENTSOF(fds), (int) (left / USEC_PER_MSEC) + 1);
                if (n < 0 && errno != EINTR)
                        return error_set(reterr, errno, ERROR_SPAWN_FAILED, "Cannot wait for pmd: %m");
                if (n <= 0)
                        continue;
                if (read_ready(l->notify_fd))
                        return 0;
                if (fds[1].revents)
                        return read_report(l, reterr);
        }
}

int launch_pmd(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        _cleanup_(launch_done) Launch l = {
                .null_fd = -EBADF,
                .log_fd = -EBADF,
                .notify_fd = -EBADF,
                .report_fds = EBADF_PAIR,
        };
        int r;

        r = launch_prepare(&l, c->instance, reterr);
        if (r < 0)
                return r;
        r = launch_fork(&l);
        if (r < 0)
                return error_set(reterr, r, ERROR_SPAWN_FAILED, "Cannot start pmd: %m");
        return wait_until_ready(&l, deadline, reterr);
}
