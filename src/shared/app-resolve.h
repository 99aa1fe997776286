/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* The questions about files that turn a definition into something to execute; used by app_config_finish() only. */

/* The file to run for an absolute path: itself, or for a directory the "main" of its package.json, else its index.js.
 * 0, -ENOENT (also for a directory without these), -EINVAL for what is no regular file, or another negative errno of stat(). */
int script_file(const char *path, char **ret);

/* The interpreter for a script: by extension (PM2-compatible table), else "none" for a binary or a script with a #! line that
 * is executable, else "node". New memory. 0 or a negative errno of reading the file. */
int interpreter_for_script(const char *path, char **ret);

/* "version" of the nearest package.json in the script's directory or above, or "N/A". */
int version_of_script(const char *path, char **ret);

/* Splits as pm2 does: quotes count only where a word begins, and behind NAME= where they stay; there are no empty words, and a backslash is
 * one. 0 or -ENOMEM. */
int split_args(const char *s, char ***ret);
