/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/macro.h"
#include "shared/oom-record.h"

/* The kernel's records of the OOM killer, as far as they may be read here. */

int oom_log_new(OomLog **ret);
OomLog *oom_log_free(OomLog *l);
DEFINE_CLEANUP_FUNC(OomLog *, oom_log_free);

/* The last record of a process of this cgroup; pid 0: whichever. It belongs to the log and is good until the next call. NULL: there is none. */
const OomRecord *oom_log_find(OomLog *l, const char *cgroup, pid_t pid);
