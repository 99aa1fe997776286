/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"

typedef enum ProcessState {
        PROCESS_STOPPED,
        PROCESS_SPAWNING, /* forked, waits for its unit at the gate, or gate open and exec not yet known */
        PROCESS_STARTING, /* executed, not ready yet */
        PROCESS_ONLINE,
        PROCESS_STOPPING, /* told to finish */
        PROCESS_KILLING,  /* SIGKILL sent */
        PROCESS_DRAINING, /* main process gone; its unit or its output pipes are not empty yet */
        PROCESS_BACKOFF,  /* waits to be restarted */
        PROCESS_ERRORED,
        _PROCESS_STATE_MAX,
        _PROCESS_STATE_INVALID = -EINVAL,
} ProcessState;

const char *process_state_to_string(ProcessState s); /* "stopped", "spawning", …: ours, for logs and files */
ProcessState process_state_from_string(const char *s);
/* pm2's words: "online", "stopping", "stopped", "launching", "errored", "waiting restart"; NULL if there is no such state */
const char *process_state_shown(ProcessState s);

/* The file in which pmd keeps what it knows of its processes, in the runtime directory: slots of this size, the first of which is number 1. One
 * that is not free has a JSON object with a NUL behind it. What is too long for that is a file of its own, named by the number of the slot, which
 * has {"long": true} instead. */
#define PROCESS_STATES_FILE "processes"
#define PROCESS_STATES_LONG_DIRECTORY "long-processes"
#define PROCESS_STATE_SIZE 4096U
#define PROCESS_STATE_LONG "{\"long\":true}"

/* How many slots there may be in a file of this size. */
unsigned process_states_count(off_t size);

/* What is in a slot, and whether it has a file of its own. 0; -ENODATA: it is free; -EBADMSG or another negative errno: nothing of use is there. */
int process_state_read(int fd, const char *runtime_dir, unsigned slot, json_object **ret, bool *ret_long);

/* For readers: all that are current, by id. */
int process_states_load(const char *runtime_dir, json_object ***ret, size_t *ret_n);
void process_states_free(json_object **states, size_t n);

/* Whether its main process is still there, and no other one of that number. */
bool process_state_is_alive(json_object *state);
