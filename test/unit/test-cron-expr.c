/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "shared/cron-expr.h"
#include "test.h"

#define UTC "UTC0"
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"    /* 2024-03-31 02:00 -> 03:00, 2024-10-27 03:00 -> 02:00 */
#define NEW_YORK "EST5EDT,M3.2.0,M11.1.0"      /* 2024-03-10 02:00 -> 03:00, 2024-11-03 02:00 -> 01:00 */
#define LORD_HOWE "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0" /* half an hour, south: 2024-10-06 02:00 -> 02:30, 2024-04-07 02:00 -> 01:30 */
#define HAVANA "CST5CDT,M3.2.0/0,M11.1.0/1"    /* at midnight: 2024-03-10 00:00 -> 01:00 */
#define KATHMANDU "<+0545>-5:45"

static char *canonical(const char *s) {
        _cleanup_cron_free_ CronExpr *c = NULL;
        char *text = NULL;

        if (cron_parse(s, &c, &text) >= 0)
                return cron_to_string(c);
        return text;
}

TEST(parse_and_print) {
        static const struct {
                const char *text, *canonical;
        } cases[] = {
                { "* * * * *", "* * * * *" },
                { "  *\t* *  * * \n", "* * * * *" },
                { "? ? ? ? ?", "* * * * *" },
                { "0 * * * * *", "* * * * *" },
                { "* * * * * *", "* * * * * *" },
                { "5 4 3 2 1 0", "5 4 3 2 1 0" },
                { "59 23 31 12 7", "59 23 31 12 0" },
                { "*/15 * * * *", "0,15,30,45 * * * *" },
                { "*/1 */1 */1 */1 */1", "* * * * *" },
                { "5/20 * * * *", "5,25,45 * * * *" },
                { "1-10/3,30,31 * * * *", "1,4,7,10,30-31 * * * *" },
                { "0-59 0-23 1-31 1-12 0-6", "* * 1-31 * 0-6" },
                { "0 0 1 jan,FEB-Apr mon-FRI", "0 0 1 1-4 1-5" },
                { "0 0 * * fri-sun", "0 0 * * 0,5-6" },
                { "0 0 * * sun-tue", "0 0 * * 0-2" },
                { "0 0 * * 0-7", "0 0 * * 0-6" },
                { "0 0 * * 5-7", "0 0 * * 0,5-6" },
                { "0 0 * * SUN-SUN", "0 0 * * 0" },
                { "0 0 * * */2", "0 0 * * 0,2,4,6" },
                { "0 0 * * 1/2", "0 0 * * 1,3,5" },
                { "0 0 L * *", "0 0 L * *" },
                { "0 0 1,LW,15W,l * *", "0 0 1,15W,L,LW * *" },
                { "0 0 * * FRIL", "0 0 * * 5#L" },
                { "0 0 * * 5l,MON#2,7#1,3#L", "0 0 * * 0#1,1#2,3#L,5#L" },
                { "* * *,L * 1,*", "* * * * *" },
                { "00 007 * * *", "0 7 * * *" },
                { "@yearly", "0 0 1 1 *" },
                { "@annually", "0 0 1 1 *" },
                { "@monthly", "0 0 1 * *" },
                { "@weekly", "0 0 * * 0" },
                { " @Daily ", "0 0 * * *" },
                { "@midnight", "0 0 * * *" },
                { "@hourly", "0 * * * *" },

                { "61 * * * *", "minute: 61 is not between 0 and 59" },
                { "60 * * * * *", "second: 60 is not between 0 and 59" },
                { "* 24 * * *", "hour: 24 is not between 0 and 23" },
                { "* * 0 * *", "day: 0 is not between 1 and 31" },
                { "* * 32 * *", "day: 32 is not between 1 and 31" },
                { "* * 32W * *", "day: 32 is not between 1 and 31" },
                { "* * * 13 *", "month: 13 is not between 1 and 12" },
                { "* * * 0 *", "month: 0 is not between 1 and 12" },
                { "* * * * 8", "weekday: 8 is not between 0 and 7" },
                { "99999999999999999999 * * * *", "minute: 99999999999999999999 is not between 0 and 59" },
                { "1-61 * * * *", "minute: 61 is not between 0 and 59" },
                { "*/0 * * * *", "minute: the step 0 is not between 1 and 60" },
                { "*/61 * * * *", "minute: the step 61 is not between 1 and 60" },
                { "* * * * 5#0", "weekday: #0 is not between 1 and 5" },
                { "* * * * 5#6", "weekday: #6 is not between 1 and 5" },
                { "* * * * 5#", "weekday: something is missing at its end" },
                { "30-10 * * * *", "minute: 30-10 goes backwards" },
                { "* * * FOO *", "month: 'FOO' is not understood" },
                { "* * * JANUARY *", "month: 'UARY' is not understood" },
                { "* * * * L", "weekday: 'L' is not understood" },
                { "* L * * *", "hour: 'L' is not understood" },
                { "* 5W * * *", "hour: 'W' is not understood" },
                { "* * 1-5W * *", "day: 'W' is not understood" },
                { "-5 * * * *", "minute: '-5' is not understood" },
                { "1,,2 * * * *", "minute: ',2' is not understood" },
                { "1, * * * *", "minute: something is missing at its end" },
                { "1- * * * *", "minute: something is missing at its end" },
                { "*/ * * * *", "minute: something is missing at its end" },
                { "** * * * *", "minute: '*' is not understood" },
                { "\033 * * * *", "minute: '\\x1b' is not understood" },
                { "@reboot", "'@reboot' is not known" },
                { "@", "'@' is not known" },
                { "", "there are 0 fields, not 5 (minute, hour, day, month, weekday) or 6 (with the second first)" },
                { "* * * *", "there are 4 fields, not 5 (minute, hour, day, month, weekday) or 6 (with the second first)" },
                { "* * * * * * *", "there are 7 fields, not 5 (minute, hour, day, month, weekday) or 6 (with the second first)" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *got = canonical(cases[i].text);

                if (!streq_ptr(got, cases[i].canonical))
                        TEST_FAIL("%s gives %s, not %s", cases[i].text, strna(got), cases[i].canonical);
        }
}

static usec_t parse_utc(const char *s) {
        struct tm tm = {};

        if (sscanf(s, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
                abort();
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        return (usec_t) timegm(&tm) * USEC_PER_SEC;
}

/* Instants in UTC, a blank behind each. */
static char *next_instants(const char *expr, const char *tz, const char *after, unsigned n) {
        _cleanup_cron_free_ CronExpr *c = NULL;
        _cleanup_free_ char *fault = NULL;
        usec_t t = parse_utc(after);
        char *text = strdup("");

        if (cron_parse(expr, &c, &fault) < 0)
                abort();
        for (unsigned i = 0; i < n; i++) {
                char one[64], *all;
                struct tm tm;
                time_t s;
                int r;

                r = cron_next(c, t, tz, &t);
                if (r < 0)
                        (void) snprintf(one, sizeof one, "%s ", strerrorname_np(-r));
                else {
                        s = (time_t) (t / USEC_PER_SEC);
                        (void) strftime(one, sizeof one, "%F %T ", gmtime_r(&s, &tm));
                }
                all = strjoin(text, one);
                free(text);
                text = all;
                if (r < 0)
                        break;
        }
        return text;
}

typedef struct Case {
        const char *expr, *tz, *after;
        unsigned n;
        const char *due;
} Case;

static void run_cases(const Case *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const Case *c = cases + i;
                _cleanup_free_ char *got = next_instants(c->expr, c->tz, c->after, c->n);

                if (!streq(got, c->due))
                        TEST_FAIL("%s in %s after %s\n# gives %s\n# not   %s", c->expr, c->tz, c->after, got, c->due);
        }
}

TEST(calendar) {
        static const Case cases[] = {
                { "* * * * *", UTC, "2024-01-01 00:00:00", 2, "2024-01-01 00:01:00 2024-01-01 00:02:00 " },
                { "* * * * *", UTC, "2024-01-01 00:00:59", 1, "2024-01-01 00:01:00 " },
                { "*/20 * * * * *", UTC, "2024-12-31 23:59:30", 3, "2024-12-31 23:59:40 2025-01-01 00:00:00 2025-01-01 00:00:20 " },
                { "30 4 * * *", UTC, "2024-02-28 04:30:00", 2, "2024-02-29 04:30:00 2024-03-01 04:30:00 " },
                { "15 10,12 * * *", UTC, "2024-01-01 10:16:00", 2, "2024-01-01 12:15:00 2024-01-02 10:15:00 " },
                { "10 5 6 * * *", UTC, "2024-01-01 06:05:10", 1, "2024-01-02 06:05:10 " },
                { "10,50 5 6 * * *", UTC, "2024-01-01 06:05:10", 2, "2024-01-01 06:05:50 2024-01-02 06:05:10 " },
                { "10 5,7 6 * * *", UTC, "2024-01-01 06:05:30", 1, "2024-01-01 06:07:10 " },
                { "0 0 29 2 *", UTC, "2096-03-01 00:00:00", 1, "2104-02-29 00:00:00 " },
                { "* * 29 2 *", UTC, "2024-02-29 23:59:00", 1, "2028-02-29 00:00:00 " },
                { "0 0 30 2 *", UTC, "2024-01-01 00:00:00", 1, "ENOENT " },
                { "* * 31 4,6,9,11 *", UTC, "2024-01-01 00:00:00", 1, "ENOENT " },
                { "0 0 31 * *", UTC, "2024-01-31 00:00:00", 2, "2024-03-31 00:00:00 2024-05-31 00:00:00 " },
                { "0 0 * 2 1#5", UTC, "2024-01-01 00:00:00", 1, "2044-02-29 00:00:00 " },
                { "0 0 * * MON", UTC, "2024-01-01 00:00:00", 1, "2024-01-08 00:00:00 " },
                /* Day or weekday, but a "*" is no restriction */
                { "0 0 13 * FRI", UTC, "2024-01-01 00:00:00", 4, "2024-01-05 00:00:00 2024-01-12 00:00:00 2024-01-13 00:00:00 2024-01-19 00:00:00 " },
                { "0 0 13 * *", UTC, "2024-01-01 00:00:00", 2, "2024-01-13 00:00:00 2024-02-13 00:00:00 " },
                { "0 0 ? * FRI", UTC, "2024-01-01 00:00:00", 2, "2024-01-05 00:00:00 2024-01-12 00:00:00 " },
                { "0 0 L * *", UTC, "2024-01-31 00:00:00", 2, "2024-02-29 00:00:00 2024-03-31 00:00:00 " },
                /* 2024-03-31 is a Sunday, 2024-06-30 one, 2024-08-31 a Saturday */
                { "0 0 LW 3,8 *", UTC, "2024-01-01 00:00:00", 2, "2024-03-29 00:00:00 2024-08-30 00:00:00 " },
                { "0 0 15W 6,9 *", UTC, "2024-01-01 00:00:00", 2, "2024-06-14 00:00:00 2024-09-16 00:00:00 " },
                { "0 0 1W 6,9 *", UTC, "2024-01-01 00:00:00", 2, "2024-06-03 00:00:00 2024-09-02 00:00:00 " },
                { "0 0 30W 6 *", UTC, "2024-01-01 00:00:00", 1, "2024-06-28 00:00:00 " },
                { "0 0 31W 2,3,5 *", UTC, "2024-01-01 00:00:00", 2, "2024-03-29 00:00:00 2024-05-31 00:00:00 " },
                { "0 0 * * FRIL", UTC, "2024-01-01 00:00:00", 2, "2024-01-26 00:00:00 2024-02-23 00:00:00 " },
                { "0 0 * * TUE#2,TUE#4", UTC, "2024-01-01 00:00:00", 3, "2024-01-09 00:00:00 2024-01-23 00:00:00 2024-02-13 00:00:00 " },
                { "0 0 1 1 *", UTC, "1999-12-31 23:59:59", 1, "2000-01-01 00:00:00 " },
                { "0 0 1 1 *", UTC, "2037-12-31 00:00:00", 2, "2038-01-01 00:00:00 2039-01-01 00:00:00 " },
        };

        run_cases(cases, ELEMENTSOF(cases));
}

TEST(zones) {
        static const Case cases[] = {
                { "0 6 * * *", KATHMANDU, "2024-01-01 00:00:00", 2, "2024-01-01 00:15:00 2024-01-02 00:15:00 " },
                { "0 6 * 1,7 *", BERLIN, "2024-01-31 06:00:00", 2, "2024-07-01 04:00:00 2024-07-02 04:00:00 " },
                { "0 6 1 1,7 *", BERLIN, "2024-01-02 00:00:00", 3, "2024-07-01 04:00:00 2025-01-01 05:00:00 2025-07-01 04:00:00 " },
                { "0 20 31 12 *", NEW_YORK, "2024-01-01 00:59:59", 2, "2024-01-01 01:00:00 2025-01-01 01:00:00 " },
                { "0 0 1 * *", LORD_HOWE, "2024-01-01 00:00:00", 1, "2024-01-31 13:00:00 " },
        };

        run_cases(cases, ELEMENTSOF(cases));
}

TEST(spring) {
        static const Case cases[] = {
                /* 02:30 does not exist on the 31st: the first instant after the gap. */
                { "30 2 * * *", BERLIN, "2024-03-29 12:00:00", 3, "2024-03-30 01:30:00 2024-03-31 01:00:00 2024-04-01 00:30:00 " },
                { "0 2 * * *", BERLIN, "2024-03-30 12:00:00", 2, "2024-03-31 01:00:00 2024-04-01 00:00:00 " },
                { "0 3 * * *", BERLIN, "2024-03-30 12:00:00", 2, "2024-03-31 01:00:00 2024-04-01 01:00:00 " },
                { "59 1 * * *", BERLIN, "2024-03-30 12:00:00", 2, "2024-03-31 00:59:00 2024-03-31 23:59:00 " },
                /* All that falls into the gap is due once, together with what is due at its end. */
                { "*/10 2,3 31 3 *", BERLIN, "2024-03-30 12:00:00", 3, "2024-03-31 01:00:00 2024-03-31 01:10:00 2024-03-31 01:20:00 " },
                { "30 2 31 3 *", BERLIN, "2023-04-01 00:00:00", 2, "2024-03-31 01:00:00 2025-03-31 00:30:00 " },
                /* All hours: nothing is made up for. */
                { "30 * * * *", BERLIN, "2024-03-31 00:00:00", 3, "2024-03-31 00:30:00 2024-03-31 01:30:00 2024-03-31 02:30:00 " },
                { "0 */1 31 3 *", BERLIN, "2024-03-31 00:00:00", 2, "2024-03-31 01:00:00 2024-03-31 02:00:00 " },

                { "30 2 * * *", NEW_YORK, "2024-03-09 12:00:00", 2, "2024-03-10 07:00:00 2024-03-11 06:30:00 " },
                { "15 2 * * *", LORD_HOWE, "2024-10-04 20:00:00", 2, "2024-10-05 15:30:00 2024-10-06 15:15:00 " },
                { "45 2 * * *", LORD_HOWE, "2024-10-04 20:00:00", 1, "2024-10-05 15:45:00 " },
                { "0 0 * * *", HAVANA, "2024-03-09 12:00:00", 2, "2024-03-10 05:00:00 2024-03-11 04:00:00 " },
        };

        run_cases(cases, ELEMENTSOF(cases));
}

TEST(autumn) {
        static const Case cases[] = {
                /* 02:30 comes twice on the 27th, at 00:30 and at 01:30 UTC. */
                { "30 2 * * *", BERLIN, "2024-10-26 12:00:00", 2, "2024-10-27 00:30:00 2024-10-28 01:30:00 " },
                { "30 2 * * *", BERLIN, "2024-10-27 00:45:00", 1, "2024-10-28 01:30:00 " },
                { "30 2 * * *", BERLIN, "2024-10-27 01:15:00", 1, "2024-10-28 01:30:00 " },
                { "30 2 * * *", BERLIN, "2024-10-27 01:45:00", 1, "2024-10-28 01:30:00 " },
                { "0 2,3 * * *", BERLIN, "2024-10-26 12:00:00", 3, "2024-10-27 00:00:00 2024-10-27 02:00:00 2024-10-28 01:00:00 " },
                { "0 3 * * *", BERLIN, "2024-10-27 00:00:00", 1, "2024-10-27 02:00:00 " },
                { "*/30 2 27 10 *", BERLIN, "2024-10-01 00:00:00", 3, "2024-10-27 00:00:00 2024-10-27 00:30:00 2025-10-27 01:00:00 " },
                /* All hours: minutes go on. */
                { "*/30 * * * *", BERLIN, "2024-10-26 23:45:00", 6,
                  "2024-10-27 00:00:00 2024-10-27 00:30:00 2024-10-27 01:00:00 2024-10-27 01:30:00 2024-10-27 02:00:00 2024-10-27 02:30:00 " },
                { "15 * 27 10 *", BERLIN, "2024-10-27 00:15:00", 2, "2024-10-27 01:15:00 2024-10-27 02:15:00 " },
                { "15 0-22,23 27 10 *", BERLIN, "2024-10-27 00:15:00", 1, "2024-10-27 01:15:00 " },

                { "30 1 * * *", NEW_YORK, "2024-11-03 00:00:00", 2, "2024-11-03 05:30:00 2024-11-04 06:30:00 " },
                { "45 1 * * *", LORD_HOWE, "2024-04-06 00:00:00", 2, "2024-04-06 14:45:00 2024-04-07 15:15:00 " },
                { "45 * * * *", LORD_HOWE, "2024-04-06 14:30:00", 3, "2024-04-06 14:45:00 2024-04-06 15:15:00 2024-04-06 16:15:00 " },
                /* The clock goes from 01:00 back to midnight: the day begins once. */
                { "0 0 * * *", HAVANA, "2024-11-02 12:00:00", 2, "2024-11-03 04:00:00 2024-11-04 05:00:00 " },
        };

        run_cases(cases, ELEMENTSOF(cases));
}

/* Whatever the expression, the result is later than asked for, and asking for what comes just before it gives the same. */
TEST(consistency) {
        static const char *const exprs[] = { "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "*/13 1-3 * * *", "17 */45 2 * * 0", "5 5 L 2,10,11 *" };
        static const char *const zones[] = { UTC, BERLIN, NEW_YORK, LORD_HOWE, HAVANA, KATHMANDU };
        usec_t start = parse_utc("2024-01-01 00:00:00");

        for (size_t i = 0; i < ELEMENTSOF(exprs); i++)
                for (size_t z = 0; z < ELEMENTSOF(zones); z++) {
                        _cleanup_cron_free_ CronExpr *c = NULL;

                        ASSERT_OK(cron_parse(exprs[i], &c, NULL));
                        for (unsigned k = 0; k < 400; k++) {
                                usec_t after = start + k * 23 * 3607 * USEC_PER_SEC + k, next, again;

                                ASSERT_OK(cron_next(c, after, zones[z], &next));
                                ASSERT_TRUE(next > after);
                                ASSERT_OK(cron_next(c, next - 1, zones[z], &again));
                                ASSERT_EQ(again, next);
                                ASSERT_OK(cron_next(c, after + (next - after) / 2, zones[z], &again));
                                ASSERT_EQ(again, next);
                        }
                }
}

TEST(zone_of_the_process) {
        _cleanup_cron_free_ CronExpr *c = NULL;
        usec_t after = parse_utc("2024-01-01 00:00:00"), next;

        ASSERT_OK(cron_parse("0 6 * * *", &c, NULL));

        setenv("TZ", KATHMANDU, true);
        ASSERT_OK(cron_next(c, after, NULL, &next));
        ASSERT_EQ(next, parse_utc("2024-01-01 00:15:00"));
        ASSERT_OK(cron_next(c, after, UTC, &next));
        ASSERT_EQ(next, parse_utc("2024-01-01 06:00:00"));
        ASSERT_STREQ(getenv("TZ"), KATHMANDU);
        ASSERT_OK(cron_next(c, after, NULL, &next));
        ASSERT_EQ(next, parse_utc("2024-01-01 00:15:00"));

        setenv("TZ", BERLIN, true);
        ASSERT_OK(cron_next(c, after, NULL, &next));
        ASSERT_EQ(next, parse_utc("2024-01-01 05:00:00"));

        unsetenv("TZ");
        ASSERT_OK(cron_next(c, after, UTC, &next));
        ASSERT_TRUE(!getenv("TZ"));
}

TEST(ends_of_time) {
        _cleanup_cron_free_ CronExpr *c = NULL;
        usec_t next = 7;

        ASSERT_OK(cron_parse("0 0 29 2 *", &c, NULL));
        ASSERT_OK(cron_next(c, 0, BERLIN, &next));
        ASSERT_EQ(next, parse_utc("1972-02-28 23:00:00"));

        next = 7;
        ASSERT_EQ(cron_next(c, USEC_INFINITY, BERLIN, &next), -EOVERFLOW);
        ASSERT_EQ(next, 7);
}
