/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "shared/app-option.h"

#include "shared/app-resolve.h"
#include "shared/env-util.h"
#include "shared/json-util.h"
#include "shared/parse-util.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int config_fault(char **reterr, int error, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        char *escaped;
        va_list ap;
        int r;

        if (!reterr)
                return error;

        va_start(ap, format);
        errno = -error;
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }

        escaped = string_escape_cc(text);
        if (!escaped)
                return -ENOMEM;

        free(*reterr);
        *reterr = escaped;
        return error;
}

int option_fault(const AppOption *o, json_object *value, char **reterr, int error, const char *what) {
        const char *s = json_object_get_string(value);

        return config_fault(reterr, error, "%s: '%.64s%s' %s", o->key, strempty(s), s && strlen(s) > 64 ? "…" : "", what);
}

int option_fault_range(
                const AppOption *o, json_object *value, int64_t min, uint64_t max, const char *unit, char **reterr) {
        char what[128];

        (void) snprintf(what, sizeof what, "is out of range, %" PRIi64 " to %" PRIu64 "%s", min, max, unit);
        return option_fault(o, value, reterr, -ERANGE, what);
}

/* ---- values out of JSON ---- */

int option_text(const AppOption *o, json_object *value, const char **ret, char **reterr) {
        const char *s;

        if (!IN_SET(json_object_get_type(value), json_type_string, json_type_int, json_type_double))
                return option_fault(o, value, reterr, -EINVAL, "is no string");

        s = json_object_get_string(value);
        if (!s)
                return -ENOMEM;
        if (json_object_is_type(value, json_type_string) && strlen(s) != (size_t) json_object_get_string_len(value))
                return option_fault(o, value, reterr, -EINVAL, "contains a NUL byte");
        if (!utf8_is_valid(s, strlen(s)))
                return option_fault(o, value, reterr, -EINVAL, "is not valid UTF-8");

        *ret = s;
        return 0;
}

static int integer_of_text(const char *s, int64_t *ret) {
        bool negative = *s == '-';
        uint64_t u;
        int r;

        r = safe_atou64(s + negative, &u);
        if (r < 0)
                return r;
        if (u > INT64_MAX)
                return -ERANGE;

        *ret = negative ? -(int64_t) u : (int64_t) u;
        return 0;
}

int json_to_integer(json_object *value, int64_t *ret) {
        double d;

        switch (json_object_get_type(value)) {
        case json_type_int:
                *ret = json_object_get_int64(value);
                return 0;
        case json_type_double:
                d = json_object_get_double(value);
                if (!isfinite(d))
                        return -EINVAL;
                if (fabs(d) > (double) (INT64_C(1) << 53))
                        return -ERANGE;
                *ret = (int64_t) d;
                return (double) *ret == d ? 0 : -EINVAL; /* floor() would need libm, unless the compiler has an instruction for it */
        case json_type_string:
                return integer_of_text(json_object_get_string(value), ret);
        default:
                return -EINVAL;
        }
}

int option_integer(const AppOption *o, json_object *value, int64_t min, uint64_t max, int64_t *ret, char **reterr) {
        int64_t v;
        int r;

        r = json_to_integer(value, &v);
        if (r == -EINVAL)
                return option_fault(o, value, reterr, r, "is no whole number");
        if (r < 0 || v < min || (v > 0 && (uint64_t) v > max))
                return option_fault_range(o, value, min, max, "", reterr);

        *ret = v;
        return 0;
}

static int msec_of_text(const char *s, int64_t *ret) {
        static const struct {
                const char *suffix;
                int64_t msec;
        } units[] = { { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 } };
        _cleanup_free_ char *digits = NULL;
        size_t n = strspn(s, "-0123456789");
        int64_t v;
        int r;

        digits = strndup(s, n);
        if (!digits)
                return -ENOMEM;

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (!streq(s + n, units[i].suffix))
                        continue;
                r = integer_of_text(digits, &v);
                if (r < 0)
                        return r;
                return __builtin_mul_overflow(v, units[i].msec, ret) ? -ERANGE : 0;
        }

        return -EINVAL;
}

static int strv_of_array(const AppOption *o, json_object *array, char ***ret, char **reterr) {
        size_t n = json_object_array_length(array);
        _cleanup_strv_free_ char **l = new0(char *, n + 1);
        int r;

        if (!l)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                json_object *e = json_object_array_get_idx(array, i);
                const char *s;

                if (json_object_is_type(e, json_type_boolean))
                        s = json_object_get_string(e);
                else {
                        r = option_text(o, e, &s, reterr);
                        if (r < 0)
                                return r;
                }

                l[i] = strdup(s);
                if (!l[i])
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(l);
        return 0;
}

static int env_of_object(const AppOption *o, json_object *object, char ***ret, char **reterr) {
        _cleanup_strv_free_ char **l = new0(char *, (size_t) json_object_object_length(object) + 1);
        size_t n = 0;

        if (!l)
                return -ENOMEM;

        json_object_object_foreach(object, name, value) {
                bool is_string = json_object_is_type(value, json_type_string);
                const char *s;

                s = is_string ? json_object_get_string(value) :
                                json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
                if (!s)
                        return -ENOMEM;
                if (!env_name_is_valid(name))
                        return config_fault(reterr, -EINVAL, "%s: '%.64s' cannot be the name of a variable", o->key, name);
                if (is_string && strlen(s) != (size_t) json_object_get_string_len(value))
                        return config_fault(reterr, -EINVAL, "%s: the value of %s contains a NUL byte", o->key, name);

                l[n] = strjoin(name, "=", s);
                if (!l[n++])
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(l);
        return 0;
}

/* By way of an object, whose hash table sees to it that each name stands once, the last value winning. */
static int env_of_array(const AppOption *o, json_object *array, char ***ret, char **reterr) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        size_t n = json_object_array_length(array);

        if (!object)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                json_object *e = json_object_array_get_idx(array, i), *value;
                _cleanup_free_ char *name = NULL;
                const char *s = json_object_get_string(e);

                if (!json_object_is_type(e, json_type_string) || !env_assignment_is_valid(s) ||
                    strlen(s) != (size_t) json_object_get_string_len(e))
                        return option_fault(o, e, reterr, -EINVAL, "is not of the form NAME=value");

                name = strndup(s, strcspn(s, "="));
                value = json_object_new_string(strchr(s, '=') + 1);
                if (!name || !value || json_object_object_add(object, name, value) < 0) {
                        json_object_put(value);
                        return -ENOMEM;
                }
        }

        return env_of_object(o, object, ret, reterr);
}

/* ---- the types of options ---- */

static int set_text(const AppOption *o, void *field, json_object *value, char **reterr) {
        const char *s;
        int r;

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        return free_and_strdup(field, s);
}

int option_strv(const AppOption *o, json_object *value, char ***ret, char **reterr) {
        const char *s;
        int r;

        if (json_object_is_type(value, json_type_array))
                return strv_of_array(o, value, ret, reterr);

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        return split_args(s, ret);
}

static int set_strv(const AppOption *o, void *field, json_object *value, char **reterr) {
        char ***p = field, **l;
        int r;

        r = option_strv(o, value, &l, reterr);
        if (r < 0)
                return r;

        strv_free(*p);
        *p = l;
        return 0;
}

static int set_env(const AppOption *o, void *field, json_object *value, char **reterr) {
        char ***p = field, **l;
        int r;

        if (json_object_is_type(value, json_type_object))
                r = env_of_object(o, value, &l, reterr);
        else if (json_object_is_type(value, json_type_array))
                r = env_of_array(o, value, &l, reterr);
        else
                return option_fault(o, value, reterr, -EINVAL, "is neither an object nor an array of NAME=value");
        if (r < 0)
                return r;

        strv_free(*p);
        *p = l;
        return 0;
}

int json_to_boolean(json_object *value) {
        if (json_object_is_type(value, json_type_boolean))
                return json_object_get_boolean(value);
        if (IN_SET(json_object_get_type(value), json_type_string, json_type_int))
                return parse_boolean(json_object_get_string(value));
        return -EINVAL;
}

static int set_bool(const AppOption *o, void *field, json_object *value, char **reterr) {
        int r;

        r = json_to_boolean(value);
        if (r < 0)
                return option_fault(o, value, reterr, -EINVAL, "is neither true nor false");

        *(bool *) field = r;
        return 0;
}

static int set_uint(const AppOption *o, void *field, json_object *value, char **reterr) {
        int64_t v;
        int r;

        r = option_integer(o, value, o->min, o->max, &v, reterr);
        if (r < 0)
                return r;

        *(unsigned *) field = (unsigned) v;
        return 0;
}

static int set_msec(const AppOption *o, void *field, json_object *value, char **reterr) {
        int64_t v;
        int r;

        if (json_object_is_type(value, json_type_string))
                r = msec_of_text(json_object_get_string(value), &v);
        else
                r = json_to_integer(value, &v);
        if (r == -ENOMEM)
                return r;
        if (r == -EINVAL)
                return option_fault(o, value, reterr, r, "is no duration: give milliseconds, or a number with ms, s, m or h");
        if (r < 0 || v < o->min || v > (int64_t) o->max)
                return option_fault_range(o, value, o->min, o->max, " ms", reterr);

        *(usec_t *) field = (usec_t) v * USEC_PER_MSEC;
        return 0;
}

static int set_signal(const AppOption *o, void *field, json_object *value, char **reterr) {
        int signo = -EINVAL;

        if (IN_SET(json_object_get_type(value), json_type_string, json_type_int))
                signo = signal_from_string(json_object_get_string(value));
        if (signo < 0)
                return option_fault(o, value, reterr, signo, "is no signal: give a name such as SIGTERM, or a number");

        *(int *) field = signo;
        return 0;
}

static int set_instances(const AppOption *o, void *field, json_object *value, char **reterr) {
        int64_t v = 0;
        int r;

        if (!json_object_is_type(value, json_type_string) || !streq(json_object_get_string(value), "max")) {
                r = option_integer(o, value, -(int64_t) o->max, o->max, &v, reterr);
                if (r < 0)
                        return r;
        }

        *(int *) field = (int) v;
        return 0;
}

static int set_exec_mode(const AppOption *o, void *field, json_object *value, char **reterr) {
        ExecMode m = _EXEC_MODE_INVALID;

        /* A boolean is what "execute_command" has. */
        if (json_to_boolean(value) >= 0)
                m = json_to_boolean(value) ? EXEC_MODE_FORK : EXEC_MODE_AUTO;
        else if (json_object_is_type(value, json_type_string))
                m = exec_mode_from_string(json_object_get_string(value));
        if ((int) m < 0)
                return option_fault(o, value, reterr, -EINVAL,
                                   "is no mode: it should be cluster(cluster_mode) or fork(fork_mode) only");

        *(ExecMode *) field = m;
        return 0;
}

static int set_log_target(const AppOption *o, void *field, json_object *value, char **reterr) {
        LogTarget t = _LOG_TARGET_INVALID;

        if (json_object_is_type(value, json_type_string))
                t = log_target_from_string(json_object_get_string(value));
        if ((int) t < 0)
                return option_fault(o, value, reterr, -EINVAL, "is none of auto, journal, file, both and none");

        *(LogTarget *) field = t;
        return 0;
}

static int set_choice(const AppOption *o, void *field, json_object *value, char **reterr) {
        _cleanup_strv_free_ char **choices = strv_split(o->metavar, "|");
        char what[128];
        const char *s;
        int r;

        if (!choices)
                return -ENOMEM;
        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        if (strv_contains(choices, s))
                return free_and_strdup(field, s);

        (void) snprintf(what, sizeof what, "is none of %s", o->metavar);
        return option_fault(o, value, reterr, -EINVAL, what);
}

static int array_of_words(const char *s, json_object **ret) {
        _cleanup_(json_object_putp) json_object *array = json_object_new_array();
        _cleanup_strv_free_ char **words = strv_split(s, ", ");

        if (!array || !words)
                return -ENOMEM;

        STRV_FOREACH(w, words) {
                json_object *e = json_object_new_string(*w);

                if (!e || json_object_array_add(array, e) < 0) {
                        json_object_put(e);
                        return -ENOMEM;
                }
        }

        *ret = TAKE_PTR(array);
        return 0;
}

static int set_exit_codes(const AppOption *o, void *field, json_object *value, char **reterr) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, stop_exit_codes);
        _cleanup_(json_object_putp) json_object *array = NULL;
        _cleanup_free_ int *codes = NULL;
        size_t n;
        int r;

        if (json_object_is_type(value, json_type_array))
                array = json_object_get(value);
        else {
                const char *s;

                r = option_text(o, value, &s, reterr);
                if (r < 0)
                        return r;
                r = array_of_words(s, &array);
                if (r < 0)
                        return r;
        }

        n = json_object_array_length(array);
        if (n > o->max + 1)
                return config_fault(reterr, -ERANGE, "%s: there are more than there can be", o->key);
        codes = new(int, n);
        if (!codes)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                int64_t v;

                r = option_integer(o, json_object_array_get_idx(array, i), o->min, o->max, &v, reterr);
                if (r < 0)
                        return r;
                codes[i] = (int) v;
        }

        free(c->stop_exit_codes);
        c->stop_exit_codes = TAKE_PTR(codes);
        c->n_stop_exit_codes = n;
        return 0;
}

static int set_ignored(const AppOption *o, void *field, json_object *value, char **reterr) {
        return 0;
}

static json_object *get_ignored(const void *field) {
        return json_object_new_boolean(false);
}

static json_object *get_text(const void *field) {
        return json_object_new_string(strempty(*(char *const *) field));
}

json_object *option_get_strv(const void *field) {
        _cleanup_(json_object_putp) json_object *array = json_object_new_array();

        if (!array)
                return NULL;

        STRV_FOREACH(s, *(char **const *) field) {
                json_object *e = json_object_new_string(*s);

                if (!e || json_object_array_add(array, e) < 0) {
                        json_object_put(e);
                        return NULL;
                }
        }

        return TAKE_PTR(array);
}

static json_object *get_bool(const void *field) {
        return json_object_new_boolean(*(const bool *) field);
}

static json_object *get_uint(const void *field) {
        return json_object_new_int64(*(const unsigned *) field);
}

static json_object *get_int(const void *field) {
        return json_object_new_int(*(const int *) field);
}

static json_object *get_msec(const void *field) {
        return json_object_new_int64((int64_t) (*(const usec_t *) field / USEC_PER_MSEC));
}

static json_object *get_signal(const void *field) {
        return json_object_new_string(strempty(signal_to_string(*(const int *) field)));
}

static json_object *get_exec_mode(const void *field) {
        return json_object_new_string(strempty(exec_mode_to_string(*(const ExecMode *) field)));
}

static json_object *get_log_target(const void *field) {
        return json_object_new_string(strempty(log_target_to_string(*(const LogTarget *) field)));
}

static json_object *get_exit_codes(const void *field) {
        const AppConfig *c = CONTAINER_OF(field, AppConfig, stop_exit_codes);
        _cleanup_(json_object_putp) json_object *array = json_object_new_array();

        for (size_t i = 0; array && i < c->n_stop_exit_codes; i++) {
                json_object *e = json_object_new_int(c->stop_exit_codes[i]);

                if (!e || json_object_array_add(array, e) < 0) {
                        json_object_put(e);
                        return NULL;
                }
        }

        return TAKE_PTR(array);
}

static int copy_text(void *to, const void *from) {
        return free_and_strdup(to, *(char *const *) from);
}

int option_copy_strv(void *to, const void *from) {
        char **const *source = from, **l = NULL;

        if (*source) {
                l = strv_copy(*source);
                if (!l)
                        return -ENOMEM;
        }

        strv_free(*(char ***) to);
        *(char ***) to = l;
        return 0;
}

static int copy_exit_codes(void *to, const void *from) {
        AppConfig *a = CONTAINER_OF(to, AppConfig, stop_exit_codes);
        const AppConfig *b = CONTAINER_OF(from, AppConfig, stop_exit_codes);
        int *codes = new(int, b->n_stop_exit_codes);

        if (!codes)
                return -ENOMEM;
        if (b->n_stop_exit_codes > 0)
                memcpy(codes, b->stop_exit_codes, b->n_stop_exit_codes * sizeof(int));

        free(a->stop_exit_codes);
        a->stop_exit_codes = codes;
        a->n_stop_exit_codes = b->n_stop_exit_codes;
        return 0;
}

static void clear_text(void *field) {
        char **p = field;

        *p = mfree(*p);
}

static void clear_strv(void *field) {
        char ***p = field;

        *p = strv_free(*p);
}

static void clear_exit_codes(void *field) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, stop_exit_codes);

        c->stop_exit_codes = mfree(c->stop_exit_codes);
        c->n_stop_exit_codes = 0;
}

/* What is no pointer is copied and cleared as bytes: size tells how many. */
static const struct {
        int (*set)(const AppOption *o, void *field, json_object *value, char **reterr);
        json_object *(*get)(const void *field);
        int (*copy)(void *to, const void *from);
        void (*clear)(void *field);
        size_t size;
} type_table[_OPTION_TYPE_MAX] = {
        [OPTION_STRING] = { set_text, get_text, copy_text, clear_text },
        [OPTION_PATH] = { set_text, get_text, copy_text, clear_text },
        [OPTION_USER] = { set_text, get_text, copy_text, clear_text },
        [OPTION_STRV] = { set_strv, option_get_strv, option_copy_strv, clear_strv },
        [OPTION_ENV] = { set_env, option_get_strv, option_copy_strv, clear_strv },
        [OPTION_EXIT_CODES] = { set_exit_codes, get_exit_codes, copy_exit_codes, clear_exit_codes },
        [OPTION_BOOL] = { set_bool, get_bool, NULL, NULL, sizeof(bool) },
        [OPTION_UINT] = { set_uint, get_uint, NULL, NULL, sizeof(unsigned) },
        [OPTION_MSEC] = { set_msec, get_msec, NULL, NULL, sizeof(usec_t) },
        [OPTION_SIGNAL] = { set_signal, get_signal, NULL, NULL, sizeof(int) },
        [OPTION_INSTANCES] = { set_instances, get_int, NULL, NULL, sizeof(int) },
        [OPTION_EXEC_MODE] = { set_exec_mode, get_exec_mode, NULL, NULL, sizeof(ExecMode) },
        [OPTION_SIZE] = { option_set_size, option_get_size, NULL, NULL, sizeof(uint64_t) },
        [OPTION_MEMORY] = { option_set_memory, option_get_memory, NULL, NULL, sizeof(MemoryLimit) },
        [OPTION_COUNT] = { option_set_count, option_get_count, NULL, NULL, sizeof(uint64_t) },
        [OPTION_CPU_QUOTA] = { option_set_cpu_quota, option_get_cpu_quota, NULL, NULL, sizeof(uint64_t) },
        [OPTION_CPUS] = { option_set_cpus, get_text, copy_text, clear_text },
        [OPTION_INT] = { option_set_int, option_get_int, NULL, NULL, sizeof(OptionalInt) },
        [OPTION_MODE] = { option_set_mode, option_get_mode, NULL, NULL, sizeof(OptionalInt) },
        [OPTION_RLIMIT] = { option_set_rlimit, option_get_rlimit, NULL, NULL, sizeof(Rlimit) },
        [OPTION_CAPABILITIES] = { option_set_capabilities, option_get_strv, option_copy_strv, clear_strv },
        [OPTION_REQUIRED] = { option_set_required, option_get_strv, option_copy_strv, clear_strv },
        [OPTION_WATCH] = { option_set_watch, option_get_watch, option_copy_watch, option_clear_watch },
        [OPTION_LOG_FILE] = { option_set_log_file, option_get_log_file, copy_text, clear_text },
        [OPTION_CRON] = { option_set_cron, option_get_cron, copy_text, clear_text },
        [OPTION_FILTER_ENV] = { option_set_filter_env, option_get_filter_env, option_copy_filter_env, option_clear_filter_env },
        [OPTION_WATCH_OPTIONS] = { option_set_watch_options, get_text, copy_text, clear_text },
        [OPTION_IGNORED] = { set_ignored, get_ignored, NULL, NULL, 0 },
        [OPTION_CHOICE] = { set_choice, get_text, copy_text, clear_text },
        [OPTION_LOG_TARGET] = { set_log_target, get_log_target, NULL, NULL, sizeof(LogTarget) },
};

static void *option_field(const AppOption *o, const AppConfig *c) {
        return (char *) c + o->offset;
}

int option_set(const AppOption *o, AppConfig *c, json_object *value, char **reterr) {
        return type_table[o->type].set(o, option_field(o, c), value, reterr);
}

json_object *option_get(const AppOption *o, const AppConfig *c) {
        return type_table[o->type].get(option_field(o, c));
}

int option_copy(const AppOption *o, AppConfig *to, const AppConfig *from) {
        if (type_table[o->type].copy)
                return type_table[o->type].copy(option_field(o, to), option_field(o, from));

        memcpy(option_field(o, to), option_field(o, from), type_table[o->type].size);
        return 0;
}

void option_clear(const AppOption *o, AppConfig *c) {
        if (type_table[o->type].clear)
                type_table[o->type].clear(option_field(o, c));
        else
                memset(option_field(o, c), 0, type_table[o->type].size);
}
