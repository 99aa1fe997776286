/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/uio.h>

#include "pmd/log-counter.h"
#include "shared/log-line.h"
#include "shared/time-util.h"

/* What a target that stalls is still to get, oldest first. It holds memory only while there is something in it. */

#define LOG_RING_MAX ((size_t) 1024 * 1024)

/* Above this there is no room for what one more read may bring. */
#define LOG_RING_FULL (LOG_RING_MAX / 2)

/* A target that has taken nothing for so long is not slow but stuck: who may drop lines does so then, instead of waiting. */
#define LOG_STUCK_USEC USEC_PER_SEC

typedef struct LogRecord {
        struct LogRecord *next;
        LogCounter *counter;  /* of the process that wrote it, NULL: nobody counts */
        uint64_t n_lines;
        size_t size, n_allocated, n_done; /* n_done > 0: a part is with the target, so that it can no longer be dropped */
        LogLineEnd end;       /* as in LogBlock, for who needs it */
        bool continued;
        char data[];
} LogRecord;

typedef struct LogRing {
        LogRecord *first, *last;
        size_t size;
        uint64_t n_dropped;   /* lines since log_ring_take_gap() */
        usec_t progress;      /* CLOCK_MONOTONIC: when the target last took something, or was last known to be well */
} LogRing;

static inline bool log_ring_is_empty(const LogRing *r) {
        return !r->first && r->n_dropped == 0;
}

/* Whether who fills it should wait. */
bool log_ring_is_full(const LogRing *r, bool may_drop, usec_t now);

/* Copies what the vector holds, of which n_done bytes are with the target. may_drop: the oldest lines make room for it. joins: it may become a
 * part of the record before it. NULL: there was no memory, the lines are counted as dropped. */
LogRecord *log_ring_push(LogRing *r, const struct iovec *iov, size_t n_iov, size_t n_done, uint64_t n_lines, LogCounter *counter, bool may_drop,
                         bool joins);

/* How many lines are missing in front of the first record, 0: none. To be asked before each record that nothing of was written. */
uint64_t log_ring_get_gap(const LogRing *r);
void log_ring_close_gap(LogRing *r);

void log_ring_pop(LogRing *r);

/* Drops all, and counts it. The number of lines. */
uint64_t log_ring_clear(LogRing *r);
