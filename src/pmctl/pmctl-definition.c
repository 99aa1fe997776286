/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmctl/pmctl-definition.h"

#include "pmctl/pmctl-options.h"
#include "shared/env-util.h"
#include "shared/json-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

extern char **environ;

void caller_done(Caller *c) {
        c->cwd = mfree(c->cwd);
        c->env = strv_free(c->env);
}

/* A deployment may have removed the directory, and made another one of its name: that is what the shell still calls it. */
static int caller_get_directory(const Options *o, char **ret) {
        const char *shell = getenv("PWD");
        _cleanup_free_ char *escaped = NULL;

        *ret = getcwd(NULL, 0);
        if (*ret)
                return EXIT_CODE_OK;
        if (errno != ENOENT)
                return report_error(o, -errno, NULL);
        if (!shell || !path_is_absolute(shell)) {
                message_error(o, "The current directory has been removed; cd to another one.");
                return EXIT_CODE_FAILED;
        }

        escaped = string_escape_cc(shell);
        message_warn(o, "The current directory has been removed; what is relative is looked for in what is now %s.", strempty(escaped));
        *ret = strdup(shell);
        return *ret ? EXIT_CODE_OK : report_error(o, -ENOMEM, NULL);
}

int caller_get(const Options *o, Caller *ret) {
        _cleanup_caller_ Caller c = {};
        int r;

        r = caller_get_directory(o, &c.cwd);
        if (r != EXIT_CODE_OK)
                return r;

        STRV_FOREACH(e, environ) {
                _cleanup_free_ char *escaped = NULL;

                if (env_assignment_is_valid(*e) && utf8_is_valid(*e, strlen(*e))) {
                        if (strv_extend(&c.env, *e) < 0)
                                return report_error(o, -ENOMEM, NULL);
                        continue;
                }
                escaped = string_escape_cc(*e);
                message_warn(o, "Leaving out a variable of the environment that is not valid UTF-8: %.40s",
                             strempty(escaped));
        }

        *ret = TAKE_GENERIC(c, (Caller) {});
        return EXIT_CODE_OK;
}

/* Takes the value. */
static int set_option(const Options *o, AppConfig *config, const char *key, json_object *value) {
        _cleanup_(json_object_putp) json_object *v = value;
        _cleanup_free_ char *fault = NULL;
        int r;

        if (!v)
                return report_error(o, -ENOMEM, NULL);
        r = app_config_set(config, key, v, &fault);
        if (r >= 0)
                return EXIT_CODE_OK;
        message_error(o, "%s", fault ?: strerror(-r));
        return EXIT_CODE_USAGE;
}

static json_object *json_of_strv(char *const *l) {
        json_object *array = json_object_new_array();

        if (array)
                STRV_FOREACH(s, l)
                        (void) json_object_array_add(array, json_object_new_string(*s));
        return array;
}

static int set_flags(const Options *o, AppConfig *config) {
        int r = EXIT_CODE_OK;

        if (!strv_isempty(o->script_args))
                r = set_option(o, config, "args", json_of_strv(o->script_args));
        for (size_t i = 0; r == EXIT_CODE_OK && i < o->n_app_flags; i++)
                r = set_option(o, config, o->app_flags[i].option->key, app_flag_to_json(o, o->app_flags + i));
        return r;
}

int config_from_options(const Options *o, const Caller *caller, const char *script, AppConfig **ret) {
        _cleanup_app_config_unref_ AppConfig *config = NULL;
        _cleanup_free_ char *fault = NULL;
        int r;

        r = app_config_new(&config);
        if (r < 0)
                return report_error(o, r, NULL);

        r = set_option(o, config, "script", json_object_new_string(script));
        if (r == EXIT_CODE_OK)
                r = set_flags(o, config);
        if (r != EXIT_CODE_OK)
                return r;

        r = app_config_make_env(config, caller->env, caller->cwd, &fault);
        if (r < 0) {
                message_error(o, "%s", fault ?: strerror(-r));
                return EXIT_CODE_FAILED;
        }

        *ret = TAKE_PTR(config);
        return EXIT_CODE_OK;
}

int config_finish(const AppConfig *config, const Caller *caller, AppConfig **ret, char **reterr) {
        _cleanup_app_config_unref_ AppConfig *finished = NULL;
        int r;

        r = app_config_copy(config, &finished);
        if (r < 0)
                return r;
        r = app_config_finish(finished, caller->cwd, reterr);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(finished);
        return 0;
}

/* ---- for libpmd ---- */

static int definition_set_array(pmd_definition *d, const char *key, json_object *array) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                r = strv_extend(&l, json_object_get_string(json_object_array_get_idx(array, i)));
                if (r < 0)
                        return r;
        }
        return pmd_definition_set_strv(d, key, l);
}

static int definition_set_value(pmd_definition *d, const char *key, json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_boolean:
                return pmd_definition_set_bool(d, key, json_object_get_boolean(value));
        case json_type_int:
                return pmd_definition_set_int(d, key, json_object_get_int64(value));
        case json_type_array:
                return definition_set_array(d, key, value);
        default:
                return pmd_definition_set_string(d, key, json_object_get_string(value));
        }
}

int make_definition(const AppConfig *config, const char *cwd, pmd_definition **ret) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_(json_object_putp) json_object *given = NULL;
        int r;

        r = app_config_to_json(config, &given);
        if (r < 0)
                return r;
        r = pmd_definition_new(&d);
        if (r < 0)
                return r;

        json_object_object_foreach(given, key, value) {
                if (streq(key, "cwd"))
                        continue;
                r = definition_set_value(d, key, value);
                if (r < 0)
                        return r;
        }

        r = pmd_definition_set_string(d, "cwd", cwd);
        if (r >= 0)
                r = pmd_definition_set_strv(d, "env", config->env);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

/* ---- changes ---- */

static bool is_null(const char *value) {
        return value && (isempty(value) || streq(value, "null"));
}

static int set_changed_value(pmd_definition *d, const Caller *caller, const AppFlag *f, json_object *value) {
        _cleanup_free_ char *path = NULL;

        if (is_null(f->value))
                return pmd_definition_set_string(d, f->option->key, "null");
        if (!streq(f->option->key, "cwd"))
                return value ? definition_set_value(d, f->option->key, value) : 0;

        path = path_resolve(caller->cwd, f->value);
        return path ? pmd_definition_set_string(d, f->option->key, path) : -ENOMEM;
}

static bool is_toggle(const AppFlag *f, bool toggles_watch) {
        return toggles_watch && streq(f->option->key, "watch") && !f->value;
}

/* The values are taken through a configuration, so that a wrong one is told before pmd is asked. */
static int add_flags(const Options *o, const Caller *caller, bool toggles_watch, pmd_definition *d) {
        _cleanup_(json_object_putp) json_object *given = NULL;
        _cleanup_app_config_unref_ AppConfig *scratch = NULL;
        int r;

        r = app_config_new(&scratch);
        if (r < 0)
                return report_error(o, r, NULL);
        r = set_flags(o, scratch);
        if (r != EXIT_CODE_OK)
                return r;

        r = app_config_to_json(scratch, &given);
        for (size_t i = 0; r >= 0 && i < o->n_app_flags; i++) {
                const AppFlag *f = o->app_flags + i;

                if (!is_toggle(f, toggles_watch))
                        r = set_changed_value(d, caller, f, json_object_object_get(given, f->option->key));
        }
        if (r >= 0 && !strv_isempty(o->script_args))
                r = pmd_definition_set_strv(d, "args", o->script_args);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}

static bool changes_something(const Options *o, bool toggles_watch) {
        for (size_t i = 0; i < o->n_app_flags; i++)
                if (!is_toggle(o->app_flags + i, toggles_watch))
                        return true;
        return !strv_isempty(o->script_args) || o->update_env;
}

int overlay_from_options(const Options *o, const Caller *caller, bool toggles_watch, pmd_definition **ret) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        int r;

        if (!changes_something(o, toggles_watch)) {
                *ret = NULL;
                return EXIT_CODE_OK;
        }

        r = pmd_definition_new(&d);
        if (r < 0)
                return report_error(o, r, NULL);
        r = add_flags(o, caller, toggles_watch, d);
        if (r != EXIT_CODE_OK)
                return r;
        if (o->update_env) {
                r = pmd_definition_set_strv(d, "env", caller->env);
                if (r < 0)
                        return report_error(o, r, NULL);
        }

        *ret = TAKE_PTR(d);
        return EXIT_CODE_OK;
}
