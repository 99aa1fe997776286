/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Brings the shapes of a document into a list of definitions. Faults are collected, so that the user sees all at once. */

typedef struct Work {
        Ecosystem *ecosystem;
        size_t n_allocated;
        const char *env_name; /* NULL: none */
        char **only;          /* NULL: all */
        char **only_unseen;
        json_object *deploy_env;
        bool env_defined;
        char **faults;
} Work;

static void work_done(Work *w) {
        strv_free(w->only);
        strv_free(w->only_unseen);
        strv_free(w->faults);
}

/* "apps[2].env_test: it is …". 0 or -ENOMEM. */
static int _printf_(4, 5) add_fault(Work *w, const char *path, const char *key, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        const char *dot = isempty(path) || isempty(key) ? "" : ".";
        va_list ap;
        int k;

        va_start(ap, format);
        k = vasprintf(&text, format, ap);
        va_end(ap);
        if (k < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return strv_consume(&w->faults, strjoin(path, dot, strempty(key), isempty(path) && isempty(key) ? "" : ": ", text));
}

static const char *type_in_words(json_object *o) {
        switch (json_object_get_type(o)) {
        case json_type_null:
                return "null";
        case json_type_boolean:
                return "a boolean";
        case json_type_string:
                return "a text";
        case json_type_array:
                return "a list";
        case json_type_object:
                return "an object";
        default:
                return "a number";
        }
}

/* ---- names ---- */

static int take_env_suffix(Work *w, EcosystemApp *app, bool *ret) {
        _cleanup_json_ json_object *value = definition_take_attribute(app->definition, "append_env_to_name", "appendEnvToName");
        int k = 0;

        if (json_object_is_type(value, json_type_boolean))
                k = json_object_get_boolean(value);
        else if (value)
                k = json_is_text(value) ? parse_boolean(json_object_get_string(value)) : -EINVAL;

        *ret = k > 0 && w->env_name;
        if (k < 0)
                return add_fault(w, app->path, "append_env_to_name", "it is neither true nor false");
        return 0;
}

/* "prefix:name-env" */
static int name_app(Work *w, EcosystemApp *app, const char *plain, char **ret) {
        _cleanup_json_ json_object *prefix = definition_take_attribute(app->definition, "name_prefix", "namePrefix");
        bool has_prefix, suffix;
        char *name;
        int r;

        r = take_env_suffix(w, app, &suffix);
        if (r < 0)
                return r;
        if (prefix && !json_is_text(prefix)) {
                *ret = NULL;
                return add_fault(w, app->path, "name_prefix", "it is %s, not a text", type_in_words(prefix));
        }

        has_prefix = prefix && !isempty(json_object_get_string(prefix));
        name = plain ? strjoin(has_prefix ? json_object_get_string(prefix) : "", has_prefix ? ":" : "", plain,
                               suffix ? "-" : "", suffix ? w->env_name : "") : NULL;
        if (plain && !name)
                return -ENOMEM;

        /* A name that follows from the script need not be written down. */
        if (name && (!streq(name, plain) || json_is_text(definition_get_option(app->definition, "name")))) {
                r = json_set_string(app->definition, "name", name);
                if (r < 0) {
                        free(name);
                        return r;
                }
        }
        *ret = name;
        return 0;
}

/* ---- --env ---- */

static int lay_over_from(Work *w, const EcosystemApp *app, const char *key, json_object *env) {
        json_object *over = json_object_object_get(app->definition, key);
        int r;

        r = definition_lay_over_env(env, over);
        if (r == -EINVAL)
                return add_fault(w, app->path, key, "it is %s, not an object or a list of NAME=value", type_in_words(over));
        return r;
}

/* As pm2: null in env_NAME takes the variable away, while in env it is a text like any other. */
static void take_away_nulls(json_object *env, json_object *over) {
        if (!json_object_is_type(over, json_type_object))
                return;
        json_object_object_foreach(over, name, value)
                if (!value)
                        json_object_object_del(env, name);
}

/* deploy.NAME.env < env < env_NAME */
static int merge_env(Work *w, EcosystemApp *app) {
        _cleanup_json_ json_object *env = NULL;
        _cleanup_free_ char *key = NULL;
        bool has_env;
        int r;

        if (!w->env_name)
                return 0;
        env = json_object_new_object();
        key = strjoin("env_", w->env_name);
        if (!env || !key)
                return -ENOMEM;

        has_env = definition_is_env_key(key) && json_object_object_get(app->definition, key);
        w->env_defined = w->env_defined || has_env;
        if (!has_env && !w->deploy_env)
                return 0;

        r = definition_lay_over_env(env, w->deploy_env);
        if (r >= 0)
                r = lay_over_from(w, app, "env", env);
        if (r >= 0 && has_env)
                r = lay_over_from(w, app, key, env);
        if (has_env)
                take_away_nulls(env, json_object_object_get(app->definition, key));
        if (r >= 0 && json_object_object_add(app->definition, "env", json_object_get(env)) < 0)
                r = -ENOMEM;
        return r;
}

/* ---- the apps ---- */

static void see_name(Work *w, const char *name) {
        char **to = w->only_unseen;

        STRV_FOREACH(s, w->only_unseen)
                if (streq_ptr(*s, name))
                        free(*s);
                else
                        *to++ = *s;
        if (to)
                *to = NULL;
}

/* --only means the name that the file has, or the one that the app gets. */
static bool is_wanted(Work *w, const char *plain, const char *name) {
        if (!w->only)
                return true;

        see_name(w, plain);
        see_name(w, name);
        return (plain && strv_contains(w->only, plain)) || (name && strv_contains(w->only, name));
}

static void app_done(EcosystemApp *app) {
        json_object_put(app->definition);
        free(app->path);
}

/* Takes over a definition that stands at a path of the file; both are NULL if memory ran out. */
static int add_app(Work *w, json_object *definition, char *path) {
        _cleanup_(app_done) EcosystemApp app = { definition, path };
        _cleanup_free_ char *plain = NULL, *name = NULL;
        Ecosystem *e = w->ecosystem;
        int r;

        if (!path)
                return -ENOMEM;
        if (!json_object_is_type(definition, json_type_object))
                return add_fault(w, path, NULL, "it is %s, not an object that describes an app", type_in_words(definition));

        r = definition_find_name(definition, &plain);
        if (r >= 0)
                r = name_app(w, &app, plain, &name);
        if (r < 0)
                return r;
        if (!is_wanted(w, plain, name))
                return 0;

        r = merge_env(w, &app);
        if (r >= 0)
                r = definition_drop_envs(definition);
        if (r < 0)
                return r;

        if (!GREEDY_REALLOC(e->apps, w->n_allocated, e->n_apps + 1))
                return -ENOMEM;
        e->apps[e->n_apps++] = TAKE_GENERIC(app, (EcosystemApp) {});
        return 0;
}

/* A list of apps, or one. */
static int add_apps(Work *w, json_object *apps, const char *path) {
        int r = 0;

        if (!json_object_is_type(apps, json_type_array))
                return add_app(w, json_object_get(apps), strdup(path));

        for (size_t i = 0; r >= 0 && i < json_object_array_length(apps); i++)
                r = add_app(w, json_object_get(json_object_array_get_idx(apps, i)), strprintf("%s[%zu]", path, i));
        return r;
}

/* "static": directories to serve */
static int add_sites(Work *w, json_object *sites) {
        if (!json_object_is_type(sites, json_type_array))
                return sites ? add_fault(w, "static", NULL, "it is %s, not a list", type_in_words(sites)) : 0;

        for (size_t i = 0; i < json_object_array_length(sites); i++) {
                json_object *site = json_object_array_get_idx(sites, i);
                _cleanup_free_ char *path = strprintf("static[%zu]", i);
                int r = 0;

                if (path && json_object_is_type(site, json_type_object))
                        r = definition_make_serve(site);
                if (r == -EINVAL)
                        r = add_fault(w, path, "env", "it is neither an object nor a list of NAME=value");
                if (r >= 0)
                        r = add_app(w, json_object_get(site), TAKE_PTR(path));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- the document ---- */

/* An object that has no list of apps is an app itself, unless it only says what to serve or to deploy. */
static int add_object(Work *w, json_object *document) {
        static const char *const lists[] = { "apps", "pm2" };
        json_object *sites = json_object_object_get(document, "static"), *apps;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                if (json_object_object_get_ex(document, lists[i], &apps)) {
                        r = add_apps(w, apps, lists[i]);
                        return r < 0 ? r : add_sites(w, sites);
                }

        r = add_sites(w, sites);
        if (r < 0)
                return r;
        json_object_object_del(document, "static");
        json_object_object_del(document, "deploy");
        return json_object_object_length(document) > 0 ? add_app(w, json_object_get(document), strdup("")) : 0;
}

static int take_deploy(Work *w, json_object *document) {
        json_object *deploy = json_object_object_get(document, "deploy"), *place;

        if (!deploy)
                return 0;
        if (!json_object_is_type(deploy, json_type_object))
                return add_fault(w, "deploy", NULL, "it is %s, not an object", type_in_words(deploy));
        w->ecosystem->deploy = json_object_get(deploy);

        place = w->env_name ? json_object_object_get(deploy, w->env_name) : NULL;
        if (!json_object_is_type(place, json_type_object))
                return 0;
        w->deploy_env = json_object_object_get(place, "env");
        if (w->deploy_env && !json_object_is_type(w->deploy_env, json_type_object)) {
                w->deploy_env = NULL;
                return add_fault(w, "deploy", w->env_name, "its env is not an object");
        }
        return 0;
}

static int _printf_(2, 3) add_warning(Work *w, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int k;

        va_start(ap, format);
        k = vasprintf(&text, format, ap);
        va_end(ap);
        if (k < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return strv_consume(&w->ecosystem->warnings, string_escape_cc(text));
}

static int add_warnings(Work *w) {
        int r = 0;

        STRV_FOREACH(name, w->only_unseen)
                if (r >= 0)
                        r = add_warning(w, "--only: %s names no app %s", w->ecosystem->file, *name);
        if (r >= 0 && w->env_name && !w->env_defined && w->ecosystem->n_apps > 0)
                r = add_warning(w, "Environment [%s] is not defined in process file", w->env_name);
        return r;
}

static int report_faults(Work *w, char **reterr) {
        _cleanup_free_ char *text = strv_join(w->faults, "\n");

        if (!text)
                return -ENOMEM;
        return ecosystem_fault(reterr, -EINVAL, "%s", text);
}

int ecosystem_take_document(Ecosystem *e, json_object *document, const char *env_name, const char *only, char **reterr) {
        _cleanup_(work_done) Work w = { .ecosystem = e, .env_name = isempty(env_name) ? NULL : env_name };
        bool is_object = json_object_is_type(document, json_type_object);
        int r;

        if (is_object ? json_object_object_length(document) == 0 : !json_object_is_type(document, json_type_array))
                return ecosystem_fault(reterr, -EINVAL, "it is %s, which describes no app",
                                       is_object ? "an empty object" : type_in_words(document));

        if (only) {
                w.only = strv_split(only, ", ");
                w.only_unseen = strv_copy(w.only);
                if (!w.only || !w.only_unseen)
                        return -ENOMEM;
        }

        r = is_object ? take_deploy(&w, document) : 0;
        if (r >= 0)
                r = is_object ? add_object(&w, document) : add_apps(&w, document, "");
        if (r >= 0 && w.faults)
                return report_faults(&w, reterr);
        return r < 0 ? r : add_warnings(&w);
}
