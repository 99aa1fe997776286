/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"

/* The saved list: a JSON file {"checksum":"crc32:…","version":1,"apps":[…]}, of which the two before it are kept as
 * PATH.1 and PATH.2. The checksum is over all that follows it in the file. What an entry of "apps" says is the caller's. */

#define STORE_VERSION 1
#define STORE_GENERATIONS 3U

/* Makes apps the newest generation, mode 0600. What is the same as the newest one already is not written again, and
 * a newest one that is damaged does not push out one that is good. 0 or a negative errno; unless the very last step
 * fails (the fsync of the directory), all generations are as before then. */
int store_save(const char *path, json_object *apps);

/* The two halves of it: the text, new memory, and its way to the disk, which may take long and needs nothing of the process's. */
int store_format(json_object *apps, char **ret, size_t *ret_size);
int store_write(const char *path, const char *text, size_t size);

/* What a writer that was killed has left: its files go, and a generation that had lost its name gets it. While nobody writes. */
void store_clean(const char *path);

/* The newest generation that is good. ret_warnings: a line for each that was passed over, and which one was taken;
 * NULL if it was the newest. 0; -ENOENT if there is none at all; -EBADMSG if there are some, but none is good (with
 * *ret_warnings). */
int store_load(const char *path, json_object **ret, char **ret_warnings);
