/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "pmd/log-relay.h"

/* Copies lines to the main loop while somebody there wants them. The queue is short and no log thread waits for it: what does not fit is
 * skipped, and counted. */

typedef struct LogTap LogTap;

int log_tap_new(sd_event *event, LogTap **ret);
LogTap *log_tap_ref(LogTap *t); /* for a log thread, which may outlive the relay */
LogTap *log_tap_unref(LogTap *t);
LogTap *log_tap_close(LogTap *t); /* the main thread's reference */
DEFINE_CLEANUP_FUNC(LogTap *, log_tap_close);

/* From the main thread: NULL turns it off and forgets what is in the queue. */
void log_tap_set_callback(LogTap *t, log_tap_t callback, void *userdata);

/* From log threads. */
void log_tap_push(LogTap *t, unsigned id, LogStreamKind kind, const LogBlock *block);
