/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "shared/app-option.h"

#include "shared/capability-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* The types of options that Linux adds: sizes, shares, resource limits, capabilities. Where a value can be "infinity", that
 * is the largest one there is. */

/* ---- sizes ---- */

static int size_of_json(json_object *value, uint64_t *ret) {
        int64_t v;
        int r;

        if (json_object_is_type(value, json_type_string))
                return parse_size(json_object_get_string(value), ret);

        r = json_to_integer(value, &v);
        if (r < 0)
                return r;
        if (v < 0)
                return -ERANGE;
        *ret = (uint64_t) v;
        return 0;
}

int option_set_size(const AppOption *o, void *field, json_object *value, char **reterr) {
        uint64_t v;
        int r;

        r = size_of_json(value, &v);
        if (r == -EINVAL)
                return option_fault(o, value, reterr, r, "is no size: give bytes, or a number with K, M, G or T");
        if (r < 0 || v > o->max)
                return option_fault_range(o, value, o->min, o->max, " bytes", reterr);

        *(uint64_t *) field = v;
        return 0;
}

json_object *option_get_size(const void *field) {
        return json_object_new_int64((int64_t) *(const uint64_t *) field);
}

static int memory_of_json(json_object *value, MemoryLimit *ret) {
        const char *s = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
        MemoryLimit v = {};
        uint64_t permyriad;
        int r;

        if (streq(s, "infinity"))
                v.bytes = UINT64_MAX;
        else if (endswith(s, "%")) {
                r = parse_percent(s, &permyriad);
                if (r < 0)
                        return r;
                if (permyriad == 0 || permyriad > 10000)
                        return -ERANGE;
                v.permyriad = (unsigned) permyriad;
        } else {
                r = size_of_json(value, &v.bytes);
                if (r < 0)
                        return r;
                if (v.bytes == 0 || v.bytes > INT64_MAX)
                        return -ERANGE;
        }

        *ret = v;
        return 0;
}

int option_set_memory(const AppOption *o, void *field, json_object *value, char **reterr) {
        MemoryLimit v;
        int r;

        r = memory_of_json(value, &v);
        if (r == -EINVAL)
                return option_fault(o, value, reterr, r,
                                    "is no size: give bytes, a number with K, M, G or T, a percentage, or \"infinity\"");
        if (r < 0)
                return option_fault(o, value, reterr, r, "is out of range, 1 byte to all of the memory");

        *(MemoryLimit *) field = v;
        return 0;
}

/* "12.5%" */
static json_object *json_of_percent(uint64_t permyriad) {
        unsigned fraction = (unsigned) (permyriad % 100);
        char buf[32];

        if (fraction % 10 != 0)
                (void) snprintf(buf, sizeof buf, "%" PRIu64 ".%02u%%", permyriad / 100, fraction);
        else if (fraction != 0)
                (void) snprintf(buf, sizeof buf, "%" PRIu64 ".%u%%", permyriad / 100, fraction / 10);
        else
                (void) snprintf(buf, sizeof buf, "%" PRIu64 "%%", permyriad / 100);
        return json_object_new_string(buf);
}

json_object *option_get_memory(const void *field) {
        const MemoryLimit *v = field;

        if (v->permyriad > 0)
                return json_of_percent(v->permyriad);
        return v->bytes == UINT64_MAX ? json_object_new_string("infinity") : json_object_new_int64((int64_t) v->bytes);
}

/* ---- shares ---- */

int option_set_count(const AppOption *o, void *field, json_object *value, char **reterr) {
        int64_t v;
        int r;

        if (json_object_is_type(value, json_type_string) && streq(json_object_get_string(value), "infinity")) {
                *(uint64_t *) field = UINT64_MAX;
                return 0;
        }

        r = option_integer(o, value, o->min, o->max, &v, reterr);
        if (r < 0)
                return r;
        *(uint64_t *) field = (uint64_t) v;
        return 0;
}

json_object *option_get_count(const void *field) {
        uint64_t v = *(const uint64_t *) field;

        return v == UINT64_MAX ? json_object_new_string("infinity") : json_object_new_int64((int64_t) v);
}

/* A number is a percentage too. */
static int quota_of_text(const char *s, uint64_t *ret) {
        _cleanup_free_ char *percent = NULL;

        if (endswith(s, "%"))
                return parse_percent(s, ret);
        percent = strjoin(s, "%");
        if (!percent)
                return -ENOMEM;
        return parse_percent(percent, ret);
}

int option_set_cpu_quota(const AppOption *o, void *field, json_object *value, char **reterr) {
        uint64_t permyriad;
        const char *s;
        int r;

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        if (streq(s, "infinity")) {
                *(uint64_t *) field = UINT64_MAX;
                return 0;
        }

        r = quota_of_text(s, &permyriad);
        if (r == -ENOMEM)
                return r;
        if (r == -EINVAL)
                return option_fault(o, value, reterr, r, "is no percentage: give one such as 50% or 150%, or \"infinity\"");
        if (r < 0 || permyriad < (uint64_t) o->min * 100 || permyriad > o->max * 100)
                return option_fault_range(o, value, o->min, o->max, " %", reterr);

        *(uint64_t *) field = permyriad * (USEC_PER_SEC / 10000);
        return 0;
}

json_object *option_get_cpu_quota(const void *field) {
        uint64_t v = *(const uint64_t *) field;

        return v == UINT64_MAX ? json_object_new_string("infinity") : json_of_percent(v / (USEC_PER_SEC / 10000));
}

int option_set_cpus(const AppOption *o, void *field, json_object *value, char **reterr) {
        _cleanup_free_ char *list = NULL;
        _cleanup_free_ uint8_t *mask = NULL;
        const char *s;
        size_t n;
        int r;

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        r = parse_cpu_list(s, &list, &mask, &n);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return option_fault(o, value, reterr, r, "is no list of CPUs: give one such as 0-3,5");

        free(*(char **) field);
        *(char **) field = TAKE_PTR(list);
        return 0;
}

/* ---- numbers where 0 is not "not said" ---- */

int option_set_int(const AppOption *o, void *field, json_object *value, char **reterr) {
        int64_t v;
        int r;

        r = option_integer(o, value, o->min, o->max, &v, reterr);
        if (r < 0)
                return r;
        *(OptionalInt *) field = (OptionalInt) { true, (int) v };
        return 0;
}

json_object *option_get_int(const void *field) {
        return json_object_new_int(((const OptionalInt *) field)->value);
}

/* Octal, as everybody writes it, even where a parser took it for a decimal number. */
int option_set_mode(const AppOption *o, void *field, json_object *value, char **reterr) {
        unsigned v = 0;
        const char *s;
        int r;

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        if (isempty(s) || strlen(s) > 5 || strspn(s, "01234567") != strlen(s))
                return option_fault(o, value, reterr, -EINVAL, "is no mode: give an octal number such as 027");
        for (; *s; s++)
                v = v * 8 + (unsigned) (*s - '0');
        if (v > o->max)
                return option_fault(o, value, reterr, -ERANGE, "is out of range, 0000 to 0777");

        *(OptionalInt *) field = (OptionalInt) { true, (int) v };
        return 0;
}

json_object *option_get_mode(const void *field) {
        char buf[16];

        (void) snprintf(buf, sizeof buf, "%04o", (unsigned) ((const OptionalInt *) field)->value);
        return json_object_new_string(buf);
}

/* ---- resource limits ---- */

static int rlimit_of_text(const char *s, rlim_t *ret) {
        uint64_t v;
        int r;

        if (IN_SET(s[0], 'i', 'u') && (streq(s, "infinity") || streq(s, "unlimited"))) {
                *ret = RLIM_INFINITY;
                return 0;
        }
        r = parse_size(s, &v);
        if (r < 0)
                return r;
        if (v > INT64_MAX)
                return -ERANGE;
        *ret = (rlim_t) v;
        return 0;
}

static int rlimit_parse(const char *s, Rlimit *ret) {
        const char *colon = strchr(s, ':');
        _cleanup_free_ char *soft = colon ? strndup(s, (size_t) (colon - s)) : strdup(s);
        Rlimit v = { .set = true };
        int r;

        if (!soft)
                return -ENOMEM;
        r = rlimit_of_text(soft, &v.soft);
        if (r < 0)
                return r;
        r = rlimit_of_text(colon ? colon + 1 : soft, &v.hard);
        if (r < 0)
                return r;
        if (v.soft > v.hard)
                return -EDOM;

        *ret = v;
        return 0;
}

int option_set_rlimit(const AppOption *o, void *field, json_object *value, char **reterr) {
        const char *s;
        Rlimit v;
        int r;

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        r = rlimit_parse(s, &v);
        if (r == -ENOMEM)
                return r;
        if (r == -EDOM)
                return option_fault(o, value, reterr, -ERANGE, "has a soft limit above the hard one");
        if (r == -ERANGE)
                return option_fault(o, value, reterr, r, "is out of range");
        if (r < 0)
                return option_fault(o, value, reterr, r,
                                    "is no limit: give a number, SOFT:HARD, or \"infinity\"; K, M, G and T may follow a number");

        *(Rlimit *) field = v;
        return 0;
}

static const char *rlimit_to_text(rlim_t v, char buf[static 24]) {
        if (v == RLIM_INFINITY)
                return "infinity";
        (void) snprintf(buf, 24, "%" PRIu64, (uint64_t) v);
        return buf;
}

json_object *option_get_rlimit(const void *field) {
        char soft[24], hard[24], both[64];
        const Rlimit *v = field;

        if (v->soft == v->hard && v->soft != RLIM_INFINITY)
                return json_object_new_int64((int64_t) v->soft);
        if (v->soft == v->hard)
                return json_object_new_string("infinity");
        (void) snprintf(both, sizeof both, "%s:%s", rlimit_to_text(v->soft, soft), rlimit_to_text(v->hard, hard));
        return json_object_new_string(both);
}

/* ---- lists of names ---- */

static int normalize_option(const char *s, char **ret) {
        const AppOption *o = app_option_find(s);
        char *copy;

        if (!o || o->type == OPTION_IGNORED)
                return -EINVAL;
        copy = strdup(o->key);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int set_names(
                const AppOption *o, char ***field, json_object *value, int (*normalize)(const char *s, char **ret),
                const char *what, char **reterr) {

        _cleanup_strv_free_ char **given = NULL, **names = NULL;
        int r;

        r = option_strv(o, value, &given, reterr);
        if (r < 0)
                return r;

        names = new0(char *, 1); /* an empty list is not the same as none */
        if (!names)
                return -ENOMEM;
        STRV_FOREACH(g, given) {
                _cleanup_free_ char *name = NULL;

                r = normalize(*g, &name);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        return config_fault(reterr, r, "%s: '%.64s' %s", o->key, *g, what);
                if (strv_contains(names, name))
                        continue;
                r = strv_consume(&names, TAKE_PTR(name));
                if (r < 0)
                        return r;
        }

        strv_free(*field);
        *field = TAKE_PTR(names);
        return 0;
}

int option_set_capabilities(const AppOption *o, void *field, json_object *value, char **reterr) {
        return set_names(o, field, value, capability_normalize, "is no capability: give names such as cap_net_bind_service", reterr);
}

int option_set_required(const AppOption *o, void *field, json_object *value, char **reterr) {
        return set_names(o, field, value, normalize_option, "is no attribute that could be required", reterr);
}
