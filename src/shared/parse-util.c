/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <limits.h>
#include <strings.h>

#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define CPUS_MAX 8192U

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

int parse_percent(const char *s, uint64_t *ret) {
        uint64_t v, decimals = 0;
        const char *end;
        int r;

        r = parse_digits(s, &end, &v);
        if (r < 0)
                return r;
        if (*end == '.') {
                const char *first = end + 1;

                r = parse_digits(first, &end, &decimals);
                if (r < 0)
                        return r;
                if (end - first > 2)
                        return -EINVAL;
                if (end - first == 1)
                        decimals *= 10;
        }
        if (!streq(end, "%"))
                return -EINVAL;
        if (__builtin_mul_overflow(v, 100, &v) || __builtin_add_overflow(v, decimals, &v))
                return -ERANGE;

        *ret = v;
        return 0;
}

static int parse_cpu_range(const char *s, uint64_t *ret_first, uint64_t *ret_last) {
        const char *end;
        int r;

        r = parse_digits(s, &end, ret_first);
        if (r < 0)
                return r;
        *ret_last = *ret_first;
        if (*end)
                r = *end == '-' ? safe_atou64(end + 1, ret_last) : -EINVAL;
        if (r < 0)
                return r;
        return *ret_last >= CPUS_MAX || *ret_first > *ret_last ? -ERANGE : 0;
}

int parse_cpu_list(const char *s, char **ret_list, uint8_t **ret_mask, size_t *ret_size) {
        _cleanup_strv_free_ char **ranges = strv_split(s, ", ");
        _cleanup_free_ uint8_t *mask = new0(uint8_t, CPUS_MAX / 8);
        size_t size = 0;
        char *list;
        int r;

        if (!ranges || !mask)
                return -ENOMEM;

        STRV_FOREACH(range, ranges) {
                uint64_t first, last;

                r = parse_cpu_range(*range, &first, &last);
                if (r < 0)
                        return r;
                for (uint64_t i = first; i <= last; i++)
                        mask[i / 8] |= (uint8_t) (1U << (i % 8));
                size = MAX(size, (size_t) last / 8 + 1);
        }
        if (size == 0)
                return -EINVAL;

        list = strv_join(ranges, ",");
        if (!list)
                return -ENOMEM;
        *ret_list = list;
        *ret_mask = TAKE_PTR(mask);
        *ret_size = size;
        return 0;
}
