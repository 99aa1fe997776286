/* SPDX-License-Identifier: MIT */
#include "shared/restart-policy.h"

#include "shared/string-table.h"

#define BACKOFF_MAX_MSEC ((uint64_t) 15000)

/* Who has run so long begins the exponential backoff anew. */
#define BACKOFF_FORGET_USEC (30 * USEC_PER_SEC)

static const char *const restart_action_table[_RESTART_ACTION_MAX] = {
        [RESTART_NOW] = "now",
        [RESTART_LATER] = "later",
        [RESTART_GIVE_UP] = "give-up",
        [RESTART_NOT] = "not",
};

DEFINE_STRING_TABLE(RestartAction, restart_action)

static usec_t usec_mul(usec_t a, unsigned n) {
        usec_t v;

        return __builtin_mul_overflow(a, n, &v) ? USEC_INFINITY : v;
}

static bool exit_is_unstable(const RestartPolicy *policy, const RestartHistory *history, const RestartExit *exit) {
        /* Once given up, a process is not counted until it is started or restarted on request. */
        if (history->created_at == 0)
                return false;

        return usec_sub(exit->now, history->created_at) < usec_mul(policy->min_uptime, policy->max_restarts) &&
                usec_sub(exit->now, exit->started_at) < policy->min_uptime;
}

static bool exit_code_stops(const RestartPolicy *policy, const RestartExit *exit) {
        if (exit->signaled)
                return false;

        for (size_t i = 0; i < policy->n_stop_exit_codes; i++)
                if (policy->stop_exit_codes[i] == exit->code)
                        return true;
        return false;
}

static usec_t backoff_delay(const RestartPolicy *policy, const RestartHistory *history, const RestartExit *exit) {
        uint64_t msec = history->prev_delay / USEC_PER_MSEC;

        if (msec == 0 || usec_sub(exit->now, exit->started_at) > BACKOFF_FORGET_USEC)
                return policy->exp_backoff_delay;

        msec = MIN(msec, BACKOFF_MAX_MSEC);
        return MIN(msec * 3 / 2, BACKOFF_MAX_MSEC) * USEC_PER_MSEC;
}

RestartVerdict restart_decide(const RestartPolicy *policy, const RestartHistory *history, const RestartExit *exit) {
        RestartVerdict v = { .history = *history };

        if (exit_is_unstable(policy, history, exit))
                v.history.unstable_restarts++;

        /* This comes before autorestart and stop_exit_codes, as in pm2: with max_restarts 0 every exit is an error. */
        if (v.history.unstable_restarts >= policy->max_restarts) {
                v.history.unstable_restarts = 0;
                v.history.created_at = 0;
                v.action = RESTART_GIVE_UP;
                v.reason = "too many unstable restarts";
                return v;
        }

        if (!policy->autorestart) {
                v.action = RESTART_NOT;
                v.reason = "autorestart is off";
                return v;
        }

        if (exit_code_stops(policy, exit)) {
                v.action = RESTART_NOT;
                v.reason = "its exit code is one of stop_exit_codes";
                return v;
        }

        if (policy->exp_backoff_delay > 0) {
                v.action = RESTART_LATER;
                v.delay = v.history.prev_delay = backoff_delay(policy, history, exit);
                v.reason = "it exited, and is restarted after exp_backoff_restart_delay";
                return v;
        }

        if (policy->restart_delay > 0) {
                v.action = RESTART_LATER;
                v.delay = policy->restart_delay;
                v.reason = "it exited, and is restarted after restart_delay";
                return v;
        }

        v.action = RESTART_NOW;
        v.reason = "it exited";
        return v;
}
