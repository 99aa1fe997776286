/* SPDX-License-Identifier: MIT */
#pragma once

#include <signal.h>

#include "shared/macro.h"

/* A process that cannot be mistaken for another: the pidfd is what is signalled and waited for, the pid is for people,
 * and start time (and the pidfs inode, where the kernel has one) tell after a restart of ours whether the pid is still that process. */
typedef struct PidRef {
        pid_t pid;           /* 0: unset */
        int fd;              /* pidfd, -EBADF: unset */
        uint64_t start_time; /* field 22 of /proc/PID/stat, in clock ticks; 0: unknown, or not needed */
        uint64_t fd_id;      /* inode of the pidfd, unique since boot on pidfs; 0: unknown */
} PidRef;

#define PIDREF_NULL ((const PidRef) { .fd = -EBADF })

static inline bool pidref_is_set(const PidRef *p) {
        return p->pid > 0;
}

/* Takes over fd (a pidfd of pid). Fills in start time and inode. 0 or a negative errno, fd closed then. */
int pidref_set_consume(PidRef *p, pid_t pid, int fd);

/* Opens a process by pid. -ESRCH if there is none. */
int pidref_open(PidRef *p, pid_t pid);

/* Opens it again after a restart of ours: -ESRCH if it is gone, or if the pid is another process now. */
int pidref_reopen(PidRef *p, pid_t pid, uint64_t start_time, uint64_t fd_id);

void pidref_done(PidRef *p);

/* 0 or a negative errno; -ESRCH if it has been reaped. */
int pidref_kill(const PidRef *p, int signo);

/* The wait status in the siginfo of waitid(), reaping the child. 1 if it was had, 0 if the process still runs,
 * -ECHILD if it is not our child, or a negative errno. */
int pidref_wait(const PidRef *p, siginfo_t *ret);

/* Whether it has not exited; a zombie has. */
bool pidref_is_alive(const PidRef *p);

/* How it ended, for those who are not its parent: Linux 6.15 remembers it with the pidfd once the process has been reaped, which is when the
 * pidfd says EPOLLHUP. Only si_code and si_status are set. 1 if it was had, 0 if the process has not been reaped yet, -EOPNOTSUPP if this kernel
 * does not tell. */
int pidref_get_exit(const PidRef *p, siginfo_t *ret);

/* The same of a zombie that another process is to reap, and perhaps never does. 0: it is none; -EOPNOTSUPP: it is, but the kernel does not tell us
 * how it ended. */
int pidref_get_zombie_exit(const PidRef *p, siginfo_t *ret);
