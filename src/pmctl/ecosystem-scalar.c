/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/string-util.h"

static bool is_one_of(const char *s, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(s, words[i]))
                        return true;
        return false;
}
#define IS_ONE_OF(s, ...) is_one_of(s, (const char *const[]) { __VA_ARGS__ }, ELEMENTSOF(((const char *const[]) { __VA_ARGS__ })))

static const char *skip_sign(const char *s) {
        return s + (*s == '-' || *s == '+');
}

static bool consists_of(const char *s, const char *set) {
        return *s && s[strspn(s, set)] == 0;
}

#define DIGITS "0123456789"

static bool looks_like_float(const char *s) {
        size_t whole, fraction = 0;

        s = skip_sign(s);
        s += whole = strspn(s, DIGITS);
        if (*s == '.')
                s += 1 + (fraction = strspn(s + 1, DIGITS));
        if (whole + fraction == 0)
                return false;
        if (IN_SET(*s, 'e', 'E'))
                return consists_of(skip_sign(s + 1), DIGITS);
        return *s == 0;
}

static int take(json_object *o, json_object **ret) {
        if (!o)
                return -ENOMEM;
        *ret = o;
        return 1;
}

/* Written as JavaScript writes it: 1.50 is 1.5, and 1e3 is 1000. */
static int make_number(double d, json_object **ret) {
        char text[64];

        if (!isfinite(d))
                return 0;
        if (d == trunc(d) && fabs(d) <= 9007199254740992.0)
                return take(json_object_new_int64((int64_t) d), ret);

        for (int precision = 1; precision <= 17; precision++) {
                (void) snprintf(text, sizeof text, "%.*g", precision, d);
                if (strtod(text, NULL) == d)
                        break;
        }
        if (!strpbrk(text, ".e"))
                strcat(text, ".0"); /* too large for a whole number that is exact: it stays a fraction when it is read again */
        return take(json_object_new_double_s(d, text), ret);
}

static int make_integer(const char *s, int base, json_object **ret) {
        int64_t i;
        uint64_t u;

        errno = 0;
        i = strtoll(s, NULL, base);
        if (errno == 0)
                return take(json_object_new_int64(i), ret);
        errno = 0;
        u = strtoull(s, NULL, base);
        if (errno == 0 && *s != '-')
                return take(json_object_new_uint64(u), ret);
        return base == 10 ? make_number(strtod(s, NULL), ret) : 0;
}

int ecosystem_resolve_scalar(const char *s, json_object **ret) {
        if (IS_ONE_OF(s, "", "~", "null", "Null", "NULL")) {
                *ret = NULL;
                return 1;
        }
        if (IS_ONE_OF(s, "true", "True", "TRUE"))
                return take(json_object_new_boolean(true), ret);
        if (IS_ONE_OF(s, "false", "False", "FALSE"))
                return take(json_object_new_boolean(false), ret);
        if (consists_of(skip_sign(s), DIGITS))
                return make_integer(s, 10, ret);
        if (startswith(s, "0o") && consists_of(s + 2, "01234567"))
                return make_integer(s + 2, 8, ret);
        if (startswith(s, "0x") && consists_of(s + 2, DIGITS "abcdefABCDEF"))
                return make_integer(s + 2, 16, ret);
        if (looks_like_float(s))
                return make_number(strtod(s, NULL), ret);
        return 0;
}
