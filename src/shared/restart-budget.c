/* SPDX-License-Identifier: MIT */
#include "shared/restart-budget.h"

/* Where a restart is slow, restarts take up a quarter of the time, and what somebody asks for is not kept waiting. */
#define BUSY_SHARE 4U

static usec_t interval(const RestartBudget *b) {
        return USEC_PER_SEC / b->rate;
}

usec_t restart_budget_take(RestartBudget *b, usec_t now, usec_t busy) {
        usec_t depth, earliest;

        if (b->rate == 0)
                return 0;

        b->full_at = usec_add(MAX(b->full_at, now), MAX(interval(b), BUSY_SHARE * busy));
        depth = interval(b) * b->burst;
        earliest = usec_sub(b->full_at, depth);
        return usec_sub(earliest, now);
}

unsigned restart_budget_available(const RestartBudget *b, usec_t now) {
        usec_t missing;

        if (b->rate == 0)
                return b->burst;

        /* Rounded up: a token that is not complete is none. */
        missing = (usec_sub(b->full_at, now) + interval(b) - 1) / interval(b);
        return missing >= b->burst ? 0 : b->burst - (unsigned) missing;
}
