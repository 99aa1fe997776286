/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>

#include "shared/macro.h"

/* How many lines of a process were dropped, because a target took none for longer than there was room to keep them. The log thread counts,
 * the main thread reads: the one thing they share. */
typedef struct LogCounter {
        atomic_uint n_ref;
        atomic_uint_fast64_t n;
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
