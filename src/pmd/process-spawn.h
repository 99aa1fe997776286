/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/pidref.h"

/* Forks a child that waits at a gate and then executes a program. Knows nothing of apps: everything is spelled out in the
 * parameters, made before the fork, so that the child only makes system calls (the log thread may hold any lock of libc's). */

typedef struct SpawnRestrictions SpawnRestrictions; /* spawn-restrict.h */
typedef struct Spawner Spawner;                     /* spawner.h */
typedef struct SpawnPlace SpawnPlace;

typedef struct SpawnParameters {
        char *const *argv;     /* argv[0] is what is executed unless path is set */
        const char *path;      /* absolute path of the executable */
        char *const *envp;
        const char *cwd;
        int stdin_fd, stdout_fd, stderr_fd; /* -EBADF: /dev/null */
        const int *extra_fds;  /* become 3, 4, … */
        size_t n_extra_fds;
        int cgroup_fd;         /* born in this cgroup by CLONE_INTO_CGROUP; -EBADF: where pmd is */
        bool set_user;         /* drop to uid, gid and groups */
        uid_t uid;
        gid_t gid;
        const gid_t *groups;
        size_t n_groups;
        const SpawnRestrictions *restrictions; /* NULL: none */
        bool has_memory_limit; /* at which the kernel kills it */
        Spawner *spawner;      /* NULL: the child gets, and closes, copies of all descriptors */
} SpawnParameters;

/* The exit code of a child that nobody opened the gate for. */
#define SPAWN_EXIT_GATE_CLOSED 217

typedef enum SpawnStep {
        SPAWN_STEP_NONE,
        SPAWN_STEP_SETUP, /* session, signals, descriptors */
        SPAWN_STEP_OOM_SCORE,
        SPAWN_STEP_NICE,
        SPAWN_STEP_LIMITS,
        SPAWN_STEP_CAPABILITIES,
        SPAWN_STEP_NO_NEW_PRIVILEGES,
        SPAWN_STEP_GROUP,
        SPAWN_STEP_USER,
        SPAWN_STEP_CHDIR,
        SPAWN_STEP_EXEC,
        _SPAWN_STEP_MAX,
        _SPAWN_STEP_INVALID = -EINVAL,
} SpawnStep;

const char *spawn_step_to_string(SpawnStep s);
SpawnStep spawn_step_from_string(const char *s);

/* What the child writes to its error pipe when it cannot go on. */
typedef struct SpawnError {
        int32_t step;  /* SpawnStep */
        int32_t error; /* positive errno */
} SpawnError;

typedef struct SpawnResult {
        PidRef pidref;
        int gate_fd;   /* spawn_open_gate() */
        int error_fd;  /* EOF: executed; a SpawnError: failed. Non-blocking */
        SpawnPlace *place; /* spawn_place_release(), once error_fd or pidref has told. NULL: none */
} SpawnResult;

/* 0 or a negative errno (of clone, or E2BIG if argv and envp are larger than the kernel takes). */
int spawn_process(const SpawnParameters *p, SpawnResult *ret);

/* Lets the child go on. Takes the fd, returns -EBADF. invocation_id (32 hex digits or "") becomes INVOCATION_ID in its environment if
 * envp has a place for it: an entry "INVOCATION_ID=" followed by 32 zeros. Entries "LISTEN_PID=" and "WATCHDOG_PID=" followed by 10 zeros get the pid of the
 * child in their place. */
int spawn_open_gate(int gate_fd, const char *invocation_id);

/* 1: executed (EOF). 0: not known yet (EAGAIN). -errno of the child with *ret_step, or of reading. */
int spawn_read_error(int error_fd, SpawnStep *ret_step);

/* What failed, why, what to do: "Cannot execute '/x/y': Permission denied (EACCES). Make it executable …". New memory or NULL. */
char *spawn_error_message(SpawnStep step, int error, const char *executable, const char *cwd, const char *user);
