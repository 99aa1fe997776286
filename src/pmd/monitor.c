/* SPDX-License-Identifier: MIT */
#include "pmd/monitor.h"
#include "pmd/process.h"
#include "pmd/runner.h"

#define CPU_WINDOW_MIN (1 * USEC_PER_SEC)

/* Figures this fresh are told again: many who look at once cost no more than one. */
#define FIGURES_AGE_MAX (100 * USEC_PER_MSEC)

static double percent(uint64_t nsec, usec_t window) {
        return window > 0 ? (double) nsec / 10.0 / (double) window : 0;
}

/* Two marks are kept: the window is measured from the older one, which gives way to the newer when that is a second old. So
 * several watchers at once do not shorten each other's windows to nothing. */
static double cpu_percent(Process *p, uint64_t cpu_nsec) {
        usec_t t = now(CLOCK_MONOTONIC);

        if (p->cpu_window_start < p->started_monotonic) {
                p->cpu_window_start = p->cpu_sampled_at = p->started_monotonic;
                p->cpu_window_nsec = p->cpu_sample_nsec = 0;
        }

        if (t - p->cpu_sampled_at >= CPU_WINDOW_MIN) {
                p->cpu_window_start = p->cpu_sampled_at;
                p->cpu_window_nsec = p->cpu_sample_nsec;
                p->cpu_sampled_at = t;
                p->cpu_sample_nsec = cpu_nsec;
        }

        return percent(cpu_nsec - MIN(p->cpu_window_nsec, cpu_nsec), t - p->cpu_window_start);
}

void monitor_read(Process *p, ResourceUsage *ret, double *ret_cpu_percent) {
        usec_t t = now(CLOCK_MONOTONIC);

        *ret = RESOURCE_USAGE_UNSET;
        *ret_cpu_percent = 0;

        if (!process_is_running(p) || !p->unit)
                return;

        if (p->figures_read_at < p->started_monotonic || t - p->figures_read_at > FIGURES_AGE_MAX) {
                if (runner_unit_read_usage(p->unit, &p->figures) < 0)
                        return;
                p->figures_read_at = t;
                p->cpu_percent = p->figures.cpu_usage_nsec != UINT64_MAX ? cpu_percent(p, p->figures.cpu_usage_nsec) : 0;
        }

        *ret = p->figures;
        *ret_cpu_percent = p->cpu_percent;
}
