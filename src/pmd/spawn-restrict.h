/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/process-spawn.h"
#include "shared/app-config.h"

/* What a child takes on, or gives up, before it executes its program. Both functions are run in the child and only make system calls. */

struct SpawnRestrictions {
        OptionalInt nice, oom_score_adjust, umask; /* umask not set: 0022 */
        Rlimit rlimits[RLIM_NLIMITS];
        bool set_capabilities;  /* these and no others, whoever it runs as; also those of programs with more rights that it executes */
        uint64_t capabilities;
        bool no_new_privileges;
};

/* With the rights of pmd. 0, or a negative errno with the step that failed. */
int restrict_before_user(const SpawnRestrictions *s, SpawnStep *ret_step);

/* With those of the app's user. */
int restrict_after_user(const SpawnRestrictions *s, SpawnStep *ret_step);
