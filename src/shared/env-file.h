/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Files of environment variables: NAME=value lines, with "export " in front or not. Empty lines and those that begin with '#' mean nothing.
 * A value without quotes ends with its line, spaces around it do not count. In '…' everything is what it is; in "…" a backslash makes
 * '"', '\', '$', '`' themselves, n, r and t the control characters, and a line's end nothing. Quoted values may have several lines;
 * after them nothing but a comment may follow. Variables are not replaced by their values. */

/* 0; -EINVAL with the line (from 1) and a static text for people; -ENOMEM. Later assignments of a name win. */
int env_file_parse(const char *text, size_t size, char ***ret, unsigned *ret_line, const char **ret_why);
