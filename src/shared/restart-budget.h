/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/time-util.h"

/* How many automatic restarts a second a pmd can afford, however many apps crash: a token bucket. Pure: no clock. All times are
 * CLOCK_MONOTONIC.
 *
 * Instead of tokens it keeps the moment at which the bucket will be full again, which moves on by an interval with each restart. Who
 * comes when it is empty gets a place in the row, so that waiting restarts are "rate" a second too, first come, first served. */
typedef struct RestartBudget {
        unsigned rate;  /* a second, sustained; 0: no limit */
        unsigned burst; /* at once */
        usec_t full_at;
} RestartBudget;

/* Takes one that keeps pmd busy for so long. One that takes more than its part of the time counts as several. Returns how long it has to
 * wait, 0: not at all. */
usec_t restart_budget_take(RestartBudget *b, usec_t now, usec_t busy);

/* How many could be taken now without waiting. */
unsigned restart_budget_available(const RestartBudget *b, usec_t now);
