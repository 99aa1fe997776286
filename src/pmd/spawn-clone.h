/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/macro.h"

/* clone3(2), which libc has no function for. In the child run() is called, and must not return. What it shares with us is said by flags (CLONE_…);
 * pidfd and exit signal come by themselves. cgroup_fd: it is born there; -EBADF: where we are. The pid, or a negative errno. */

/* A copy of our memory. -ENOSYS, -EPERM: refused, as the filters of some containers do. */
pid_t spawn_clone(uint64_t flags, int cgroup_fd, void (*run)(void *userdata), void *userdata, int *ret_pidfd);

/* In our memory, on that stack, while we go on (CLONE_VM without CLONE_VFORK): run() may only use what is its own, and raw-syscall.h, so not where
 * spawn_memory_is_plain() says no. -EOPNOTSUPP: not on this machine. */
pid_t spawn_clone_in_memory(uint64_t flags, int cgroup_fd, char *stack, size_t stack_size, void (*run)(void *userdata), void *userdata, int *ret_pidfd);
