/* SPDX-License-Identifier: MIT */
#include "shared/app-config-saved.h"

#include "shared/app-option.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static int add_string(json_object *object, const char *key, const char *s) {
        return s ? json_add(object, key, json_object_new_string(s)) : 0;
}

static int add_strv(json_object *object, const char *key, char *const *l) {
        json_object *array = json_object_new_array();

        if (!array)
                return -ENOMEM;
        STRV_FOREACH(s, l) {
                json_object *e = json_object_new_string(*s);

                if (!e || json_object_array_add(array, e) < 0) {
                        json_object_put(e);
                        json_object_put(array);
                        return -ENOMEM;
                }
        }
        return json_add(object, key, array);
}

static int add_resolved(json_object *object, const AppConfig *c) {
        json_object *o = json_object_new_object();
        int r;

        r = json_add(object, "resolved", o);
        if (r < 0)
                return r;

        RET_GATHER(r, add_string(o, "name", c->name));
        RET_GATHER(r, add_string(o, "exec_path", c->exec_path));
        RET_GATHER(r, json_add(o, "shell", json_object_new_boolean(c->shell)));
        RET_GATHER(r, add_string(o, "interpreter", c->interpreter));
        RET_GATHER(r, add_string(o, "interpreter_path", c->interpreter_path));
        RET_GATHER(r, add_string(o, "exec_mode", exec_mode_to_string(c->exec_mode)));
        RET_GATHER(r, json_add(o, "instances", json_object_new_int(c->instances)));
        RET_GATHER(r, json_add(o, "merge_logs", json_object_new_boolean(c->merge_logs)));
        RET_GATHER(r, add_string(o, "version", c->version));
        return r;
}

int app_config_save(const AppConfig *c, json_object **ret) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        json_object *definition;
        int r;

        if (!object)
                return -ENOMEM;

        r = app_config_to_json(c, &definition);
        if (r >= 0)
                r = json_add(object, "definition", definition);
        if (r >= 0)
                r = add_strv(object, "environment", c->env);
        if (r >= 0)
                r = add_resolved(object, c);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(object);
        return 0;
}

/* ---- restoring ---- */

static int set_given(AppConfig *c, json_object *saved, char **ret_notes, char **reterr) {
        json_object *definition = json_get(saved, "definition", json_type_object);
        json_object *environment = json_get(saved, "environment", json_type_array);
        int r;

        if (!definition || !environment)
                return config_fault(reterr, -EINVAL, "the definition or the environment is missing");

        r = app_config_set_all(c, definition, ret_notes);
        if (r == -ENOMEM)
                return r;
        return app_config_set(c, "env", environment, reterr);
}

/* As finish_shell() does it. */
static int put_shell(AppConfig *c) {
        _cleanup_strv_free_ char **args = NULL;
        int r;

        r = strv_extend(&args, "-c");
        if (r >= 0)
                r = strv_extend(&args, c->script);
        STRV_FOREACH(a, c->args)
                if (r >= 0)
                        r = strv_extend(&args, *a);
        if (r < 0)
                return r;

        strv_free(c->args);
        c->args = TAKE_PTR(args);
        c->shell = true;
        return 0;
}

static int set_resolved(AppConfig *c, json_object *saved, char **reterr) {
        json_object *o = json_get(saved, "resolved", json_type_object);
        const char *name = json_get_string(o, "name"), *exec_path = json_get_string(o, "exec_path");
        const char *interpreter = json_get_string(o, "interpreter"), *version = json_get_string(o, "version");
        ExecMode mode = exec_mode_from_string(json_get_string(o, "exec_mode"));
        int instances = json_object_get_int(json_get(o, "instances", json_type_int));

        if (!name || app_name_fault(name) || !c->script || !c->cwd || !exec_path || !interpreter || !version ||
            mode < 0 || instances < 1)
                return config_fault(reterr, -EINVAL, "it does not say what the definition meant");

        if (free_and_strdup(&c->name, name) < 0 ||
            free_and_strdup(&c->exec_path, exec_path) < 0 ||
            free_and_strdup(&c->interpreter, interpreter) < 0 ||
            free_and_strdup(&c->interpreter_path, json_get_string(o, "interpreter_path")) < 0 ||
            free_and_strdup(&c->version, version) < 0)
                return -ENOMEM;
        c->exec_mode = mode;
        c->instances = instances;
        c->merge_logs = json_object_get_boolean(json_get(o, "merge_logs", json_type_boolean));

        return json_object_get_boolean(json_get(o, "shell", json_type_boolean)) ? put_shell(c) : 0;
}

int app_config_restore(
                json_object *saved, AppConfig **ret, int *ret_error, char **ret_fault, char **ret_notes, char **reterr) {

        _cleanup_app_config_unref_ AppConfig *config = NULL, *finished = NULL;
        _cleanup_free_ char *notes = NULL, *fault = NULL;
        int r, error;

        r = app_config_new(&config);
        if (r < 0)
                return r;
        r = set_given(config, saved, &notes, reterr);
        if (r < 0)
                return r;

        r = app_config_copy(config, &finished);
        if (r < 0)
                return r;
        error = app_config_finish(finished, NULL, &fault);
        if (error == -ENOMEM)
                return error;
        if (error < 0) {
                r = set_resolved(config, saved, reterr);
                if (r < 0)
                        return r;
        }

        *ret = error < 0 ? TAKE_PTR(config) : TAKE_PTR(finished);
        *ret_error = error;
        *ret_fault = TAKE_PTR(fault);
        *ret_notes = TAKE_PTR(notes);
        return 0;
}
