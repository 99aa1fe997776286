/* SPDX-License-Identifier: MIT */
#include <fcntl.h>

#include "shared/app-config.h"

#include "shared/app-option.h"
#include "shared/env-file.h"
#include "shared/env-util.h"
#include "shared/fileio.h"
#include "shared/strv.h"

#define ENV_FILE_SIZE_MAX (1U << 20)

static bool is_filtered(const AppConfig *c, const char *assignment) {
        _cleanup_free_ char *name = NULL;

        switch (c->filter_env_mode) {
        case FILTER_ENV_ALL:
                return true;

        case FILTER_ENV_NAME:
                return strncmp(assignment, c->filter_env[0], strlen(c->filter_env[0])) == 0 &&
                       assignment[strlen(c->filter_env[0])] == '=';

        case FILTER_ENV_PARTS:
                name = strndup(assignment, strcspn(assignment, "="));
                STRV_FOREACH(part, c->filter_env)
                        if (name && strstr(name, *part))
                                return true;
                return false;

        default:
                return false;
        }
}

static int add_filtered(const AppConfig *c, char ***env, char *const *caller) {
        STRV_FOREACH(e, caller) {
                int r;

                if (is_filtered(c, *e))
                        continue;
                r = strv_extend(env, *e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_file(char ***env, const char *path, bool optional, char **reterr) {
        _cleanup_strv_free_ char **assignments = NULL;
        _cleanup_free_ char *text = NULL;
        const char *why;
        unsigned line;
        size_t size;
        int r;

        r = read_full_file_at(AT_FDCWD, path, ENV_FILE_SIZE_MAX, &text, &size);
        if (r == -ENOENT && optional)
                return 0;
        if (r < 0)
                return config_fault(reterr, r, "env_file: '%s' cannot be read: %m", path);

        r = env_file_parse(text, size, &assignments, &line, &why);
        if (r == -EINVAL)
                return config_fault(reterr, r, "env_file: %s:%u: %s", path, line, why);
        if (r < 0)
                return r;
        return strv_env_merge(env, assignments);
}

/* PWD is where the app runs, not where the caller was. */
static int add_place_and_files(const AppConfig *c, char ***env, const char *base, char **reterr) {
        _cleanup_free_ char *cwd = NULL;
        int r;

        if (!base || (!c->cwd && strv_isempty(c->env_file)))
                return 0;

        r = config_resolve_path(*env, base, "cwd", c->cwd ?: ".", &cwd, reterr);
        if (r < 0)
                return r;
        if (c->cwd)
                r = strv_env_set(env, "PWD", cwd);
        if (r < 0)
                return r;

        STRV_FOREACH(f, c->env_file) {
                bool optional = **f == '-';
                _cleanup_free_ char *path = NULL;

                r = config_resolve_path(*env, cwd, "env_file", *f + optional, &path, reterr);
                if (r < 0)
                        return r;
                r = add_file(env, path, optional, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* So that the caller's part can be replaced later. */
static int note_own_env(AppConfig *c, char **reterr) {
        json_object *names = strv_isempty(c->env) ? NULL : json_object_new_array();
        int r;

        if (!names && !strv_isempty(c->env))
                return -ENOMEM;
        STRV_FOREACH(e, c->env)
                (void) json_object_array_add(names, json_object_new_string_len(*e, (int) strcspn(*e, "=")));

        r = app_config_set(c, "own_env", names, reterr);
        json_object_put(names);
        return r;
}

int app_config_make_env(AppConfig *c, char *const *caller, const char *base, char **reterr) {
        _cleanup_strv_free_ char **env = NULL;
        int r;

        r = add_filtered(c, &env, caller);
        if (r < 0)
                return r;
        r = add_place_and_files(c, &env, base, reterr);
        if (r < 0)
                return r;
        r = note_own_env(c, reterr);
        if (r < 0)
                return r;
        r = strv_env_merge(&env, c->env);
        if (r < 0)
                return r;

        strv_free(c->env);
        c->env = TAKE_PTR(env);
        return 0;
}
