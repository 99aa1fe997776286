/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Who asked for something. */
typedef struct Requester {
        uid_t uid;
        pid_t pid;        /* 0: unknown */
        char command[16]; /* of that process, UTF-8; "": unknown */
} Requester;

/* Finds out the command, which a process may choose as it likes. */
Requester requester_make(uid_t uid, pid_t pid);
