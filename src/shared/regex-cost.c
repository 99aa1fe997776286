/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <limits.h>

#include "shared/regex-cost.h"
#include "shared/string-util.h"

#define GROUPS_MAX 64

/* What regcomp() finds out about ways that match nothing takes for ever where a part that may match nothing is written out again and again: "((a*)*){1,9}{1,9}". */
typedef struct Part {
        uint64_t cost;
        bool may_be_empty;
        bool is_repeated; /* or something in it is */
} Part;

typedef struct Group {
        uint64_t sum;
        bool some_is_empty; /* of the alternatives that are complete */
        bool may_be_empty;  /* the present one, up to the last part of it */
        bool is_repeated;
} Group;

typedef struct Counter {
        const char *rest;
        Group groups[GROUPS_MAX]; /* those that are open, from outside */
        unsigned depth;
        Part last; /* what a repetition would repeat; its cost is in the sum already */
} Counter;

static void begin_alternative(Counter *c) {
        c->groups[c->depth].may_be_empty = true;
        c->last = (Part) { .may_be_empty = true };
}

static bool alternative_may_be_empty(const Counter *c) {
        return c->groups[c->depth].may_be_empty && c->last.may_be_empty;
}

static void add_part(Counter *c, Part part) {
        Group *g = c->groups + c->depth;

        g->may_be_empty = alternative_may_be_empty(c);
        g->sum += part.cost;
        g->is_repeated = g->is_repeated || part.is_repeated;
        c->last = part;
}

static bool add_one(Counter *c, bool may_be_empty) {
        add_part(c, (Part) { .cost = 1, .may_be_empty = may_be_empty });
        return true;
}

/* False: too much. */
static bool repeat(Counter *c, uint64_t times) {
        Group *g = c->groups + c->depth;

        if (times <= 1)
                return true;
        if (c->last.is_repeated && c->last.may_be_empty)
                return false;
        g->sum += c->last.cost * (times - 1);
        c->last.cost *= times;
        c->last.is_repeated = g->is_repeated = true;
        return true;
}

/* '*' and '?'. */
static bool make_optional(Counter *c, char operator) {
        if (operator == '*' && c->last.is_repeated && c->last.may_be_empty)
                return false;
        c->groups[c->depth].sum++;
        c->last.cost++;
        c->last.may_be_empty = true;
        return true;
}

/* "[[:alpha:]]", "[]x]", "[^]]"; a backslash is nothing special there. */
static void skip_brackets(Counter *c) {
        const char *s = c->rest;

        if (*s == '^')
                s++;
        if (*s == ']')
                s++;
        while (*s && *s != ']') {
                if (*s == '[' && s[1] && strchr(":.=", s[1])) {
                        const char end[] = { s[1], ']', 0 }, *found = strstr(s + 2, end);

                        s = found ? found + 1 : s;
                }
                s++;
        }
        c->rest = *s ? s + 1 : s;
}

/* Larger ones regcomp() refuses. */
static uint64_t read_number(const char **s) {
        uint64_t n = 0;

        for (; isdigit((unsigned char) **s); (*s)++)
                n = MIN(n * 10 + (uint64_t) (**s - '0'), UINT64_C(100000));
        return n;
}

/* "{3}", "{3,}", "{3,5}", "{,5}"; anything else may stand for itself. */
static bool add_interval(Counter *c) {
        const char *s = c->rest;
        uint64_t low = read_number(&s), high = low;

        if (*s == ',') {
                s++;
                high = *s == '}' ? low + 1 : read_number(&s);
        }
        if (*s != '}')
                return add_one(c, false);
        c->rest = s + 1;
        if (!repeat(c, MAX(low, high)))
                return false;
        c->last.may_be_empty = c->last.may_be_empty || low == 0;
        return true;
}

static bool open_group(Counter *c) {
        if (c->depth + 1 >= GROUPS_MAX)
                return false;
        c->groups[c->depth].may_be_empty = alternative_may_be_empty(c);
        c->groups[++c->depth] = (Group) { .sum = 1 };
        begin_alternative(c);
        return true;
}

static bool close_group(Counter *c) {
        const Group *g = c->groups + c->depth;
        Part part = { .cost = g->sum, .may_be_empty = g->some_is_empty || alternative_may_be_empty(c), .is_repeated = g->is_repeated };

        if (c->depth == 0)
                return add_one(c, false);
        c->depth--;
        c->last = (Part) { .may_be_empty = true }; /* what was before the group counts already */
        add_part(c, part);
        return true;
}

static bool end_alternative(Counter *c) {
        Group *g = c->groups + c->depth;

        g->sum++;
        g->some_is_empty = g->some_is_empty || alternative_may_be_empty(c);
        begin_alternative(c);
        return true;
}

/* What a group has matched is matched again by trying, which can take for ever. */
static bool add_escaped(Counter *c) {
        char x = *c->rest;

        if (isdigit((unsigned char) x))
                return false;
        if (x)
                c->rest++;
        return add_one(c, x && strchr("<>bB`'", x));
}

static bool add_next(Counter *c) {
        char x = *c->rest++;

        switch (x) {
        case '(':
                return open_group(c);
        case ')':
                return close_group(c);
        case '|':
                return end_alternative(c);
        case '[':
                skip_brackets(c);
                return add_one(c, false);
        case '{':
                return add_interval(c);
        case '+': /* once, and then any number */
                return repeat(c, 2);
        case '*':
        case '?':
                return make_optional(c, x);
        case '\\':
                return add_escaped(c);
        default:
                return add_one(c, IN_SET(x, '^', '$'));
        }
}

unsigned regex_cost(const char *pattern) {
        Counter c = { .rest = pattern };
        uint64_t sum = 0;

        begin_alternative(&c);
        while (*c.rest)
                if (!add_next(&c) || c.groups[c.depth].sum > REGEX_COST_MAX)
                        return UINT_MAX;
        for (unsigned i = 0; i <= c.depth; i++)
                sum += c.groups[i].sum;
        return sum > REGEX_COST_MAX ? UINT_MAX : (unsigned) sum;
}
