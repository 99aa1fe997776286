/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

#include "shared/macro.h"

/* What the kernel's log says of a process that the OOM killer has chosen. */

typedef struct OomRecord {
        pid_t pid;
        char name[64];      /* of the process, as the kernel escapes it */
        char *cgroup;       /* of the process, from the root of the whole tree */
        char *limit_cgroup; /* whose limit was reached; NULL: there was no limit, the machine has no more */
} OomRecord;

void oom_record_done(OomRecord *r);

/* A record of /dev/kmsg. 1, 0 if it is about something else, or -ENOMEM. */
int oom_record_parse(const char *text, OomRecord *ret);
