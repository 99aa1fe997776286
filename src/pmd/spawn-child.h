/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/process-spawn.h"

/* What a child does from its first instruction to execve(): nothing but system calls (raw-syscall.h), as it has threads' locks that nobody will open, or
 * pmd's own memory. */

#define INVOCATION_ID_LENGTH 32
#define INVOCATION_ID_PLACE "INVOCATION_ID=00000000000000000000000000000000"

/* Where the child puts in its own pid. */
#define LISTEN_PID_PLACE "LISTEN_PID=0000000000"
#define WATCHDOG_PID_PLACE "WATCHDOG_PID=0000000000"
#define PID_PLACES 2

typedef struct PidPlace {
        char **slot; /* in envp, NULL: there is no such place */
        size_t prefix;
        char text[sizeof(WATCHDOG_PID_PLACE)];
} PidPlace;

/* What opens the gate. The end of the stream without it means that there is nobody any more who would. */
typedef struct GateMessage {
        char invocation_id[INVOCATION_ID_LENGTH]; /* all NUL: none */
} GateMessage;

/* All that the child needs, made before there is one; in a SpawnMemory, like all that it points to. */
typedef struct SpawnChild {
        SpawnParameters parameters;
        char **envp;
        char **invocation_id_slot; /* in envp, NULL: no place for it */
        char invocation_id[sizeof(INVOCATION_ID_PLACE)];
        PidPlace pid_places[PID_PLACES];
        int stdio[3];
        int *extra; /* as in the parameters; may be moved */
        int gate_fd, error_fd;
        int gate_peer_fd;
        int last_place; /* see spawner.h; -EBADF: all descriptors are here, as copies */
} SpawnChild;

/* Its descriptors, in the order in which they are sent to it: how many. */
size_t spawn_child_list_fds(SpawnChild *c, int **ret);

/* Does not return. userdata is a SpawnChild. */
void spawn_child_run(void *userdata);
