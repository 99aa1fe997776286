/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/app-config.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int json_set_string(json_object *object, const char *key, const char *value) {
        json_object *s = json_object_new_string(value);

        if (!s || json_object_object_add(object, key, s) < 0) {
                json_object_put(s);
                return -ENOMEM;
        }
        return 0;
}

json_object *definition_get_option(json_object *definition, const char *option) {
        const AppOption *o = app_option_find(option);
        json_object *found = NULL;

        json_object_object_foreach(definition, key, value)
                if (value && (streq(key, option) || (o && app_option_find(key) == o)))
                        found = value;
        return found;
}

bool json_is_text(json_object *o) {
        return IN_SET(json_object_get_type(o), json_type_string, json_type_int, json_type_double);
}

int definition_find_name(json_object *definition, char **ret) {
        json_object *name = definition_get_option(definition, "name"), *script = definition_get_option(definition, "script");
        json_object *cwd = definition_get_option(definition, "cwd");
        _cleanup_free_ char *here = NULL, *base = NULL;

        if (name && json_is_text(name) && !isempty(json_object_get_string(name))) {
                *ret = strdup(json_object_get_string(name));
                return *ret ? 0 : -ENOMEM;
        }
        if (!script || !json_object_is_type(script, json_type_string)) {
                *ret = NULL;
                return 0;
        }

        here = get_current_dir_name();
        base = path_resolve(here ?: "/", json_object_is_type(cwd, json_type_string) ? json_object_get_string(cwd) : ".");
        if (!base)
                return -ENOMEM;
        return app_name_from_script(json_object_get_string(script), base, ret);
}

json_object *definition_take_attribute(json_object *definition, const char *snake, const char *camel) {
        json_object *value = NULL;

        if (!json_object_object_get_ex(definition, snake, &value))
                (void) json_object_object_get_ex(definition, camel, &value);
        value = json_object_get(value);
        json_object_object_del(definition, snake);
        json_object_object_del(definition, camel);
        return value;
}

bool definition_is_env_key(const char *key) {
        return startswith(key, "env_") && !app_option_find(key);
}

int definition_lay_over_env(json_object *env, json_object *over) {
        if (json_object_is_type(over, json_type_object)) {
                json_object_object_foreach(over, name, value)
                        if (json_object_object_add(env, name, json_object_get(value)) < 0)
                                return -ENOMEM;
                return 0;
        }
        if (!json_object_is_type(over, json_type_array))
                return over ? -EINVAL : 0;

        for (size_t i = 0; i < json_object_array_length(over); i++) {
                json_object *item = json_object_array_get_idx(over, i);
                const char *s = json_object_is_type(item, json_type_string) ? json_object_get_string(item) : NULL;
                const char *equals = s ? strchr(s, '=') : NULL;
                _cleanup_free_ char *name = equals ? strndup(s, (size_t) (equals - s)) : NULL;
                int r;

                if (!equals)
                        return -EINVAL;
                r = name ? json_set_string(env, name, equals + 1) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

int definition_drop_envs(json_object *definition) {
        _cleanup_strv_free_ char **keys = NULL;
        int r;

        json_object_object_foreach(definition, key, value) {
                (void) value;
                r = definition_is_env_key(key) ? strv_extend(&keys, key) : 0;
                if (r < 0)
                        return r;
        }
        STRV_FOREACH(k, keys)
                json_object_object_del(definition, *k);
        return 0;
}

static const struct {
        const char *snake, *camel, *variable;
} serve_attributes[] = {
        { "path", "path", "PM2_SERVE_PATH" },
        { "port", "port", "PM2_SERVE_PORT" },
        { "host", "host", "PM2_SERVE_HOST" },
        { "spa", "spa", "PM2_SERVE_SPA" },
        { "homepage", "homepage", "PM2_SERVE_HOMEPAGE" },
        { "ftp", "ftp", "PM2_SERVE_FTP" },
        { "basic_auth", "basicAuth", "PM2_SERVE_BASIC_AUTH" },
        { "basic_auth_username", "basicAuthUsername", "PM2_SERVE_BASIC_AUTH_USERNAME" },
        { "basic_auth_password", "basicAuthPassword", "PM2_SERVE_BASIC_AUTH_PASSWORD" },
};

int definition_make_serve(json_object *site) {
        _cleanup_json_ json_object *env = json_object_new_object();
        int r;

        if (!env)
                return -ENOMEM;
        r = definition_lay_over_env(env, json_object_object_get(site, "env"));
        if (r < 0)
                return r;

        for (size_t i = 0; i < ELEMENTSOF(serve_attributes); i++) {
                _cleanup_json_ json_object *value = definition_take_attribute(site, serve_attributes[i].snake, serve_attributes[i].camel);

                r = value ? json_set_string(env, serve_attributes[i].variable, json_object_get_string(value)) : 0;
                if (r < 0)
                        return r;
        }

        if (!definition_get_option(site, "name")) {
                json_object *port = json_object_object_get(env, "PM2_SERVE_PORT");
                _cleanup_free_ char *name = strjoin("static-page-server-", port ? json_object_get_string(port) : "8080");

                r = name ? json_set_string(site, "name", name) : -ENOMEM;
                if (r < 0)
                        return r;
        }

        if (json_object_object_add(site, "env", env) < 0)
                return -ENOMEM;
        TAKE_PTR(env);
        return json_set_string(site, "script", "serve");
}
