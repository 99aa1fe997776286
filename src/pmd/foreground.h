/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/instance.h"

/* "pmd --foreground": a keeper, which may be process 1, a pmd whose apps write to our standard output, and "pmctl start" once, because ecosystem
 * files are not for pmd to evaluate. */

typedef struct Foreground {
        const char *argv0;
        const char *runner;    /* NULL: the default */
        const char *log_level;
        bool auto_exit;        /* end when the apps have ended */
        char *const *words;    /* for "pmctl start" */
} Foreground;

/* Becomes the keeper. A negative errno if that fails; it has been logged. */
int foreground_exec(const Instance *i, const Foreground *f);
