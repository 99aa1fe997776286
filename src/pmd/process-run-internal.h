/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/log-relay.h"
#include "pmd/pmd-forward.h"

/* What process-run.c and process-birth.c, which begin incarnations, and process-adopt.c, which goes on with those of another pmd, have in common. */

/* process-birth.c */
int process_look_up_user(Process *p);
int process_spawn_and_attach(Process *p); /* < 0: what there is of it is for the caller to end */

/* process-run.c */
int process_make_unit(Process *p);
int process_follow_stream(Process *p, LogStreamKind kind, int read_fd); /* takes read_fd */
int process_watch_main(Process *p);                                     /* for its end */
void process_unwatch_main(Process *p);

/* process-fd-store.c: what every incarnation has in the fd store from its fork to its end */
typedef enum StoredFd {
        STORED_OUT = LOG_STREAM_OUT,
        STORED_ERR = LOG_STREAM_ERR,
        STORED_PIDFD = _LOG_STREAM_KIND_MAX,
        _STORED_FD_MAX,
} StoredFd;

void process_store_incarnation(Process *p, const int fds[static _STORED_FD_MAX]); /* those that are negative are not there */
void process_unstore_incarnation(Process *p);
void process_unstore_stream(Process *p, LogStreamKind kind); /* it is at its end */
void process_take_incarnation(Process *p, int fds[static _STORED_FD_MAX]);
