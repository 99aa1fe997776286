/* SPDX-License-Identifier: MIT */
#include "shared/date-format.h"
#include "test.h"

#define WHEN (UINT64_C(1786082704321000)) /* 2026-08-07T06:05:04.321Z */

static void set_zone(const char *zone) {
        setenv("TZ", zone, true);
        tzset();
}

TEST(tokens) {
        static const struct {
                const char *format, *expected;
        } rows[] = {
                { "YYYY-MM-DDTHH:mm:ss", "2026-08-07T06:05:04" },
                { "YYYY-MM-DD HH:mm Z", "2026-08-07 06:05 +00:00" },
                { "YYYY-MM-DD_HH-mm-ss", "2026-08-07_06-05-04" },
                { "DD-MM-YYYY HH:mm:ss.SSS", "07-08-2026 06:05:04.321" },
                { "SS S", "32 3" },
                { "YY M D H h m s", "26 8 7 6 6 5 4" },
                { "MMM MMMM ddd dddd dd d", "Aug August Fri Friday Fr 5" },
                { "Do Q DDD DDDD", "7th 3 219 219" },
                { "hh:mm A a kk", "06:05 AM am 06" },
                { "X x", "1786082704 1786082704321" },
                { "ZZ", "+0000" },
                { "[at] [YYYY] !?", "at YYYY !?" },
                { "[no", "[no" }, /* no bracket ends it */
                { "YYYYY", "202626" },
                { "", "" },
                { "\xc3\xa9", "\xc3\xa9" },
        };
        char buf[DATE_MAX];

        set_zone("UTC");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                size_t n = date_format(rows[i].format, WHEN, buf);

                ASSERT_STREQ(buf, rows[i].expected);
                ASSERT_EQ(n, strlen(buf));
        }
}

TEST(zones) {
        char buf[DATE_MAX];

        set_zone("XXX-5:30");
        (void) date_format("HH:mm Z ZZ", WHEN, buf);
        ASSERT_STREQ(buf, "11:35 +05:30 +0530");
        set_zone("XXX3:30");
        (void) date_format("HH:mm Z", WHEN, buf);
        ASSERT_STREQ(buf, "02:35 -03:30");
        set_zone("UTC");
}

TEST(midnight_and_noon) {
        char buf[DATE_MAX];

        set_zone("UTC");
        (void) date_format("h hh k kk A", 0, buf);
        ASSERT_STREQ(buf, "12 12 24 24 AM");
        (void) date_format("h k a Do", UINT64_C(12) * 3600 * USEC_PER_SEC, buf);
        ASSERT_STREQ(buf, "12 12 pm 1st");
}

TEST(ordinals) {
        static const char *const expected[] = { "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st" };
        static const int days[] = { 1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31 };
        char buf[DATE_MAX];

        set_zone("UTC");
        for (size_t i = 0; i < ELEMENTSOF(days); i++) {
                (void) date_format("Do", (usec_t) (days[i] - 1) * 24 * 3600 * USEC_PER_SEC, buf);
                ASSERT_STREQ(buf, expected[i]);
        }
}

TEST(long_formats_are_cut) {
        char format[1000], buf[DATE_MAX];

        memset(format, 'M', sizeof format - 1);
        format[sizeof format - 1] = 0;
        ASSERT_EQ(date_format(format, WHEN, buf), DATE_MAX - 1);
        ASSERT_EQ(strlen(buf), DATE_MAX - 1);
}

TEST(iso) {
        char buf[DATE_MAX];

        set_zone("XXX-5:30");
        ASSERT_EQ(date_format_iso(WHEN, buf), strlen("2026-08-07T06:05:04.321Z"));
        ASSERT_STREQ(buf, "2026-08-07T06:05:04.321Z");
        set_zone("UTC");
}
