/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>

#include "shared/macro.h"
#include "shared/time-util.h"

/* What becomes of the lines of a process that a target does not take. The log thread writes, the main thread reads: the one thing they share. */
typedef struct LogCounter {
        atomic_uint n_ref;
        atomic_uint_fast64_t n;     /* lines that were dropped, because a target took none for longer than there was room to keep them */
        atomic_uint n_waiting;      /* pieces that are kept for a target */
        atomic_uint_fast64_t since; /* n_waiting > 0: when the target took one last, or the first came to wait (CLOCK_MONOTONIC) */
        atomic_int error;           /* of the last try to write, 0: none */
        _Atomic(const void *) failed; /* the target that it is of: that another one takes lines does not end it */
} LogCounter;

static inline LogCounter *log_counter_new(void) {
        LogCounter *c = new0(LogCounter, 1);

        if (c)
                atomic_init(&c->n_ref, 1);
        return c;
}

static inline LogCounter *log_counter_ref(LogCounter *c) {
        if (c)
                atomic_fetch_add(&c->n_ref, 1);
        return c;
}

static inline LogCounter *log_counter_unref(LogCounter *c) {
        if (c && atomic_fetch_sub(&c->n_ref, 1) == 1)
                free(c);
        return NULL;
}
DEFINE_CLEANUP_FUNC(LogCounter *, log_counter_unref);

static inline void log_counter_add(LogCounter *c, uint64_t n) {
        if (c)
                atomic_fetch_add_explicit(&c->n, n, memory_order_relaxed);
}

static inline uint64_t log_counter_get(LogCounter *c) {
        return c ? atomic_load_explicit(&c->n, memory_order_relaxed) : 0;
}

/* target tells apart where the lines of a process go to, no more. */
static inline void log_counter_set_error(LogCounter *c, const void *target, int error) {
        if (!c || (error == 0 && atomic_load_explicit(&c->failed, memory_order_relaxed) != target))
                return;
        atomic_store_explicit(&c->failed, error == 0 ? NULL : target, memory_order_relaxed);
        atomic_store_explicit(&c->error, error, memory_order_relaxed);
}

/* There are other targets from now on. */
static inline void log_counter_forget_error(LogCounter *c) {
        if (!c)
                return;
        atomic_store_explicit(&c->failed, NULL, memory_order_relaxed);
        atomic_store_explicit(&c->error, 0, memory_order_relaxed);
}

static inline int log_counter_get_error(LogCounter *c) {
        return c ? atomic_load_explicit(&c->error, memory_order_relaxed) : 0;
}

static inline void log_counter_keep(LogCounter *c) {
        if (c && atomic_fetch_add_explicit(&c->n_waiting, 1, memory_order_relaxed) == 0)
                atomic_store_explicit(&c->since, now(CLOCK_MONOTONIC), memory_order_relaxed);
}

static inline void log_counter_unkeep(LogCounter *c) {
        if (c)
                atomic_fetch_sub_explicit(&c->n_waiting, 1, memory_order_relaxed);
}

/* A target has taken something. */
static inline void log_counter_progress(LogCounter *c, const void *target) {
        if (!c)
                return;
        atomic_store_explicit(&c->since, now(CLOCK_MONOTONIC), memory_order_relaxed);
        log_counter_set_error(c, target, 0);
}

/* Since when lines wait in vain, 0: none do. */
static inline usec_t log_counter_get_since(LogCounter *c) {
        if (!c || atomic_load_explicit(&c->n_waiting, memory_order_relaxed) == 0)
                return 0;
        return atomic_load_explicit(&c->since, memory_order_relaxed);
}
