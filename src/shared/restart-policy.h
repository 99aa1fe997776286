/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/time-util.h"

/* The decision what follows an exit. Pure: no clock, no state but what is passed. All times are CLOCK_MONOTONIC. */

typedef enum RestartAction {
        RESTART_NOW,
        RESTART_LATER,   /* after verdict.delay */
        RESTART_GIVE_UP, /* max_restarts unstable ones: errored */
        RESTART_NOT,     /* autorestart off, or an exit code of stop_exit_codes: stopped */
        _RESTART_ACTION_MAX,
        _RESTART_ACTION_INVALID = -EINVAL,
} RestartAction;

const char *restart_action_to_string(RestartAction a);
RestartAction restart_action_from_string(const char *s);

typedef struct RestartPolicy {
        bool autorestart;
        usec_t min_uptime;
        unsigned max_restarts;
        usec_t restart_delay;       /* 0: none */
        usec_t exp_backoff_delay;   /* 0: none; wins over restart_delay */
        const int *stop_exit_codes;
        size_t n_stop_exit_codes;
} RestartPolicy;

/* What is remembered from one exit to the next. */
typedef struct RestartHistory {
        unsigned unstable_restarts;
        usec_t created_at;    /* start, or the last restart that was asked for; 0 after giving up */
        usec_t prev_delay;    /* of the exponential backoff; 0: none yet */
} RestartHistory;

typedef struct RestartExit {
        bool signaled;
        int code;             /* exit code, when not signaled */
        usec_t started_at, now;
} RestartExit;

typedef struct RestartVerdict {
        RestartAction action;
        usec_t delay;
        RestartHistory history; /* to be remembered */
        const char *reason;     /* static, one phrase for people */
} RestartVerdict;

RestartVerdict restart_decide(const RestartPolicy *policy, const RestartHistory *history, const RestartExit *exit);
