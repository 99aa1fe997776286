/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

static inline bool path_is_absolute(const char *p) {
        return p[0] == '/';
}

/* path if it is absolute, else base/path; "." and ".." and double slashes are folded by the text alone. New memory or NULL. */
char *path_resolve(const char *base, const char *path);

/* What follows the last slash; "" if path ends in one. */
const char *path_basename(const char *path);

/* What the names of an app's log and pid files begin with, as pm2 makes it of the app's. New memory or NULL. */
char *file_name_of_app(const char *name);

bool path_is_directory(const char *path);

/* Makes the directory and its missing parents. 0 or a negative errno; 0 too if it is there already. */
int mkdir_p(const char *path, mode_t mode);

/* Makes the missing parents of the file. */
int mkdir_parents(const char *path, mode_t mode);

/* Looks a command up as execvp() would: a name with a slash as it stands, others in search (a PATH value).
 * 0, or -ENOENT, or -EACCES if it was found but may not be executed. */
int find_executable(const char *name, const char *search, char **ret);

/* That of the program which runs. */
int path_get_own_directory(char **ret);
