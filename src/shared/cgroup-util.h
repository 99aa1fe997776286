/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"
#include "shared/time-util.h"

/* Files of a cgroup v2 directory, reached by a directory fd so that a path is resolved once. Values the kernel does not
 * offer there are UINT64_MAX. */

typedef struct ResourceUsage {
        uint64_t memory_current; /* bytes */
        uint64_t cpu_usage_nsec;
        uint64_t tasks_current;
} ResourceUsage;

#define RESOURCE_USAGE_UNSET ((ResourceUsage) { UINT64_MAX, UINT64_MAX, UINT64_MAX })

/* Where the cgroup2 tree is mounted (also the "unified" one of a hybrid host). New memory; -ENOENT if nowhere. */
int cgroup_find_mount(char **ret);

/* The cgroup v2 path of a process (0: ourselves), "/…". */
int cgroup_path_of_pid(pid_t pid, char **ret);

/* Opens "<mount>/<path>" as a directory. An fd or a negative errno. */
int cgroup_open(const char *path);

/* 1 if a live process is in the cgroup or below, 0 if none (or if it was removed), or a negative errno. */
int cgroup_is_populated(int cgroup_fd);

/* SIGKILL to all by cgroup.kill, else one by one until there is nobody who did not get it. */
int cgroup_kill_all(int cgroup_fd);

/* Sends signo to every process of the cgroup, by pidfd. The number signalled or a negative errno. */
int cgroup_signal_all(int cgroup_fd, int signo);

/* All pids in the cgroup and below. New memory. The number or a negative errno. */
int cgroup_get_pids(int cgroup_fd, pid_t **ret);

/* Removes the directory and the ones below it, as far as no process is in them. 0, or the errno of the first that stays. */
int cgroup_remove(int dir_fd, const char *path);

typedef enum CgroupLack {
        CGROUP_LACKS_MEMORY = 1 << 0,
        CGROUP_LACKS_TASKS = 1 << 1,
} CgroupLack;

/* What the controllers say; fields they lack stay UINT64_MAX. lacks (NULL: nothing is known) has those that are not even looked for, and
 * gets those that turn out to be missing: siblings have the same controllers. */
int cgroup_read_usage(int cgroup_fd, unsigned *lacks, ResourceUsage *ret);

/* Whether the memory in use is above limit, *ret then: without the file cache that has not been used lately, which the kernel takes back
 * before it lets anybody suffer. 1, 0, or -ENODATA where there is no memory controller. */
int cgroup_memory_is_above(int cgroup_fd, uint64_t limit, uint64_t *ret);

typedef struct CgroupOom {
        uint64_t kills;       /* processes the OOM killer has ended in this cgroup and below */
        uint64_t group_kills; /* times it has ended the cgroup as a whole */
        uint64_t limit, peak; /* of memory, bytes; UINT64_MAX: none, or not known */
} CgroupOom;

/* 0, or -ENODATA where there is no memory controller or no such cgroup any more. */
int cgroup_read_oom(int cgroup_fd, CgroupOom *ret);

/* Adds up resident memory, CPU time and threads of these processes: the figure of last resort. -ESRCH if none of them lives. */
int procs_read_usage(const pid_t *pids, size_t n, ResourceUsage *ret);

/* Fills the fields of a that are UINT64_MAX from b. */
void resource_usage_fill(ResourceUsage *a, const ResourceUsage *b);
