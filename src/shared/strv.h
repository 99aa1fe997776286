/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* NULL-terminated arrays of strings; NULL is the empty one. */

char **strv_free(char **l);
DEFINE_CLEANUP_FUNC(char **, strv_free);
#define _cleanup_strv_free_ _cleanup_(strv_freep)

size_t strv_length(char *const *l);
char **strv_copy(char *const *l);
bool strv_contains(char *const *l, const char *s);
bool strv_equal(char *const *a, char *const *b);

static inline bool strv_isempty(char *const *l) {
        return !l || !*l;
}

/* Append s: a copy, or s itself, which strv_consume() frees on failure. 0 or -ENOMEM. */
int strv_extend(char ***l, const char *s);
int strv_consume(char ***l, char *s);

/* Joins with a separator; NULL if memory ran out. */
char *strv_join(char *const *l, const char *separator);

/* Splits at any of the bytes in separators, dropping empty pieces. */
char **strv_split(const char *s, const char *separators);

#define STRV_FOREACH(s, l) for (typeof(*(l)) *s = (typeof(*(l)) *) (l); s && *s; s++)
