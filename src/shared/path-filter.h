/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Which paths below a directory are of no interest. Pure text: no file is looked at.
 *
 * A rule is one of these:
 *   name        without a slash, with * ? [] {a,b}: matches one component, anywhere below the directory: "node_modules", "*.log"
 *   path        with a slash (a trailing one does not count), likewise and with **: matches the path below base, or the whole
 *               path if it begins with a slash
 *   /regex/     or /regex/i: an extended regular expression, as far as JavaScript's are the same; searched for in what follows the
 *               directory, with its leading slash: "/src/.git/config"
 *   !rule       what it matches is of interest, whatever the other rules say
 * Who walks a tree asks for each directory on the way: what is below an ignored one is not asked for. */
typedef struct PathFilter PathFilter;

/* 0; -EINVAL with *ret_bad (which belongs to rules) one that cannot be understood; or another negative errno. */
int path_filter_new(char *const *rules, const char *base, PathFilter **ret, const char **ret_bad);
PathFilter *path_filter_free(PathFilter *f);
DEFINE_CLEANUP_FUNC(PathFilter *, path_filter_free);

/* path is absolute; its first root_len bytes are the directory. NULL filters match nothing. */
bool path_filter_matches(const PathFilter *f, const char *path, size_t root_len);

/* Whether there is an unescaped * ? [ or { in it. */
bool string_is_glob(const char *s);
