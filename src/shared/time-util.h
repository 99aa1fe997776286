/* SPDX-License-Identifier: MIT */
#pragma once

#include <inttypes.h>
#include <time.h>

#include "shared/macro.h"

/* All times are microseconds in 64 bits. */
typedef uint64_t usec_t;
#define USEC_INFINITY UINT64_MAX
#define USEC_PER_SEC ((usec_t) 1000000)
#define USEC_PER_MSEC ((usec_t) 1000)
#define NSEC_PER_USEC ((uint64_t) 1000)
#define USEC_FMT PRIu64

usec_t now(clockid_t clock);

static inline usec_t usec_add(usec_t a, usec_t b) {
        return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}
static inline usec_t usec_sub(usec_t a, usec_t b) {
        return a > b ? a - b : 0;
}
