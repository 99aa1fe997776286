/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/time-util.h"

/* Cron expressions: "minute hour day month weekday", with seconds before them if there are six fields.
 *
 *   *  ?          every value
 *   5  JAN  MON   one; weekdays count from Sunday, 0 or 7
 *   1-5  1,3      from to, and several
 *   * /15  1-30/5 each 15th of all, each 5th of a range (without the space); "3/15" goes from 3 to the end
 *   L  LW         day: the last of the month, the last Monday to Friday of the month
 *   15W           day: the Monday to Friday nearest to the 15th, within the month
 *   5L  FRI#L     weekday: the last Friday of the month
 *   FRI#2         weekday: the second Friday of the month
 *
 * and @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly. If both day and weekday are restricted either
 * of them is enough, as everywhere in cron.
 *
 * Where the clock is changed for daylight saving time:
 * - With an hour field that leaves some hours out, a time that does not exist that day is due at the first instant after the gap, all of
 *   such times once; a time that comes twice is due the first time only. So a nightly run happens once in every night.
 * - With an hour field that takes all hours the expression is about minutes that pass: it is due whenever the clock shows such a time,
 *   also in the hour that comes twice, and nothing is made up for in a gap. So "every 5 minutes" means that. */

typedef struct CronExpr CronExpr;

/* 0, -EINVAL with *reterr for the user, escaped for a terminal ("minute: 61 is not between 0 and 59"), or -ENOMEM. */
int cron_parse(const char *s, CronExpr **ret, char **reterr);
CronExpr *cron_free(CronExpr *c);
DEFINE_CLEANUP_FUNC(CronExpr *, cron_free);
#define _cleanup_cron_free_ _cleanup_(cron_freep)

/* The first instant later than "after" (both CLOCK_REALTIME) at which the expression is due; -ENOENT if there is none within 40 years
 * (a 30th of February), -EOVERFLOW outside what the C library's calendar knows, -ENOMEM.
 *
 * tz is a value for the TZ variable ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"), NULL means the process's own zone, whose
 * changes are noticed. The C library has one zone per process, so with a tz the variable is set for the time of the call: no other
 * thread may then read the environment or the local time. The C library takes a zone that it does not know for UTC. */
int cron_next(const CronExpr *c, usec_t after, const char *tz, usec_t *ret);

/* The canonical form: numbers only, without steps, seconds only if they are not 0. NULL if memory ran out. */
char *cron_to_string(const CronExpr *c);
