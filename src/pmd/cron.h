/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/time-util.h"

/* Tells when cron expressions are due. A clock has one timer, for the job that comes first, which is computed anew when somebody sets
 * the system's clock or its time zone. A job whose time has passed while nobody could look (the machine slept, the loop was held up) is due
 * once, however often it would have been. Over what a change of the clock leaps over, it is not due, unless the leap is a small one. */
typedef struct CronClock CronClock;
typedef struct CronJob CronJob;

/* CLOCK_REALTIME in microseconds; tests have another one. */
typedef usec_t (*cron_now_t)(void);

int cron_clock_new(sd_event *event, cron_now_t get_now, CronClock **ret); /* NULL: the system's clock */
CronClock *cron_clock_free(CronClock *c); /* its jobs are gone */
DEFINE_CLEANUP_FUNC(CronClock *, cron_clock_free);

/* Jobs may be made and freed from within. */
typedef void (*cron_due_t)(void *userdata);

/* 0; -EINVAL with *reterr for the user; or another negative errno. */
int cron_job_new(CronClock *c, const char *expression, cron_due_t due, void *userdata, CronJob **ret, char **reterr);
CronJob *cron_job_free(CronJob *j);
DEFINE_CLEANUP_FUNC(CronJob *, cron_job_free);

const char *cron_job_expression(const CronJob *j);

/* When it is due next, CLOCK_REALTIME; USEC_INFINITY: never. */
usec_t cron_job_next(const CronJob *j);

/* What the timer does: calls back for all that is due now. */
void cron_clock_run(CronClock *c);

/* What a change of the clock or of the time zone does: computes all anew. */
void cron_clock_changed(CronClock *c);
