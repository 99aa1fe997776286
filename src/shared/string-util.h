/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

#define streq(a, b) (strcmp((a), (b)) == 0)

static inline bool isempty(const char *s) {
        return !s || !*s;
}
static inline const char *strempty(const char *s) {
        return s ?: "";
}
static inline const char *strna(const char *s) {
        return s ?: "n/a";
}
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

/* What follows the prefix, or NULL if s does not begin with it. */
char *startswith(const char *s, const char *prefix);
char *endswith(const char *s, const char *suffix);

/* Concatenates its arguments up to NULL into new memory. */
char *strjoin_internal(const char *first, ...) _sentinel_;
#define strjoin(...) strjoin_internal(__VA_ARGS__, NULL)

/* printf into new memory; NULL if memory ran out. */
char *strprintf(const char *format, ...) _printf_(1, 2);

/* Replaces *p by a copy of s (NULL allowed). 0, or -ENOMEM with *p untouched. */
int free_and_strdup(char **p, const char *s);

/* How many letters have to be put in, taken out, replaced, or swapped with the next, to make a the first n bytes of b; case does not matter. SIZE_MAX
 * if one of them is longer than STRING_DISTANCE_MAX, which is no word that somebody mistyped. */
#define STRING_DISTANCE_MAX 64U
size_t string_distance(const char *a, const char *b, size_t n);

bool utf8_is_valid(const char *s, size_t n);

/* Whether s holds a byte below 0x20 or 0x7f. */
bool string_has_cc(const char *s);

/* A copy in which every control character, and every byte that is not valid UTF-8, is written as \xNN: text of an app
 * or a caller that goes to a terminal or a log. */
char *string_escape_cc(const char *s);
