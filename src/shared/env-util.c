/* SPDX-License-Identifier: MIT */
#include "shared/env-util.h"

#include "shared/string-util.h"
#include "shared/strv.h"

static bool env_prefix_is_valid(const char *s, size_t n) {
        if (n == 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) s[i] < 0x20 || s[i] == 0x7f || s[i] == '=')
                        return false;
        return true;
}

bool env_name_is_valid(const char *s) {
        return env_prefix_is_valid(s, strlen(s));
}

bool env_assignment_is_valid(const char *s) {
        const char *eq = strchr(s, '=');

        return eq && env_prefix_is_valid(s, (size_t) (eq - s));
}

static char **env_find(char *const *env, const char *name, size_t n) {
        /* Most names differ in their first letter already, and environments are searched often. */
        STRV_FOREACH(e, env)
                if (**e == *name && strncmp(*e, name, n) == 0 && (*e)[n] == '=')
                        return (char **) e;
        return NULL;
}

const char *strv_env_get(char *const *env, const char *name) {
        size_t n = strlen(name);
        char **e = env_find(env, name, n);

        return e ? *e + n + 1 : NULL;
}

static int env_replace_consume(char ***env, char *assignment, size_t name_length) {
        char **e;

        if (!assignment)
                return -ENOMEM;

        e = env_find(*env, assignment, name_length);
        if (!e)
                return strv_consume(env, assignment);

        free(*e);
        *e = assignment;
        return 0;
}

int strv_env_set(char ***env, const char *name, const char *value) {
        if (!env_name_is_valid(name))
                return -EINVAL;
        return env_replace_consume(env, strjoin(name, "=", value), strlen(name));
}

void strv_env_unset(char **env, const char *name) {
        char **e = env_find(env, name, strlen(name));

        if (!e)
                return;
        free(*e);
        for (; *e; e++)
                *e = e[1];
}

int strv_env_merge(char ***a, char *const *b) {
        STRV_FOREACH(e, b) {
                const char *eq = strchr(*e, '=');
                int r;

                if (!eq)
                        continue;
                r = env_replace_consume(a, strdup(*e), (size_t) (eq - *e));
                if (r < 0)
                        return r;
        }
        return 0;
}
