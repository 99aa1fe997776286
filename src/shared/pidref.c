/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/fd-util.h"
#include "shared/pidref.h"
#include "shared/proc-util.h"

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446 /* linux/magic.h since 6.9 */
#endif

/* Before pidfs all pidfds shared one inode. */
static uint64_t pidfd_get_id(int fd) {
        struct statfs sfs;
        struct stat st;

        if (fstatfs(fd, &sfs) < 0 || sfs.f_type != PID_FS_MAGIC || fstat(fd, &st) < 0)
                return 0;
        return st.st_ino;
}

/* Where the inode says which process it is, and the kernel how it ended, nobody asks for the start time, which takes long to read. */
static bool needs_start_time(const PidRef *p) {
        siginfo_t si;

        return p->fd_id == 0 || sizeof(ino_t) < sizeof(p->fd_id) || pidref_get_exit(p, &si) == -EOPNOTSUPP;
}

int pidref_set_consume(PidRef *p, pid_t pid, int fd) {
        _cleanup_close_ int owned = fd;
        PidRef q = { .pid = pid, .fd = fd, .fd_id = pidfd_get_id(fd) };
        ProcStat st = {};
        int r;

        if (!needs_start_time(&q)) {
                TAKE_FD(owned);
                *p = q;
                return 0;
        }

        r = proc_read_stat(pid, &st);
        if (r < 0 && r != -ESRCH)
                return r;

        /* If the pidfd's process has not been reaped by now, what was just read by pid was its own. */
        if (pidfd_send_signal(fd, 0, NULL, 0) < 0 && errno != EPERM)
                return -errno;

        TAKE_FD(owned);
        *p = q;
        p->start_time = st.start_time;
        return 0;
}

int pidref_open(PidRef *p, pid_t pid) {
        int fd;

        if (pid <= 0)
                return -ESRCH;

        fd = pidfd_open(pid, 0);
        if (fd < 0)
                return -errno;
        return pidref_set_consume(p, pid, fd);
}

/* What is known of both must agree, and something must be known. */
static bool pidref_matches(const PidRef *p, uint64_t start_time, uint64_t fd_id) {
        bool compared = false;

        if (p->fd_id != 0 && fd_id != 0) {
                if (p->fd_id != fd_id)
                        return false;
                compared = true;
        }
        if (p->start_time != 0 && start_time != 0) {
                if (p->start_time != start_time)
                        return false;
                compared = true;
        }
        return compared;
}

int pidref_reopen(PidRef *p, pid_t pid, uint64_t start_time, uint64_t fd_id) {
        PidRef q;
        ProcStat st;
        int r;

        r = pidref_open(&q, pid);
        if (r < 0)
                return r;

        if (q.start_time == 0 && start_time != 0 && proc_read_stat(pid, &st) >= 0)
                q.start_time = st.start_time;
        if (!pidref_matches(&q, start_time, fd_id)) {
                pidref_done(&q);
                return -ESRCH;
        }

        *p = q;
        return 0;
}

void pidref_done(PidRef *p) {
        safe_close(p->fd);
        *p = PIDREF_NULL;
}

int pidref_kill(const PidRef *p, int signo) {
        if (p->fd < 0)
                return -ESRCH;
        if (pidfd_send_signal(p->fd, signo, NULL, 0) < 0)
                return -errno;
        return 0;
}

int pidref_wait(const PidRef *p, siginfo_t *ret) {
        siginfo_t si = {};

        if (p->fd < 0)
                return -ECHILD;
        if (waitid(P_PIDFD, (id_t) p->fd, &si, WEXITED | WNOHANG) < 0)
                return -errno;
        if (si.si_pid == 0)
                return 0;

        *ret = si;
        return 1;
}

bool pidref_is_alive(const PidRef *p) {
        struct pollfd pollfd = { .fd = p->fd, .events = POLLIN };

        return p->fd >= 0 && poll(&pollfd, 1, 0) == 0;
}

/* <linux/pidfd.h> of Linux 6.15, in its first size, which later kernels take too; older headers do not have it. */
struct pidfd_exit_info {
        uint64_t mask;
        uint64_t cgroupid;
        uint32_t ids[11];
        int32_t exit_code; /* as wait() tells it */
};

#define PIDFD_EXIT_INFO_GET _IOWR(0xff, 11, struct pidfd_exit_info)
#define PIDFD_EXIT_INFO_EXIT (UINT64_C(1) << 3)

static_assert(sizeof(struct pidfd_exit_info) == 64, "the kernel's PIDFD_INFO_SIZE_VER0");

static bool pidref_is_reaped(const PidRef *p) {
        struct pollfd pollfd = { .fd = p->fd };

        return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & POLLHUP);
}

static siginfo_t siginfo_from_status(int status) {
        return (siginfo_t) {
                .si_code = WIFEXITED(status) ? CLD_EXITED : WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED,
                .si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
        };
}

int pidref_get_exit(const PidRef *p, siginfo_t *ret) {
        struct pidfd_exit_info info = { .mask = PIDFD_EXIT_INFO_EXIT };
        bool reaped;

        if (p->fd < 0 || getenv("PMD_NO_PIDFD_EXIT")) /* so that tests see what older kernels do */
                return -EOPNOTSUPP;

        /* First this: what is reaped before we ask, and not told then, will never be told. Linux 6.13 and 6.14 know the call only. */
        reaped = pidref_is_reaped(p);
        if (ioctl(p->fd, PIDFD_EXIT_INFO_GET, &info) < 0) {
                if (errno != ESRCH)
                        return -EOPNOTSUPP;
                info.mask = 0;
        }
        if (!(info.mask & PIDFD_EXIT_INFO_EXIT))
                return reaped ? -EOPNOTSUPP : 0;

        *ret = siginfo_from_status(info.exit_code);
        return 1;
}

/* Who may not trace a process is told that its status is 0. */
static bool is_ours(pid_t pid) {
        char path[32];
        struct stat st;

        (void) snprintf(path, sizeof path, "/proc/%d", (int) pid);
        return stat(path, &st) >= 0 && st.st_uid == geteuid();
}

int pidref_get_zombie_exit(const PidRef *p, siginfo_t *ret) {
        ProcStat st;
        bool known;

        if (p->fd < 0 || pidref_is_alive(p) || proc_read_stat(p->pid, &st) < 0 || st.state != 'Z' || st.ppid == getpid())
                return 0;
        known = st.wait_status != 0 || is_ours(p->pid);
        if (pidref_kill(p, 0) == -ESRCH) /* it was another one of that number */
                return 0;
        if (!known)
                return -EOPNOTSUPP;

        *ret = siginfo_from_status(st.wait_status);
        return 1;
}
