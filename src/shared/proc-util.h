/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* What /proc tells about a pid at this moment. Nothing here is proof of identity: who acts on a process holds a PidRef too. */

typedef struct ProcStat {
        char state;
        pid_t ppid, session;
        unsigned n_threads;
        uint64_t cpu_nsec;   /* user and system, without waited-for children */
        uint64_t start_time; /* in clock ticks since boot */
        uint64_t resident;   /* bytes of memory, shared ones too */
        uint64_t heap_begin; /* address; 0: may not be known */
        int wait_status;     /* of a zombie, as wait() tells it; 0 also to whom the kernel does not tell */
        uint64_t environment_start, environment_end; /* addresses; 0 in the middle of execve() */
} ProcStat;

/* -ESRCH if there is no such process, or no /proc. */
int proc_read_stat(pid_t pid, ProcStat *ret);

/* The children of all its threads. New memory. The number or a negative errno. Exact only for ourselves: another process may
 * reap its children meanwhile, and then one of their neighbours can be missed. */
int proc_get_children(pid_t pid, pid_t **ret);

/* 1 if "NAME=value" stands in the environment it was executed with, 0 if not, -EAGAIN if it is in the middle of execve(), or another
 * negative errno. */
int proc_has_environment(pid_t pid, const char *assignment);

/* Appends the pids of a text, which white space separates. 0 or -ENOMEM. */
int pids_parse(const char *text, pid_t **pids, size_t *n, size_t *allocated);
