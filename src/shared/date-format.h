/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/time-util.h"

/* Dates in the format language of moment and day.js: YYYY YY Q MMMM MMM MM M Do DD D DDDD DDD dddd ddd dd d HH H hh h kk k mm m ss s
 * SSS SS S A a ZZ Z X x. Text in [brackets] stands for itself, and so does what is none of these. Names are English. */

/* Room for every sensible date; what does not fit is cut. */
#define DATE_MAX ((size_t) 128)

#define TIME_DATE_FORMAT "YYYY-MM-DDTHH:mm:ss" /* what pm2 means by "time" */

/* The time in the local time zone; the length without the NUL. */
size_t date_format(const char *format, usec_t realtime, char buf[static DATE_MAX]);

/* As JavaScript's toISOString(): "2026-08-07T06:05:04.321Z". The length. */
size_t date_format_iso(usec_t realtime, char buf[static DATE_MAX]);
