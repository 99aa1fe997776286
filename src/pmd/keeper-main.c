/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/keeper-internal.h"

#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/notify-util.h"
#include "shared/parse-util.h"
#include "shared/pmd-protocol.h"
#include "shared/proc-util.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* A pmd that did not live for QUICK after it was ready died quickly. After a few such deaths in a row the keeper waits before it
 * tries again, longer each time: a pmd that cannot live must not eat the machine. It never gives up, as apps may be running. */
#define QUICK_USEC (1 * USEC_PER_SEC)
#define N_DEATHS_FREE 5U
#define DELAY_MIN_USEC (100 * USEC_PER_MSEC)
#define DELAY_MAX_USEC (5 * USEC_PER_SEC)

/* As WatchdogSec= of pmd.service. */
#define WATCHDOG_USEC (3 * 60 * USEC_PER_SEC)
#define ABORT_USEC (5 * USEC_PER_SEC)

/* As LimitNOFILE= of pmd.service. */
#define NOFILE_WANTED 65536U

/* pmd's exit status for wrong usage; pmd-protocol.h has the others that it knows. */
#define EXIT_USAGE 2

/* Tells pmd to end when its apps have ended. */
#define SIGNAL_DONE (SIGRTMIN + 1)

/* ---- how children of ours ended ---- */

/* Before it is reaped: /proc still knows it, and who sees that it was reaped can rely on our word being there. */
static void tell_exit(Keeper *k, const siginfo_t *si) {
        ProcStat st = {};
        KeeperExit e;

        (void) proc_read_stat(si->si_pid, &st);
        e = (KeeperExit) {
                .pid = si->si_pid,
                .code = si->si_code,
                .status = si->si_status,
                .start_time = st.start_time,
        };
        if (write(k->exits_fds[1], &e, sizeof(e)) < 0)
                log_debug_errno(errno, "Nobody reads how process %d ended, ignoring: %m", (int) si->si_pid);
}

/* ---- starting pmd ---- */

static int set_environment(Keeper *k, size_t n_fds) {
        _cleanup_free_ char *names = NULL;
        char number[24];
        int r;

        r = keeper_store_join_names(k, &names);
        if (r < 0)
                return r;

        const char *const variables[][2] = {
                { "NOTIFY_SOCKET", k->notify_address },
                { "LISTEN_FDNAMES", names },
        };
        for (size_t i = 0; i < ELEMENTSOF(variables); i++)
                if (setenv(variables[i][0], variables[i][1], true) < 0)
                        return -errno;

        (void) snprintf(number, sizeof(number), "%zu", n_fds);
        if (setenv("LISTEN_FDS", number, true) < 0)
                return -errno;
        (void) snprintf(number, sizeof(number), "%d", (int) getpid());
        if (setenv("LISTEN_PID", number, true) < 0 || setenv("WATCHDOG_PID", number, true) < 0)
                return -errno;
        (void) snprintf(number, sizeof(number), "%" PRIu64, k->nofile);
        if (setenv("PMD_NOFILE", number, true) < 0)
                return -errno;
        (void) snprintf(number, sizeof(number), "%" PRIu64, k->watchdog_usec);
        return setenv("WATCHDOG_USEC", number, true) < 0 ? -errno : 0;
}

/* The signals that pmd wants blocked are so already: those that we pass on wait until it is ready for them. SIGQUIT it gets as another one. */
_noreturn_ static void become_pmd(Keeper *k) {
        sigset_t quit;
        size_t n_fds;
        int r;

        (void) sigemptyset(&quit);
        (void) sigaddset(&quit, SIGQUIT);
        (void) sigprocmask(SIG_UNBLOCK, &quit, NULL);

        r = keeper_store_hand_over(k, &n_fds);
        if (r >= 0)
                r = set_environment(k, n_fds);
        if (r < 0) {
                log_error_errno(r, "Failed to prepare the start of pmd: %m");
                _exit(EXIT_FAILURE);
        }

        (void) execv(k->argv[0], k->argv);
        log_error_errno(errno, "Failed to execute %s: %m", k->argv[0]);
        _exit(EXIT_FAILURE);
}

static usec_t restart_delay(unsigned n_quick_deaths) {
        unsigned n = n_quick_deaths > N_DEATHS_FREE ? n_quick_deaths - N_DEATHS_FREE : 0;

        if (n == 0)
                return 0;
        return n > 16 ? DELAY_MAX_USEC : MIN(DELAY_MIN_USEC << (n - 1), DELAY_MAX_USEC);
}

static usec_t schedule_start(Keeper *k) {
        usec_t delay = k->end_signal ? 0 : restart_delay(k->n_quick_deaths);

        k->start_at = usec_add(now(CLOCK_MONOTONIC), delay);
        return delay;
}

static void start_pmd(Keeper *k) {
        pid_t pid;
        int r;

        k->start_at = USEC_INFINITY;
        k->ready_at = k->watchdog_at = USEC_INFINITY;
        k->aborted = false;

        pid = fork();
        if (pid == 0)
                become_pmd(k);
        if (pid < 0) {
                r = -errno;
                k->n_quick_deaths++;
                (void) schedule_start(k);
                log_error_errno(r, "Failed to fork, trying again: %m");
                return;
        }

        r = pidref_open(&k->pmd, pid);
        if (r < 0) {
                log_error_errno(r, "Failed to open the process of pmd, trying again: %m");
                k->pmd = (PidRef) { .pid = pid, .fd = -EBADF };
                (void) kill(pid, SIGKILL);
        }
        if (k->end_signal)
                (void) pidref_kill(&k->pmd, k->end_signal);
        if (k->exit_when_done)
                (void) pidref_kill(&k->pmd, SIGNAL_DONE);
}

/* ---- what starts the apps ---- */

/* What is meant for us, or for pmd, is not for those that it starts. */
static void clean_environment(void) {
        static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void) unsetenv(names[i]);
}

/* Our standard output is for the apps. */
_noreturn_ static void become_starter(Keeper *k) {
        sigset_t none;
        int fd;

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        clean_environment();
        fd = open("/dev/null", O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
                (void) dup2(fd, STDOUT_FILENO);

        (void) execv(k->starter[0], k->starter);
        log_error_errno(errno, "Failed to execute %s: %m", k->starter[0]);
        _exit(EXIT_FAILURE);
}

static void end_when_done(Keeper *k) {
        k->exit_when_done = true;
        if (pidref_is_set(&k->pmd))
                (void) pidref_kill(&k->pmd, SIGNAL_DONE);
}

static void run_starter(Keeper *k) {
        pid_t pid;
        int r;

        pid = fork();
        if (pid == 0)
                become_starter(k);
        k->starter_due = false;
        r = pid < 0 ? -errno : pidref_open(&k->starting, pid);
        if (r < 0) {
                log_error_errno(r, "Failed to run what starts the apps: %m");
                k->starter_status = EXIT_FAILURE;
                end_when_done(k);
        }
}

/* If it failed, some apps may run nevertheless; if none does that is our end. */
static void on_starter_ended(Keeper *k, const siginfo_t *si) {
        pidref_done(&k->starting);
        k->starting = PIDREF_NULL;
        k->starter_status = si->si_code == CLD_EXITED ? si->si_status : 128 + si->si_status;
        if (!k->stay || k->starter_status != EXIT_SUCCESS)
                end_when_done(k);
}

/* ---- the end of pmd ---- */

static void log_end(const siginfo_t *si) {
        if (si->si_code == CLD_EXITED)
                log_warning("pmd ended with status %d.", si->si_status);
        else
                log_warning("pmd was killed by %s%s.", strna(signal_to_string(si->si_status)),
                            si->si_code == CLD_DUMPED ? " and dumped core" : "");
}

static bool is_final(const Keeper *k, const siginfo_t *si) {
        /* A start that failed is told to who started us. So is an end that was asked for and that pmd cannot bring about. */
        if (!k->was_ready || (k->end_signal && k->n_quick_deaths > N_DEATHS_FREE))
                return true;
        return si->si_code == CLD_EXITED && IN_SET(si->si_status, EXIT_SUCCESS, EXIT_USAGE, PMD_EXIT_ANOTHER_SERVES);
}

static void on_pmd_ended(Keeper *k, const siginfo_t *si) {
        usec_t lived_until = now(CLOCK_MONOTONIC), delay;
        bool quick = k->ready_at == USEC_INFINITY || lived_until < k->ready_at + QUICK_USEC;

        pidref_done(&k->pmd);
        k->watchdog_at = USEC_INFINITY;
        k->n_quick_deaths = quick ? k->n_quick_deaths + 1 : 0;

        if (k->told_status >= 0) {
                k->exit_status = k->told_status ?: k->starter_status;
                k->ended = true;
                return;
        }
        if (si->si_code != CLD_EXITED || !IN_SET(si->si_status, EXIT_SUCCESS, PMD_EXIT_REEXECUTE))
                log_end(si);
        if (is_final(k, si)) {
                k->exit_status = si->si_code == CLD_EXITED ? si->si_status : 128 + si->si_status;
                k->ended = true;
                return;
        }

        delay = schedule_start(k);
        if (delay > 0)
                log_error("pmd died %u times in a row. Apps run on; starting it again in %" USEC_FMT " ms.",
                          k->n_quick_deaths, delay / USEC_PER_MSEC);
        else
                log_info("Starting pmd again.");
}

static void reap_children(Keeper *k) {
        for (;;) {
                siginfo_t si = {};

                if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
                        return;
                if (si.si_pid != k->pmd.pid && si.si_pid != k->starting.pid)
                        tell_exit(k, &si);
                (void) waitid(P_PID, (id_t) si.si_pid, &(siginfo_t) {}, WEXITED | WNOHANG);
                if (si.si_pid == k->pmd.pid) {
                        keeper_read_notices(k); /* what it said before it died still counts */
                        on_pmd_ended(k, &si);
                } else if (si.si_pid == k->starting.pid)
                        on_starter_ended(k, &si);
        }
}

/* ---- signals and timers ---- */

static void on_signal(Keeper *k, int signo) {
        if (signo == SIGCHLD) {
                reap_children(k);
                return;
        }

        if (signo == SIGQUIT)
                signo = SIGTERM; /* pm2 ends with it; pmd would dump core */
        if (signo == SIGNAL_DONE)
                k->exit_when_done = true;
        if (IN_SET(signo, SIGTERM, SIGINT)) {
                k->end_signal = signo;
                k->starter_due = false;
                if (pidref_is_set(&k->starting))
                        (void) pidref_kill(&k->starting, SIGTERM);
        }
        if (pidref_is_set(&k->pmd))
                (void) pidref_kill(&k->pmd, signo);
        else if (k->end_signal)
                (void) schedule_start(k); /* somebody has to stop the apps */
}

static void read_signals(Keeper *k) {
        struct signalfd_siginfo si;

        while (read(k->signal_fd, &si, sizeof(si)) == sizeof(si))
                on_signal(k, (int) si.ssi_signo);
}

static void on_watchdog(Keeper *k) {
        usec_t n = now(CLOCK_MONOTONIC);

        /* We did not run either, and come first. */
        if (n > usec_add(k->watchdog_at, USEC_PER_SEC) && !k->aborted) {
                k->watchdog_at = usec_add(n, k->watchdog_usec);
                return;
        }

        log_error("pmd does not answer, sending SIG%s.", sigabbrev_np(k->aborted ? SIGKILL : SIGABRT));
        (void) pidref_kill(&k->pmd, k->aborted ? SIGKILL : SIGABRT);
        k->watchdog_at = k->aborted ? USEC_INFINITY : usec_add(n, ABORT_USEC);
        k->aborted = true;
}

static void run_timers(Keeper *k) {
        if (now(CLOCK_MONOTONIC) >= k->start_at)
                start_pmd(k);
        if (now(CLOCK_MONOTONIC) >= k->watchdog_at) {
                keeper_read_notices(k); /* the word may be there, unread */
                if (now(CLOCK_MONOTONIC) >= k->watchdog_at)
                        on_watchdog(k);
        }
}

static int next_timeout(const Keeper *k) {
        usec_t at = MIN(k->start_at, k->watchdog_at);

        if (at == USEC_INFINITY)
                return -1;
        return (int) ((usec_sub(at, now(CLOCK_MONOTONIC)) + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

/* One event at a time: handling it may close what the next one is about. */
static void run_once(Keeper *k) {
        struct epoll_event event;

        if (epoll_wait(k->epoll_fd, &event, 1, next_timeout(k)) > 0) {
                if (event.data.ptr == &k->signal_fd)
                        read_signals(k);
                else if (event.data.ptr == &k->notify_fd)
                        keeper_read_notices(k);
                else
                        keeper_store_drop(k, event.data.ptr);
        }
        if (!k->ended)
                run_timers(k);
        if (!k->ended && k->starter_due && k->was_ready)
                run_starter(k);
}

/* ---- set up ---- */

static int open_signals(Keeper *k) {
        const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR2, SIGNAL_DONE };
        sigset_t set;

        (void) signal(SIGCHLD, SIG_DFL); /* ignored, it would take the exit statuses from us */
        (void) sigemptyset(&set);
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaddset(&set, signals[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;

        k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return k->signal_fd < 0 ? -errno : 0;
}

/* Who started us. It is told what pmd says. */
static void connect_upstream(Keeper *k) {
        const char *address = getenv("NOTIFY_SOCKET");
        int r;

        if (isempty(address))
                return;
        r = notify_connect(address);
        if (r < 0)
                log_warning_errno(r, "Failed to connect to %s, ignoring: %m", address);
        else
                k->upstream_fd = r;
}

/* An interval that we are supervised with ourselves holds for pmd: what it says is passed on. */
static usec_t watchdog_usec_of_environment(void) {
        const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");
        uint64_t u;

        if (pid && (safe_atou64(pid, &u) < 0 || u != (uint64_t) getpid()))
                return WATCHDOG_USEC;
        return usec && safe_atou64(usec, &u) >= 0 && u > 0 && u < USEC_INFINITY ? u : WATCHDOG_USEC;
}

static rlim_t raise_nofile(uint64_t *ret_before) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                limit = (struct rlimit) { 1024, 1024 };
        *ret_before = limit.rlim_cur;
        if (limit.rlim_cur < NOFILE_WANTED) {
                limit.rlim_cur = MIN(limit.rlim_max, (rlim_t) NOFILE_WANTED);
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        return limit.rlim_cur;
}

/* The child that becomes pmd moves them out of each other's way, and needs each twice. */
static size_t how_many_can_be_kept(rlim_t nofile) {
        size_t n = nofile > N_OWN_FDS ? (size_t) ((nofile - N_OWN_FDS) / 2) : 0;

        return MIN(n, (size_t) KEPT_MAX);
}

static int setup(Keeper *k) {
        struct epoll_event on_notify = { .events = EPOLLIN, .data.ptr = &k->notify_fd };
        struct epoll_event on_signals = { .events = EPOLLIN, .data.ptr = &k->signal_fd };
        int r;

        (void) prctl(PR_SET_NAME, "pmd-keeper");
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return -errno;

        r = open_signals(k);
        if (r >= 0)
                r = notify_listen(&k->notify_fd, &k->notify_address);
        if (r < 0)
                return r;
        if (pipe2(k->exits_fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;

        k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (k->epoll_fd < 0 || epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, k->notify_fd, &on_notify) < 0 ||
            epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, k->signal_fd, &on_signals) < 0)
                return -errno;

        connect_upstream(k);
        k->watchdog_usec = watchdog_usec_of_environment();
        k->n_kept_max = how_many_can_be_kept(raise_nofile(&k->nofile));
        return 0;
}

static void keeper_done(Keeper *k) {
        keeper_store_done(k);
        pidref_done(&k->pmd);
        pidref_done(&k->starting);
        safe_close(k->epoll_fd);
        safe_close(k->signal_fd);
        safe_close(k->notify_fd);
        safe_close(k->upstream_fd);
        safe_close_pair(k->exits_fds);
        free(k->notify_address);
        free(k->starter);
}

/* "--starter=2 PMCTL start /usr/bin/pmd …": the words of pmd remain. */
static int take_starter(Keeper *k) {
        const char *stay = k->argv[0] ? startswith(k->argv[0], KEEPER_STARTER_STAY) : NULL;
        const char *number = stay ?: (k->argv[0] ? startswith(k->argv[0], KEEPER_STARTER) : NULL);
        size_t n_words = strv_length(k->argv);
        unsigned n;

        if (!number)
                return 0;
        if (safe_atou(number, &n) < 0 || n == 0 || n + 2 > n_words)
                return -EINVAL;

        k->starter = new0(char *, n + 1);
        if (!k->starter)
                return -ENOMEM;
        memcpy(k->starter, k->argv + 1, n * sizeof(char *));
        k->starter_due = true;
        k->argv += 1 + n;
        k->stay = stay;
        return 0;
}

int main(int argc, char *argv[]) {
        _cleanup_(keeper_done) Keeper k = {
                .argv = argv + 1,
                .epoll_fd = -EBADF,
                .signal_fd = -EBADF,
                .notify_fd = -EBADF,
                .upstream_fd = -EBADF,
                .exits_fds = EBADF_PAIR,
                .lock_fd = -EBADF,
                .pmd = PIDREF_NULL,
                .starting = PIDREF_NULL,
                .told_status = -1,
                .start_at = USEC_INFINITY,
                .ready_at = USEC_INFINITY,
                .watchdog_at = USEC_INFINITY,
        };
        int r;

        (void) stdio_ensure();
        /* The lock came as an open descriptor, to be closed with our end; whatever else came is not for pmd either. */
        (void) close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
        log_setup();

        if (take_starter(&k) < 0 || !k.argv[0] || k.argv[0][0] != '/') {
                log_error("This program is called by \"pmd --keeper\".");
                return EXIT_USAGE;
        }

        r = setup(&k);
        if (r < 0) {
                log_error_errno(r, "Failed to set up the keeper: %m");
                return EXIT_FAILURE;
        }

        start_pmd(&k);
        while (!k.ended)
                run_once(&k);
        return k.exit_status;
}
