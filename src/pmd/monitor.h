/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/cgroup-util.h"

/* The figures of a process: read when somebody asks, never by a timer.
 *
 * *ret_cpu_percent (100: one core) is over the time since an earlier reading, at least a second if there is one that old; since the
 * start of the process at the first reading. 0 and unset figures if it does not run. */
void monitor_read(Process *p, ResourceUsage *ret, double *ret_cpu_percent);
