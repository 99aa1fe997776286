/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/string-table.h"

/* Places where a build with -Dfault_injection=true can die by SIGKILL, before and after each step that changes the world outside of pmd.
 * $PMD_FAULT=POINT:N,… names points ("before-fork") and their passes. Passes are counted while the directory $PMD_FAULT_DIRECTORY exists, by
 * the sizes of files in it: the count goes on in the next pmd, which so does not die there as well. In other builds there are none. */

typedef enum FaultStep {
        FAULT_FORK,
        FAULT_CGROUP_MAKE,
        FAULT_CGROUP_REMOVE,
        FAULT_SCOPE_START,
        FAULT_SCOPE_REPLY,
        FAULT_SCOPE_STOP,
        FAULT_GATE_OPEN,
        FAULT_SIGNAL,
        FAULT_KILL,
        FAULT_FD_PUSH,
        FAULT_FD_REMOVE,
        FAULT_SOCKET_BIND,
        FAULT_SOCKET_REMOVE,
        FAULT_STATE_WRITE,
        FAULT_STATE_REMOVE,
        FAULT_DEFINITION_WRITE,
        FAULT_REQUEST_APPEND,
        FAULT_REQUEST_REMOVE,
        FAULT_SWAP,
        FAULT_RETIRE,
        FAULT_FILE_WRITE,
        FAULT_FILE_SYNC,
        FAULT_FILE_RENAME,
        FAULT_DIRECTORY_SYNC,
        FAULT_GENERATION,
        _FAULT_STEP_MAX,
        _FAULT_STEP_INVALID = -EINVAL,
} FaultStep;

DECLARE_STRING_TABLE(FaultStep, fault_step);

#ifdef FAULT_INJECTION
void fault_pass(const char *when, FaultStep step);
#define FAULT_BEFORE(step) fault_pass("before", FAULT_##step)
#define FAULT_AFTER(step) fault_pass("after", FAULT_##step)
#else
#define FAULT_BEFORE(step) ((void) 0)
#define FAULT_AFTER(step) ((void) 0)
#endif
