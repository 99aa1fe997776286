/* SPDX-License-Identifier: MIT */
#include "shared/app-option.h"

#include "shared/cron-expr.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/watch-options.h"

/* The types of options whose values are of more than one kind, as JavaScript likes it. */

/* ---- a switch, or what it is about ---- */

int option_set_watch(const AppOption *o, void *field, json_object *value, char **reterr) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, watch);
        char **paths = NULL;
        int r;

        r = json_to_boolean(value);
        if (r < 0) {
                if (!IN_SET(json_object_get_type(value), json_type_string, json_type_array))
                        return option_fault(o, value, reterr, -EINVAL, "is neither true nor false nor a list of paths");
                r = option_strv(o, value, &paths, reterr);
                if (r < 0)
                        return r;
                r = !strv_isempty(paths);
        }

        strv_free(c->watch_paths);
        c->watch_paths = paths;
        c->watch = r;
        return 0;
}

json_object *option_get_watch(const void *field) {
        const AppConfig *c = CONTAINER_OF(field, AppConfig, watch);

        return c->watch_paths ? option_get_strv(&c->watch_paths) : json_object_new_boolean(c->watch);
}

int option_copy_watch(void *to, const void *from) {
        AppConfig *a = CONTAINER_OF(to, AppConfig, watch);
        const AppConfig *b = CONTAINER_OF(from, AppConfig, watch);
        int r;

        r = option_copy_strv(&a->watch_paths, &b->watch_paths);
        if (r < 0)
                return r;
        a->watch = b->watch;
        return 0;
}

void option_clear_watch(void *field) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, watch);

        c->watch_paths = strv_free(c->watch_paths);
        c->watch = false;
}

/* True is the file with the default name, "". */
int option_set_log_file(const AppOption *o, void *field, json_object *value, char **reterr) {
        const char *s;
        int r;

        if (json_object_is_type(value, json_type_boolean))
                return free_and_strdup(field, json_object_get_boolean(value) ? "" : NULL);

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        if (streq(s, "true") || streq(s, "false"))
                return free_and_strdup(field, streq(s, "true") ? "" : NULL);
        return free_and_strdup(field, s);
}

json_object *option_get_log_file(const void *field) {
        const char *s = *(char *const *) field;

        return isempty(s) ? json_object_new_boolean(s != NULL) : json_object_new_string(s);
}

/* 0 is none, and takes back what was there. */
int option_set_cron(const AppOption *o, void *field, json_object *value, char **reterr) {
        _cleanup_cron_free_ CronExpr *cron = NULL;
        _cleanup_free_ char *fault = NULL;
        const char *s;
        int r;

        if (json_object_is_type(value, json_type_boolean) && !json_object_get_boolean(value))
                return free_and_strdup(field, NULL);

        r = option_text(o, value, &s, reterr);
        if (r < 0)
                return r;
        if (streq(s, "0"))
                return free_and_strdup(field, NULL);

        r = cron_parse(s, &cron, &fault);
        if (r == -EINVAL)
                return config_fault(reterr, r, "%s: %s", o->key, strempty(fault));
        return r < 0 ? r : free_and_strdup(field, s);
}

json_object *option_get_cron(const void *field) {
        const char *s = *(char *const *) field;

        return json_object_new_string(s ?: "0");
}

/* ---- filter_env ---- */

/* True is everything, a string one name, an array parts of names. */
int option_set_filter_env(const AppOption *o, void *field, json_object *value, char **reterr) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, filter_env);
        FilterEnvMode mode = FILTER_ENV_PARTS;
        char **names = NULL;
        const char *s;
        int r = 0;

        if (json_object_is_type(value, json_type_array))
                r = option_strv(o, value, &names, reterr);
        else if (json_to_boolean(value) >= 0)
                mode = json_to_boolean(value) ? FILTER_ENV_ALL : FILTER_ENV_NONE;
        else {
                mode = FILTER_ENV_NAME;
                r = option_text(o, value, &s, reterr);
                if (r >= 0)
                        r = strv_extend(&names, s);
        }
        if (r < 0)
                return r;

        strv_free(c->filter_env);
        c->filter_env = names;
        c->filter_env_mode = mode;
        return 0;
}

json_object *option_get_filter_env(const void *field) {
        const AppConfig *c = CONTAINER_OF(field, AppConfig, filter_env);

        switch (c->filter_env_mode) {
        case FILTER_ENV_NAME:
                return json_object_new_string(c->filter_env[0]);
        case FILTER_ENV_PARTS:
                return option_get_strv(&c->filter_env);
        default:
                return json_object_new_boolean(c->filter_env_mode == FILTER_ENV_ALL);
        }
}

int option_copy_filter_env(void *to, const void *from) {
        AppConfig *a = CONTAINER_OF(to, AppConfig, filter_env);
        const AppConfig *b = CONTAINER_OF(from, AppConfig, filter_env);
        int r;

        r = option_copy_strv(&a->filter_env, &b->filter_env);
        if (r < 0)
                return r;
        a->filter_env_mode = b->filter_env_mode;
        return 0;
}

void option_clear_filter_env(void *field) {
        AppConfig *c = CONTAINER_OF(field, AppConfig, filter_env);

        c->filter_env = strv_free(c->filter_env);
        c->filter_env_mode = FILTER_ENV_NONE;
}

/* ---- watch_options ---- */

/* Kept as text: D-Bus and the saved definitions carry it as such. */
int option_set_watch_options(const AppOption *o, void *field, json_object *value, char **reterr) {
        _cleanup_(json_object_putp) json_object *parsed = NULL;
        _cleanup_watch_options_ WatchOptions options = {};
        const char *s;
        int r;

        if (json_object_is_type(value, json_type_string))
                parsed = json_tokener_parse(json_object_get_string(value));
        else
                parsed = json_object_get(value);
        if (!json_object_is_type(parsed, json_type_object))
                return option_fault(o, value, reterr, -EINVAL, "is no object");
        r = watch_options_read(parsed, &options, reterr);
        if (r < 0)
                return r;

        s = json_object_to_json_string_ext(parsed, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        if (!s)
                return -ENOMEM;
        if (!utf8_is_valid(s, strlen(s)))
                return option_fault(o, value, reterr, -EINVAL, "is not valid UTF-8");
        return free_and_strdup(field, s);
}
