/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <malloc.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "shared/regex-cost.h"
#include "shared/log.h"
#include "test.h"

#define TAKEN_MAX (16U << 20)

TEST(patterns) {
        static const struct {
                const char *pattern;
                unsigned cost;
        } rows[] = {
                { "", 0 },
                { "^web", 4 },
                { "a{3}", 3 },
                { "a{3,}", 4 },
                { "a{3,7}", 7 },
                { "a{,7}", 7 },
                { "a{0}", 1 },
                { "a{x", 3 },
                { "a{2", 3 },
                { "{3}", 0 },
                { "a\\{3}", 4 },
                { "ab{3}", 4 },
                { "(ab){3}", 9 },
                { "(a{3}b){3}", 15 },
                { "(a|b)+", 8 },
                { "((a+)+)+", 14 },
                { "[{9}(]{3}", 3 },
                { "[]{9}]{3}", 3 },
                { "[^]{9}]{3}", 3 },
                { "[[:alpha:]{9}]{3}", 3 },
                { "[[.].]{9}]{3}", 3 },
                { "[\\]{3}", 3 },
                { "[)](a{4})", 6 },
                { "a)b", 3 },
                { "[", 1 },
                { "\\", 1 },
                { "a{512}", 512 },
                { "a{513}", UINT_MAX },
                { "a{999999999999999999999}", UINT_MAX },
                { "((((a{1,100}){1,100}){1,100}){1,100})", UINT_MAX },
                { "([)]a{100}){100}", UINT_MAX },
                { "(a*)\\1", UINT_MAX },
                { "((a*)*){1,9}{1,9}", UINT_MAX },
                { "(()*){1,9}{1,9}", UINT_MAX },
                { "((a|){1,9})*", UINT_MAX },
                { "((a*)(b*)){1,9}+", UINT_MAX },
                { "(\\b{3}x?)+", UINT_MAX },
                { "(a*b){2}{2}", 16 },
                { "(x(a*){2})+", 16 },
                { "(a{0}){2}", 4 },
                { "^(web[0-9]+-)+[a-z]{2}$", 18 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                unsigned cost = regex_cost(rows[i].pattern);

                if (cost != rows[i].cost)
                        log_error("%s: %u", rows[i].pattern, cost);
                ASSERT_EQ(cost, rows[i].cost);
        }
}

TEST(nested_too_deeply) {
        char pattern[4096];

        memset(pattern, '(', sizeof pattern - 1);
        pattern[sizeof pattern - 1] = 0;
        ASSERT_EQ(regex_cost(pattern), UINT_MAX);
}

static size_t random_pattern(char *buf, size_t size, unsigned *seed) {
        static const char *const pieces[] = { "a", "(", ")", "[", "]", "^", "{1,9}", "{3,}", "{,9}", "{", "}", "+", "*", "?", "|", "\\", "[:", ":]", "b", "{9}" };
        size_t n = 0;

        for (unsigned left = 1 + (unsigned) rand_r(seed) % 24; left > 0; left--) {
                const char *piece = pieces[(size_t) rand_r(seed) % ELEMENTSOF(pieces)];

                if (n + strlen(piece) >= size)
                        break;
                n = (size_t) (stpcpy(buf + n, piece) - buf);
        }
        buf[n] = 0;
        return n;
}

/* What regcomp() really takes, for patterns of all kinds. */
TEST(the_cost_is_an_upper_bound) {
        size_t n_valid = 0;
        unsigned seed = 1;

        for (unsigned i = 0; i < 50000; i++) {
                char pattern[256];
                size_t before, taken;
                unsigned cost;
                regex_t regex;

                (void) random_pattern(pattern, sizeof pattern, &seed);
                cost = regex_cost(pattern);
                if (cost == UINT_MAX)
                        continue;
                before = mallinfo2().uordblks + mallinfo2().hblkhd;
                if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
                        continue;
                taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
                (void) regexec(&regex, "aaaaabbbbb", 0, NULL, 0);
                regfree(&regex);
                if (taken > TAKEN_MAX)
                        log_error("%s costs %u, and takes %zu bytes", pattern, cost, taken);
                ASSERT_TRUE(taken <= TAKEN_MAX);
                n_valid++;
        }
        ASSERT_TRUE(n_valid > 300);
}
