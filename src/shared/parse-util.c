/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <limits.h>
#include <strings.h>

#include "shared/parse-util.h"
#include "shared/string-util.h"

/* Reads digits only: strtoull() would take leading space and a minus sign. */
static int parse_digits(const char *s, const char **ret_end, uint64_t *ret) {
        uint64_t v = 0;

        if (!isdigit((unsigned char) *s))
                return -EINVAL;
        for (; isdigit((unsigned char) *s); s++)
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        return -ERANGE;

        *ret_end = s;
        *ret = v;
        return 0;
}

int safe_atou64(const char *s, uint64_t *ret) {
        const char *end;
        uint64_t v;
        int r;

        r = parse_digits(s, &end, &v);
        if (r < 0)
                return r;
        if (*end)
                return -EINVAL;

        *ret = v;
        return 0;
}

int safe_atou(const char *s, unsigned *ret) {
        uint64_t v;
        int r;

        r = safe_atou64(s, &v);
        if (r < 0)
                return r;
        if (v > UINT_MAX)
                return -ERANGE;

        *ret = (unsigned) v;
        return 0;
}

int safe_atoi(const char *s, int *ret) {
        bool negative = *s == '-';
        uint64_t v;
        int r;

        r = safe_atou64(s + negative, &v);
        if (r < 0)
                return r;
        if (v > (uint64_t) INT_MAX + negative)
                return -ERANGE;

        *ret = negative ? (int) -(int64_t) v : (int) v;
        return 0;
}

int parse_boolean(const char *s) {
        static const char *const words[] = { "0", "no", "false", "off", "1", "yes", "true", "on" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return i >= 4;
        return -EINVAL;
}

int parse_size(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        const char *end, *p;
        uint64_t v;
        int r;

        r = parse_digits(s, &end, &v);
        if (r < 0)
                return r;

        if (*end) {
                unsigned shift;

                p = strchr(suffixes, toupper((unsigned char) *end));
                if (!p || end[1])
                        return -EINVAL;

                shift = (unsigned) (p - suffixes + 1) * 10;
                if (v > UINT64_MAX >> shift)
                        return -ERANGE;
                v <<= shift;
        }

        *ret = v;
        return 0;
}
