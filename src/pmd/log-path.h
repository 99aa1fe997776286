/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Log files are named by users, and opened by a pmd that may be root; with whose rights is the caller's choice, see file-user.h. */

/* Opens the directory that the file is in, as O_PATH, making what is missing with mode 0750. The path is absolute. Every step is taken by
 * itself: a symlink is followed only if it is root's or that of the user we are here, so that nobody else sends us elsewhere. */
int log_path_open_parent(const char *path, uid_t uid);

/* Opens the file itself for appending, and makes it with mode 0640. -EMLINK: it is root's, and has a second name that somebody may have
 * given it to have us write into it. */
int log_path_open(int dir_fd, const char *name, uid_t uid);
