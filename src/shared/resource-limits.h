/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/app-config.h"

/* What ResourceLimits hold, one by one, and how a cgroup is told. */

typedef enum LimitKind {
        LIMIT_MEMORY_HIGH,
        LIMIT_MEMORY_MAX,
        LIMIT_CPU_QUOTA,
        LIMIT_CPU_WEIGHT,
        LIMIT_IO_WEIGHT,
        LIMIT_TASKS_MAX,
        LIMIT_ALLOWED_CPUS,
        _LIMIT_KIND_MAX,
        _LIMIT_KIND_INVALID = -EINVAL,
} LimitKind;

#define LIMIT_BIT(kind) (1U << (kind))

/* The name of the attribute: "memory_max". */
const char *limit_kind_to_string(LimitKind k);
LimitKind limit_kind_from_string(const char *s);

/* The controller that enforces it: "memory". */
const char *limit_controller(LimitKind k);

/* The bits of those that were said. */
unsigned resource_limits_mask(const ResourceLimits *l);

/* *to must be empty. 0 or -ENOMEM. */
int resource_limits_copy(ResourceLimits *to, const ResourceLimits *from);
void resource_limits_done(ResourceLimits *l);

/* As a number: bytes, microseconds per second, or the count; UINT64_MAX: no limit, or not said. Not for LIMIT_ALLOWED_CPUS. */
uint64_t resource_limits_get(const ResourceLimits *l, LimitKind k);

/* Tells a cgroup of ours; what was not said becomes what the kernel begins with. 0; -EOPNOTSUPP where the kernel offers no such thing in this
 * directory; or another negative errno of writing. */
int cgroup_write_limit(int cgroup_fd, const ResourceLimits *l, LimitKind k);

/* Whether the directory has what it takes. */
bool cgroup_can_limit(int cgroup_fd, LimitKind k);

/* The same for the process's cgroups of the old kind, where a service manager may have put it. unit is the last part of their paths. */
bool cgroup_v1_can_limit(pid_t pid, const char *unit, LimitKind k);
