/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Environments are strv of "NAME=value"; each name stands once. */

bool env_name_is_valid(const char *s);        /* not empty, no '=', no control character */
bool env_assignment_is_valid(const char *s);

/* The value, which belongs to the environment, or NULL. */
const char *strv_env_get(char *const *env, const char *name);

/* Sets or replaces. 0, -EINVAL for an invalid name, -ENOMEM. */
int strv_env_set(char ***env, const char *name, const char *value);
void strv_env_unset(char **env, const char *name);

/* Adds the assignments of b to a, b winning. 0 or -ENOMEM. */
int strv_env_merge(char ***a, char *const *b);
