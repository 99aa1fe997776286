/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <strings.h>

#include "shared/cron-expr.h"

#include "shared/string-util.h"
#include "shared/strv.h"

typedef enum FieldId {
        FIELD_SECOND,
        FIELD_MINUTE,
        FIELD_HOUR,
        FIELD_DAY,
        FIELD_MONTH,
        FIELD_WEEKDAY,
        _FIELD_MAX,
} FieldId;

typedef struct Field {
        const char *name;
        unsigned min, max;
        const char *words; /* three letters each, the first for min */
} Field;

static const Field fields[_FIELD_MAX] = {
        [FIELD_SECOND] = { "second", 0, 59, NULL },
        [FIELD_MINUTE] = { "minute", 0, 59, NULL },
        [FIELD_HOUR] = { "hour", 0, 23, NULL },
        [FIELD_DAY] = { "day", 1, 31, NULL },
        [FIELD_MONTH] = { "month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC" },
        [FIELD_WEEKDAY] = { "weekday", 0, 6, "SUNMONTUEWEDTHUFRISAT" },
};

#define SUNDAY_TOO 7U /* the other number of Sunday */
#define NTH_LAST 6U
#define HORIZON_YEARS 40

struct CronExpr {
        uint64_t set[_FIELD_MAX];      /* bit n: the value n */
        bool every_day, every_weekday; /* "*": not a restriction that the other field could replace */
        bool last_day, last_workday;   /* L, LW */
        uint64_t workday_near;         /* bit n: nW */
        uint64_t nth[7];               /* of each weekday: bit n: #n, bit NTH_LAST: the last */
};

static const struct {
        const char *name, *meaning;
} nicknames[] = {
        { "@yearly", "0 0 1 1 *" },
        { "@annually", "0 0 1 1 *" },
        { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" },
        { "@daily", "0 0 * * *" },
        { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
};

static uint64_t bit(unsigned n) {
        return UINT64_C(1) << n;
}

static bool has(uint64_t set, unsigned n) {
        return (set & bit(n)) != 0;
}

/* ---- text to expression ---- */

typedef struct Parser {
        CronExpr *expr;
        FieldId field;
        const char *p; /* what is left of the field */
        char **reterr;
} Parser;

/* Takes over the text, which may be NULL if memory ran out. Returns -EINVAL or -ENOMEM. */
static int take_fault(char **reterr, char *text) {
        _cleanup_free_ char *plain = text;
        char *escaped;

        if (!plain)
                return -ENOMEM;
        if (!reterr)
                return -EINVAL;
        escaped = string_escape_cc(plain);
        if (!escaped)
                return -ENOMEM;
        free(*reterr);
        *reterr = escaped;
        return -EINVAL;
}

#define fault(p, format, ...) take_fault((p)->reterr, strprintf("%s: " format, fields[(p)->field].name __VA_OPT__(, ) __VA_ARGS__))

static int fault_unexpected(const Parser *p, const char *at) {
        if (!*at)
                return fault(p, "something is missing at its end");
        return fault(p, "'%.32s' is not understood", at);
}

static bool at_end_of_item(const Parser *p) {
        return IN_SET(*p->p, ',', 0);
}

static bool skip(Parser *p, char c) {
        if (toupper((unsigned char) *p->p) != c)
                return false;
        p->p++;
        return true;
}

/* Digits only; what does not fit is larger than any limit. */
static int parse_number(Parser *p, unsigned min, unsigned max, const char *what, unsigned *ret) {
        const char *start = p->p;
        unsigned n = 0;

        if (!isdigit((unsigned char) *start))
                return fault_unexpected(p, start);
        for (; isdigit((unsigned char) *p->p); p->p++)
                n = MIN(n * 10 + (unsigned) (*p->p - '0'), 100000U);
        if (n < min || n > max)
                return fault(p, "%s%.*s is not between %u and %u", what, (int) MIN(p->p - start, (ptrdiff_t) 32), start, min, max);

        *ret = n;
        return 0;
}

/* A number or a name. */
static int parse_value(Parser *p, unsigned *ret) {
        const Field *f = fields + p->field;

        for (unsigned i = 0; f->words && f->words[i * 3]; i++)
                if (strncasecmp(p->p, f->words + i * 3, 3) == 0) {
                        p->p += 3;
                        *ret = f->min + i;
                        return 0;
                }
        return parse_number(p, f->min, p->field == FIELD_WEEKDAY ? SUNDAY_TOO : f->max, "", ret);
}

static void add_value(Parser *p, unsigned value) {
        p->expr->set[p->field] |= bit(p->field == FIELD_WEEKDAY ? value % 7 : value);
}

static int parse_step(Parser *p, unsigned from, unsigned to) {
        const Field *f = fields + p->field;
        unsigned step = 1;
        int r;

        if (skip(p, '/')) {
                r = parse_number(p, 1, f->max - f->min + 1, "the step ", &step);
                if (r < 0)
                        return r;
        }
        for (unsigned i = from; i <= to; i += step)
                add_value(p, i);
        return (int) step;
}

static int parse_every(Parser *p) {
        const Field *f = fields + p->field;
        int step;

        p->p++;
        step = parse_step(p, f->min, f->max);
        if (step == 1 && p->field == FIELD_DAY)
                p->expr->every_day = true;
        if (step == 1 && p->field == FIELD_WEEKDAY)
                p->expr->every_weekday = true;
        return step;
}

/* "5#2", "5#L", "5L", behind the weekday */
static int parse_nth(Parser *p, unsigned weekday) {
        unsigned n = NTH_LAST;
        int r;

        if (!skip(p, 'L')) {
                p->p++; /* the '#' */
                r = skip(p, 'L') ? 0 : parse_number(p, 1, 5, "#", &n);
                if (r < 0)
                        return r;
        }
        p->expr->nth[weekday % 7] |= bit(n);
        return 0;
}

/* "L", "LW" */
static int parse_last_day(Parser *p) {
        if (skip(p, 'W'))
                p->expr->last_workday = true;
        else
                p->expr->last_day = true;
        return 0;
}

static int parse_range(Parser *p, unsigned from) {
        unsigned to = from;
        int r;

        if (skip(p, '-')) {
                r = parse_value(p, &to);
                if (r < 0)
                        return r;
                if (p->field == FIELD_WEEKDAY && to == 0 && from > 0)
                        to = SUNDAY_TOO;
        } else if (*p->p == '/')
                to = MAX(from, fields[p->field].max);

        if (from > to)
                return fault(p, "%u-%u goes backwards", from, to);
        return parse_step(p, from, to);
}

static int parse_item(Parser *p) {
        unsigned value;
        int r;

        if (IN_SET(*p->p, '*', '?'))
                return parse_every(p);
        if (p->field == FIELD_DAY && skip(p, 'L'))
                return parse_last_day(p);

        r = parse_value(p, &value);
        if (r < 0)
                return r;
        if (p->field == FIELD_WEEKDAY && IN_SET(*p->p, '#', 'L', 'l'))
                return parse_nth(p, value);
        if (p->field == FIELD_DAY && skip(p, 'W')) {
                p->expr->workday_near |= bit(value);
                return 0;
        }
        return parse_range(p, value);
}

static int parse_field(CronExpr *c, FieldId field, const char *text, char **reterr) {
        Parser p = { c, field, text, reterr };
        int r;

        do {
                r = parse_item(&p);
                if (r < 0)
                        return r;
                if (!at_end_of_item(&p))
                        return fault_unexpected(&p, p.p);
        } while (skip(&p, ','));
        return 0;
}

static const char *resolve_nickname(const char *s) {
        for (size_t i = 0; i < ELEMENTSOF(nicknames); i++)
                if (strcasecmp(s, nicknames[i].name) == 0)
                        return nicknames[i].meaning;
        return NULL;
}

#define BLANKS " \t\r\n"

int cron_parse(const char *s, CronExpr **ret, char **reterr) {
        _cleanup_cron_free_ CronExpr *c = new0(CronExpr, 1);
        _cleanup_strv_free_ char **texts = strv_split(s, BLANKS);
        size_t n = strv_length(texts), first;
        int r;

        if (!c || !texts)
                return -ENOMEM;

        if (n == 1 && texts[0][0] == '@') {
                const char *meaning = resolve_nickname(texts[0]);

                if (!meaning)
                        return take_fault(reterr, strprintf("'%.32s' is not known", texts[0]));
                strv_free(texts);
                texts = strv_split(meaning, BLANKS);
                if (!texts)
                        return -ENOMEM;
                n = strv_length(texts);
        }
        if (!IN_SET(n, 5U, 6U))
                return take_fault(reterr, strprintf("there are %zu fields, not 5 (minute, hour, day, month, weekday) "
                                                    "or 6 (with the second first)", n));

        first = _FIELD_MAX - n;
        if (first > 0)
                c->set[FIELD_SECOND] = bit(0);
        for (size_t i = 0; i < n; i++) {
                r = parse_field(c, (FieldId) (first + i), texts[i], reterr);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(c);
        return 0;
}

CronExpr *cron_free(CronExpr *c) {
        return mfree(c);
}

/* ---- expression to text ---- */

static uint64_t full_set(FieldId field) {
        return (bit(fields[field].max + 1) - 1) & ~(bit(fields[field].min) - 1);
}

static bool is_every(const CronExpr *c, FieldId field) {
        if (field == FIELD_DAY)
                return c->every_day;
        if (field == FIELD_WEEKDAY)
                return c->every_weekday;
        return c->set[field] == full_set(field);
}

/* "1-3", "5" for the values of a set */
static int print_set(char ***items, uint64_t set) {
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < 63; i++) {
                unsigned from = i;

                if (!has(set, i))
                        continue;
                while (has(set, i + 1))
                        i++;
                r = strv_consume(items, from == i ? strprintf("%u", i) : strprintf("%u-%u", from, i));
        }
        return r;
}

static int print_day_words(const CronExpr *c, char ***items) {
        int r = 0;

        for (unsigned i = 1; r >= 0 && i <= 31; i++)
                if (has(c->workday_near, i))
                        r = strv_consume(items, strprintf("%uW", i));
        if (r >= 0 && c->last_day)
                r = strv_extend(items, "L");
        if (r >= 0 && c->last_workday)
                r = strv_extend(items, "LW");
        return r;
}

static int print_nths(const CronExpr *c, char ***items) {
        int r = 0;

        for (unsigned i = 0; i < ELEMENTSOF(c->nth); i++)
                for (unsigned n = 1; r >= 0 && n <= NTH_LAST; n++)
                        if (has(c->nth[i], n))
                                r = strv_consume(items, n == NTH_LAST ? strprintf("%u#L", i) : strprintf("%u#%u", i, n));
        return r;
}

static char *print_field(const CronExpr *c, FieldId field) {
        _cleanup_strv_free_ char **items = NULL;
        int r;

        if (is_every(c, field))
                return strdup("*");

        r = print_set(&items, c->set[field]);
        if (r >= 0 && field == FIELD_DAY)
                r = print_day_words(c, &items);
        if (r >= 0 && field == FIELD_WEEKDAY)
                r = print_nths(c, &items);
        return r < 0 ? NULL : strv_join(items, ",");
}

char *cron_to_string(const CronExpr *c) {
        _cleanup_strv_free_ char **texts = NULL;

        for (FieldId f = c->set[FIELD_SECOND] == bit(0) ? FIELD_MINUTE : FIELD_SECOND; f < _FIELD_MAX; f++)
                if (strv_consume(&texts, print_field(c, f)) < 0)
                        return NULL;
        return strv_join(texts, " ");
}

/* ---- the next time by the calendar alone ---- */

typedef struct Date {
        int year;
        unsigned month, day; /* from 1 */
        unsigned weekday;    /* 0: Sunday */
        unsigned n_days;     /* of the month */
} Date;

static bool is_leap_year(int y) {
        return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static unsigned days_of_month(int year, unsigned month) {
        static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

        return month == 2 && is_leap_year(year) ? 29 : days[month - 1];
}

static unsigned weekday_of(const Date *d, unsigned day) {
        return (d->weekday + 35 + day - d->day) % 7;
}

/* The Monday to Friday nearest to a day of the month. */
static unsigned workday_near(const Date *d, unsigned day) {
        switch (weekday_of(d, day)) {
        case 0:
                return day == d->n_days ? day - 2 : day + 1;
        case 6:
                return day == 1 ? day + 2 : day - 1;
        default:
                return day;
        }
}

static bool day_matches(const CronExpr *c, const Date *d) {
        if (has(c->set[FIELD_DAY], d->day))
                return true;
        if (c->last_day && d->day == d->n_days)
                return true;
        if (c->last_workday && d->day == workday_near(d, d->n_days))
                return true;
        for (unsigned i = 1; c->workday_near != 0 && i <= d->n_days; i++)
                if (has(c->workday_near, i) && d->day == workday_near(d, i))
                        return true;
        return false;
}

static bool weekday_matches(const CronExpr *c, const Date *d) {
        uint64_t nth = c->nth[d->weekday];

        return has(c->set[FIELD_WEEKDAY], d->weekday) || has(nth, (d->day - 1) / 7 + 1) ||
               (has(nth, NTH_LAST) && d->day + 7 > d->n_days);
}

static bool date_matches(const CronExpr *c, const Date *d) {
        if (!has(c->set[FIELD_MONTH], d->month))
                return false;
        if (c->every_day)
                return c->every_weekday || weekday_matches(c, d);
        return day_matches(c, d) || (!c->every_weekday && weekday_matches(c, d));
}

static void date_advance(Date *d) {
        d->weekday = (d->weekday + 1) % 7;
        if (d->day++ < d->n_days)
                return;
        d->day = 1;
        if (++d->month > 12) {
                d->month = 1;
                d->year++;
        }
        d->n_days = days_of_month(d->year, d->month);
}

/* The smallest value of the set that is at least from, or -1. */
static int next_value(uint64_t set, unsigned from) {
        uint64_t rest = set & ~(bit(from) - 1);

        return rest == 0 ? -1 : __builtin_ctzll(rest);
}

/* The first time of day of the expression that is not before the given one; false if there is none. */
static bool next_time_of_day(const CronExpr *c, const unsigned from[static 3], unsigned ret[static 3]) {
        const uint64_t *minutes = c->set + FIELD_MINUTE, *seconds = c->set + FIELD_SECOND;
        int hour = next_value(c->set[FIELD_HOUR], from[0]), minute = -1, second = -1;

        if (hour == (int) from[0]) {
                minute = next_value(*minutes, from[1]);
                if (minute == (int) from[1]) {
                        second = next_value(*seconds, from[2]);
                        if (second < 0)
                                minute = next_value(*minutes, from[1] + 1);
                }
                if (minute < 0)
                        hour = next_value(c->set[FIELD_HOUR], from[0] + 1);
        }
        if (hour < 0)
                return false;

        ret[0] = (unsigned) hour;
        ret[1] = (unsigned) (minute >= 0 ? minute : next_value(*minutes, 0));
        ret[2] = (unsigned) (second >= 0 ? second : next_value(*seconds, 0));
        return true;
}

/* Times of a clock on the wall are counted as if it showed UTC. The first one of the expression that is later than "after": 0, -ENOENT,
 * -EOVERFLOW. */
static int next_on_wall(const CronExpr *c, int64_t after, int64_t *ret) {
        time_t start = (time_t) after + 1;
        unsigned from[3], t[3];
        int year_limit;
        struct tm tm;
        Date d;

        if (!gmtime_r(&start, &tm))
                return -EOVERFLOW;
        d = (Date) { tm.tm_year + 1900, (unsigned) tm.tm_mon + 1, (unsigned) tm.tm_mday, (unsigned) tm.tm_wday, 0 };
        d.n_days = days_of_month(d.year, d.month);
        from[0] = (unsigned) tm.tm_hour;
        from[1] = (unsigned) tm.tm_min;
        from[2] = (unsigned) tm.tm_sec;
        year_limit = d.year + HORIZON_YEARS;

        for (; d.year <= year_limit; date_advance(&d)) {
                if (date_matches(c, &d) && next_time_of_day(c, from, t)) {
                        tm = (struct tm) { .tm_year = d.year - 1900, .tm_mon = (int) d.month - 1, .tm_mday = (int) d.day,
                                           .tm_hour = (int) t[0], .tm_min = (int) t[1], .tm_sec = (int) t[2] };
                        *ret = timegm(&tm);
                        return 0;
                }
                memset(from, 0, sizeof from);
        }
        return -ENOENT;
}

/* ---- the next instant ---- */

#define HOUR 3600
#define DAY (24 * HOUR)

/* How far the wall clock is ahead of UTC at an instant. */
static int offset_at(int64_t t, int64_t *ret) {
        time_t tt = (time_t) t;
        struct tm tm;

        if (!localtime_r(&tt, &tm))
                return -EOVERFLOW;
        *ret = tm.tm_gmtoff;
        return 0;
}

/* The first instant in (from, to] with another offset than that at "from": 1, 0 if there is none, -EOVERFLOW. No zone changes its
 * clock twice within an hour. */
static int find_change(int64_t from, int64_t to, int64_t *ret, int64_t *ret_offset) {
        int64_t offset, low = from, high, other;
        int r;

        r = offset_at(from, &offset);
        if (r < 0)
                return r;

        for (;;) {
                if (low >= to)
                        return 0;
                high = MIN(low + HOUR, to);
                r = offset_at(high, &other);
                if (r < 0)
                        return r;
                if (other != offset)
                        break;
                low = high;
        }

        while (high - low > 1) {
                int64_t middle = low + (high - low) / 2, o;

                r = offset_at(middle, &o);
                if (r < 0)
                        return r;
                if (o == offset)
                        low = middle;
                else {
                        high = middle;
                        other = o;
                }
        }

        *ret = high;
        *ret_offset = other;
        return 1;
}

/* The latest time that the wall clock has shown up to t, which is more than it shows at t where it was set back lately. */
static int latest_on_wall(int64_t t, int64_t offset, int64_t *ret) {
        int64_t latest = t + offset, from = t - DAY - HOUR, change, before, after;
        int r;

        for (;;) {
                r = offset_at(from, &before);
                if (r >= 0)
                        r = find_change(from, t, &change, &after);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                if (after < before)
                        latest = MAX(latest, change + before - 1);
                from = change;
        }

        *ret = latest;
        return 0;
}

/* Between two changes of its offset the wall clock goes evenly; this goes from one change to the next. t is the instant, offset the one
 * that holds from then on, wall the time of the wall clock that the result must be later than. */
static int next_instant(const CronExpr *c, int64_t t, int64_t *ret) {
        bool every_hour = c->set[FIELD_HOUR] == full_set(FIELD_HOUR);
        int64_t offset, wall, due, change, after;
        int r;

        r = offset_at(t, &offset);
        if (r < 0)
                return r;
        wall = t + offset;
        if (!every_hour)
                r = latest_on_wall(t, offset, &wall);

        while (r >= 0) {
                r = next_on_wall(c, wall, &due);
                if (r < 0)
                        break;

                r = find_change(t, MIN(due - offset, t + 2 * DAY), &change, &after);
                if (r < 0)
                        break;
                if (r == 0 && due - offset <= t + 2 * DAY) {
                        *ret = due - offset;
                        return 0;
                }
                if (r == 0) {
                        /* Nothing is due until shortly before, however often the clock is changed meanwhile. */
                        t = MAX(t + 2 * DAY, due - offset - 2 * DAY);
                        r = offset_at(t, &offset);
                        wall = t + offset;
                        continue;
                }

                if (!every_hour && due >= change + offset && due < change + after) {
                        *ret = change;
                        return 0;
                }
                wall = change + (every_hour ? after : MAX(offset, after)) - 1;
                t = change;
                offset = after;
        }
        return r;
}

int cron_next(const CronExpr *c, usec_t after, const char *tz, usec_t *ret) {
        _cleanup_free_ char *saved = NULL;
        const char *before = getenv("TZ");
        int64_t t = 0;
        int r;

        if (tz) {
                saved = before ? strdup(before) : NULL;
                if ((before && !saved) || setenv("TZ", tz, true) < 0)
                        return -ENOMEM;
        }

        tzset();
        r = next_instant(c, (int64_t) (after / USEC_PER_SEC), &t);

        if (tz) {
                if (saved ? setenv("TZ", saved, true) < 0 : unsetenv("TZ") < 0)
                        r = -ENOMEM;
                tzset();
        }
        if (r < 0)
                return r;
        if (t < 0 || (usec_t) t > USEC_INFINITY / USEC_PER_SEC)
                return -EOVERFLOW;

        *ret = (usec_t) t * USEC_PER_SEC;
        return 0;
}
