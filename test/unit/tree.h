/* SPDX-License-Identifier: MIT */
#pragma once

/* A temporary directory of a test, removed when it goes out of scope (and left for a look if an assertion fails). */

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fileio.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

static inline int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static inline void tree_remove(char **dir) {
        if (*dir)
                (void) nftw(*dir, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(*dir);
}

static inline char *tree_new(void) {
        char *dir = strdup("/tmp/pmd-test.XXXXXX");

        if (!dir || !mkdtemp(dir))
                abort();
        return dir;
}

/* Writes a file and the directories above it. Its absolute path, new memory. */
static inline char *tree_write(const char *dir, const char *name, const char *content, size_t size, mode_t mode) {
        char *path = strjoin(dir, "/", name);

        if (!path || mkdir_parents(path, 0755) < 0 || write_file_atomic(path, content, size, mode) < 0)
                abort();
        return path;
}
