/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"
#include "shared/time-util.h"

/* What an app's watch_options says: the options of the library by which pm2 watches, as far as they mean something to inotify. */
typedef struct WatchOptions {
        bool no_links;     /* followSymlinks: false */
        unsigned levels;   /* of directories: depth and one; 0: all */
        char **ignored;    /* in place of ignore_watch; NULL: not said */
        char *cwd;         /* what paths are relative to; NULL: the app's */
        usec_t stable_for; /* awaitWriteFinish; 0: not said */
} WatchOptions;

/* 0; or -EINVAL with *reterr (unless reterr is NULL) a sentence that begins with the option. Takes what people can say: null is nothing. */
int watch_options_read(json_object *object, WatchOptions *ret, char **reterr);
void watch_options_done(WatchOptions *o);
#define _cleanup_watch_options_ _cleanup_(watch_options_done)

/* Of the saved text; NULL is nothing. */
int watch_options_parse(const char *text, WatchOptions *ret);

/* Which options have no effect, and why: *ret is new memory, a line each; NULL if all have, or object is none. 0 or -ENOMEM. */
int watch_options_notes(json_object *object, char **ret);
