/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "shared/date-format.h"

typedef struct Output {
        char *buf;
        size_t n; /* without the NUL; below DATE_MAX */
} Output;

static void put_bytes(Output *o, const char *s, size_t n) {
        n = MIN(n, DATE_MAX - 1 - o->n);
        memcpy(o->buf + o->n, s, n);
        o->n += n;
}

static void put(Output *o, const char *format, ...) _printf_(2, 3);
static void put(Output *o, const char *format, ...) {
        char text[32];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (n > 0)
                put_bytes(o, text, MIN((size_t) n, sizeof text - 1));
}

static void put_name(Output *o, const char *name, size_t length) {
        put_bytes(o, name, MIN(length, strlen(name)));
}

static const char *ordinal(int n) {
        if (n % 100 / 10 == 1)
                return "th";
        return n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
}

static void put_month(Output *o, const struct tm *tm, size_t run) {
        static const char *const names[] = {
                "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
                "December",
        };

        if (run <= 2)
                put(o, "%0*d", (int) run, tm->tm_mon + 1);
        else
                put_name(o, names[tm->tm_mon], run == 3 ? 3 : SIZE_MAX);
}

static void put_weekday(Output *o, const struct tm *tm, size_t run) {
        static const char *const names[] = {
                "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
        };

        if (run == 1)
                put(o, "%d", tm->tm_wday);
        else
                put_name(o, names[tm->tm_wday], run == 4 ? SIZE_MAX : run);
}

static void put_zone(Output *o, const struct tm *tm, size_t run) {
        long minutes = tm->tm_gmtoff / 60;

        put(o, "%c%02ld%s%02ld", minutes < 0 ? '-' : '+', labs(minutes) / 60, run == 1 ? ":" : "", labs(minutes) % 60);
}

/* How many of the same letter make the longest token; 0: the letter is none. */
static size_t longest_token(char letter) {
        switch (letter) {
        case 'Y': case 'M': case 'D': case 'd':
                return 4;
        case 'S':
                return 3;
        case 'H': case 'h': case 'k': case 'm': case 's': case 'Z':
                return 2;
        case 'Q': case 'A': case 'a': case 'X': case 'x':
                return 1;
        default:
                return 0;
        }
}

static void put_token(Output *o, char letter, size_t run, const struct tm *tm, usec_t realtime) {
        static const int powers[] = { 1, 100, 10, 1 };
        int msec = (int) (realtime / USEC_PER_MSEC % 1000);

        switch (letter) {
        case 'Y':
                put(o, "%0*d", (int) run, run <= 2 ? (tm->tm_year + 1900) % 100 : tm->tm_year + 1900);
                break;
        case 'Q':
                put(o, "%d", tm->tm_mon / 3 + 1);
                break;
        case 'M':
                put_month(o, tm, run);
                break;
        case 'D':
                put(o, "%0*d", run == 3 ? 1 : run == 4 ? 3 : (int) run, run <= 2 ? tm->tm_mday : tm->tm_yday + 1);
                break;
        case 'd':
                put_weekday(o, tm, run);
                break;
        case 'H':
                put(o, "%0*d", (int) run, tm->tm_hour);
                break;
        case 'h':
                put(o, "%0*d", (int) run, (tm->tm_hour + 11) % 12 + 1);
                break;
        case 'k':
                put(o, "%0*d", (int) run, tm->tm_hour ?: 24);
                break;
        case 'm':
                put(o, "%0*d", (int) run, tm->tm_min);
                break;
        case 's':
                put(o, "%0*d", (int) run, tm->tm_sec);
                break;
        case 'S':
                put(o, "%0*d", (int) run, msec / powers[run]);
                break;
        case 'A': case 'a':
                put(o, "%s", letter == 'A' ? (tm->tm_hour < 12 ? "AM" : "PM") : (tm->tm_hour < 12 ? "am" : "pm"));
                break;
        case 'Z':
                put_zone(o, tm, run);
                break;
        case 'X':
                put(o, "%" PRIu64, realtime / USEC_PER_SEC);
                break;
        case 'x':
                put(o, "%" PRIu64, realtime / USEC_PER_MSEC);
                break;
        }
}

/* How much of the format it took. */
static size_t put_next(Output *o, const char *format, const struct tm *tm, usec_t realtime) {
        size_t run = 0, longest = longest_token(*format);

        if (*format == '[') {
                const char *end = strchr(format, ']');

                if (end) {
                        put_bytes(o, format + 1, (size_t) (end - format) - 1);
                        return (size_t) (end - format) + 1;
                }
        }
        if (longest == 0) {
                put_bytes(o, format, 1);
                return 1;
        }
        if (format[0] == 'D' && format[1] == 'o') {
                put(o, "%d%s", tm->tm_mday, ordinal(tm->tm_mday));
                return 2;
        }

        while (run < longest && format[run] == *format)
                run++;
        put_token(o, *format, run, tm, realtime);
        return run;
}

static size_t output_end(Output *o) {
        o->buf[o->n] = 0;
        return o->n;
}

size_t date_format(const char *format, usec_t realtime, char buf[static DATE_MAX]) {
        time_t seconds = (time_t) (realtime / USEC_PER_SEC);
        Output o = { .buf = buf };
        struct tm tm = {};

        /* Fails for years that do not fit into an int only. */
        if (localtime_r(&seconds, &tm))
                for (; *format && o.n < DATE_MAX - 1;)
                        format += put_next(&o, format, &tm, realtime);
        return output_end(&o);
}

size_t date_format_iso(usec_t realtime, char buf[static DATE_MAX]) {
        time_t seconds = (time_t) (realtime / USEC_PER_SEC);
        Output o = { .buf = buf };
        struct tm tm = {};

        if (gmtime_r(&seconds, &tm))
                put(&o, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                    tm.tm_sec, (unsigned) (realtime / USEC_PER_MSEC % 1000));
        return output_end(&o);
}
