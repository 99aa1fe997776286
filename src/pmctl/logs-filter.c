/* SPDX-License-Identifier: MIT */
#include <ctype.h>

#include "pmctl/logs.h"
#include "shared/log-json.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

/* ---- points in time, as journalctl takes them ---- */

/* "2h", "1d 12h", "90min" */
static bool parse_span(const char *s, usec_t *ret) {
        static const struct {
                const char *name;
                usec_t usec;
        } units[] = {
                { "", USEC_PER_SEC }, { "s", USEC_PER_SEC }, { "sec", USEC_PER_SEC }, { "second", USEC_PER_SEC }, { "seconds", USEC_PER_SEC },
                { "ms", USEC_PER_MSEC }, { "msec", USEC_PER_MSEC }, { "m", 60 * USEC_PER_SEC }, { "min", 60 * USEC_PER_SEC },
                { "minute", 60 * USEC_PER_SEC }, { "minutes", 60 * USEC_PER_SEC }, { "h", 3600 * USEC_PER_SEC }, { "hr", 3600 * USEC_PER_SEC },
                { "hour", 3600 * USEC_PER_SEC }, { "hours", 3600 * USEC_PER_SEC }, { "d", 86400 * USEC_PER_SEC }, { "day", 86400 * USEC_PER_SEC },
                { "days", 86400 * USEC_PER_SEC }, { "w", 604800 * USEC_PER_SEC }, { "week", 604800 * USEC_PER_SEC },
                { "weeks", 604800 * USEC_PER_SEC },
        };
        usec_t total = 0;

        do {
                _cleanup_free_ char *digits = NULL, *name = NULL;
                size_t n = strspn(s, "0123456789"), k, i;
                uint64_t value;

                digits = strndup(s, n);
                if (!digits || safe_atou64(digits, &value) < 0)
                        return false;
                s += n + strspn(s + n, " ");
                for (k = 0; isalpha((unsigned char) s[k]); k++)
                        ;
                name = strndup(s, k);
                for (i = 0; i < ELEMENTSOF(units) && name && !streq(units[i].name, name); i++)
                        ;
                if (!name || i == ELEMENTSOF(units) || value > USEC_INFINITY / units[i].usec / 2)
                        return false;
                total = usec_add(total, value * units[i].usec);
                s += k + strspn(s + k, " ");
        } while (*s);

        *ret = total;
        return true;
}

static bool parse_relative(const char *s, usec_t *ret) {
        _cleanup_free_ char *span = NULL;
        char *ago;
        bool plus = *s == '+';
        usec_t t;

        span = strdup(s + (plus || *s == '-'));
        ago = span ? endswith(span, " ago") : NULL;
        if (ago)
                *ago = 0;
        else if (!plus && *s != '-')
                return false;
        if (!span || !parse_span(span, &t))
                return false;

        *ret = plus ? usec_add(now(CLOCK_REALTIME), t) : usec_sub(now(CLOCK_REALTIME), t);
        return true;
}

static bool parse_calendar(const char *s, usec_t *ret) {
        static const char *const formats[] = {
                "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M",
        };
        time_t t = time(NULL);

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tm, today;
                const char *end;

                if (!localtime_r(&t, &today))
                        return false;
                tm = today;
                tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
                tm.tm_isdst = -1;
                end = strptime(s, formats[i], &tm);
                if (!end || *end)
                        continue;

                t = mktime(&tm);
                *ret = (usec_t) t * USEC_PER_SEC;
                return t >= 0;
        }
        return false;
}

static bool parse_day(const char *s, usec_t *ret) {
        static const struct {
                const char *name;
                int offset;
        } days[] = { { "yesterday", -1 }, { "today", 0 }, { "tomorrow", 1 } };
        time_t t = time(NULL);
        struct tm tm;

        for (size_t i = 0; i < ELEMENTSOF(days); i++) {
                if (!streq(s, days[i].name) || !localtime_r(&t, &tm))
                        continue;
                tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
                tm.tm_mday += days[i].offset;
                tm.tm_isdst = -1;
                *ret = (usec_t) mktime(&tm) * USEC_PER_SEC;
                return true;
        }
        return false;
}

bool log_parse_time(const char *s, usec_t *ret) {
        uint64_t seconds;

        if (streq(s, "now")) {
                *ret = now(CLOCK_REALTIME);
                return true;
        }
        if (*s == '@' && safe_atou64(s + 1, &seconds) >= 0 && seconds < USEC_INFINITY / USEC_PER_SEC) {
                *ret = seconds * USEC_PER_SEC;
                return true;
        }
        return parse_day(s, ret) || parse_calendar(s, ret) || parse_relative(s, ret);
}

/* ---- what is wanted ---- */

static bool has_capital(const char *s) {
        for (; *s; s++)
                if (isupper((unsigned char) *s))
                        return true;
        return false;
}

static int usage_error(const Options *o, const char *option, const char *value) {
        _cleanup_free_ char *escaped = string_escape_cc(value);

        message_error(o, "%s: '%s' cannot be understood", option, strempty(escaped));
        return EXIT_CODE_USAGE;
}

static usec_t boot_time(void) {
        return usec_sub(now(CLOCK_REALTIME), now(CLOCK_BOOTTIME));
}

int log_filter_init(LogFilter *f, const Options *o) {
        *f = (LogFilter) { .until = USEC_INFINITY, .priority = 7 };

        if (o->boot)
                f->since = boot_time();
        if (o->since && !log_parse_time(o->since, &f->since))
                return usage_error(o, "--since", o->since);
        if (o->until && !log_parse_time(o->until, &f->until))
                return usage_error(o, "--until", o->until);
        if (o->priority) {
                f->priority = log_json_level(o->priority);
                if (f->priority < 0 || (isdigit((unsigned char) *o->priority) && o->priority[1]))
                        return usage_error(o, "--priority", o->priority);
        }
        if (o->grep) {
                if (regcomp(&f->regex, o->grep, REG_EXTENDED | REG_NOSUB | (has_capital(o->grep) ? 0 : REG_ICASE)) != 0)
                        return usage_error(o, "--grep", o->grep);
                f->has_regex = true;
        }
        return EXIT_CODE_OK;
}

void log_filter_done(LogFilter *f) {
        if (f->has_regex)
                regfree(&f->regex);
        f->has_regex = false;
}

bool log_filter_is_active(const LogFilter *f) {
        return f->since > 0 || f->until != USEC_INFINITY || f->priority < 7 || f->has_regex;
}

static bool matches_regex(const LogFilter *f, const LogEntry *e) {
        regmatch_t m = { .rm_so = 0, .rm_eo = (regoff_t) e->size };

        return !f->has_regex || regexec(&f->regex, e->message, 1, &m, REG_STARTEND) == 0;
}

/* A file does not say how important its lines are, nor always when they were written; what is not known is not wanted then. */
bool log_filter_matches(const LogFilter *f, const LogEntry *e) {
        int priority = e->priority >= 0 ? e->priority : e->err ? 3 : 6;

        if (e->realtime == 0 ? f->since > 0 || f->until != USEC_INFINITY : e->realtime < f->since || e->realtime > f->until)
                return false;
        return priority <= f->priority && matches_regex(f, e);
}

/* "2026-08-07T06:05:04: text" and what JSON lines have: times that pmd puts into files. */
usec_t log_entry_find_time(const char *line, size_t n) {
        static const char json_key[] = "\"timestamp\":\"";
        char text[20] = "";
        const char *p = line;
        struct tm tm = { .tm_isdst = -1 };
        bool utc = false;
        time_t t;
        char *end;

        if (n > 0 && *line == '{') {
                p = memmem(line, n, json_key, sizeof json_key - 1);
                if (!p)
                        return 0;
                p += sizeof json_key - 1;
        }
        if ((size_t) (line + n - p) < 19)
                return 0;
        memcpy(text, p, 19);
        if (text[10] == ' ')
                text[10] = 'T';
        end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!end || *end)
                return 0;

        utc = (size_t) (line + n - p) >= 24 && p[19] == '.' && p[23] == 'Z';
        t = utc ? timegm(&tm) : mktime(&tm);
        return t < 0 ? 0 : (usec_t) t * USEC_PER_SEC;
}
