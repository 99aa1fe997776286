/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Files of settings as systemd's are: "[Section]" and "Key=value" lines, "#" and ";" comments, a backslash at the end of a
 * line continues it. A value that begins with a double quote ends with one and may hold \" \\ \n \r \t \xNN; so there is
 * none that cannot be written. */

typedef struct ConfEntry {
        char *section, *key, *value;
} ConfEntry;

/* In the order of the files; each key of a section stands once. */
typedef struct Conf {
        ConfEntry *entries;
        size_t n, allocated;
} Conf;

void conf_done(Conf *c);
#define _cleanup_conf_ _cleanup_(conf_done)

const char *conf_get(const Conf *c, const char *section, const char *key);

/* Sets or, with NULL, removes. 0, -EINVAL for a section or key that cannot be written, -E2BIG if there are too many, -ENOMEM. */
int conf_set(Conf *c, const char *section, const char *key, const char *value);

/* Adds what the text says; an assignment wins over an earlier one, and an empty one takes that back. Lines that make no sense are
 * left out and told in *faults, "NAME:LINE: …" each; faults is added to. 0 or -ENOMEM. */
int conf_parse(Conf *c, const char *text, const char *name, char **faults);

/* The text that makes the same. New memory or NULL. */
char *conf_format(const Conf *c);

/* Reads one file; it is told in *faults if it cannot be read. 0, -ENOENT (which is no fault), -ENOMEM. */
int conf_read_file(Conf *c, const char *path, char **faults);

/* Reads NAME from the first of the directories that has it, then NAME.d / *.conf of all of them, by the order of their file names;
 * of those with the same file name only that in the first directory. 0 or -ENOMEM. */
int conf_load(Conf *c, char *const *dirs, const char *name, char **faults);
