/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/time-util.h"

/* Tells that files have changed, by inotify. A Watcher is one inotify instance, which all Watches share; it opens it with the first
 * of them. Trees are read a few milliseconds at a time, below everything else the event loop has to do; afterwards they cost nothing
 * until something happens.
 *
 * A file has changed when it was closed after writing, made, removed or renamed. Directories that come are followed, through symbolic
 * links too, those that go are forgotten. */
typedef struct Watcher Watcher;
typedef struct Watch Watch;

int watcher_new(sd_event *event, Watcher **ret);
Watcher *watcher_free(Watcher *w); /* its watches are gone */
DEFINE_CLEANUP_FUNC(Watcher *, watcher_free);

typedef struct WatchSpec {
        const char *base;       /* absolute directory, which the rest is relative to */
        char *const *paths;     /* directories, files and globs, which need not exist yet; none: base */
        char *const *ignore;    /* rules of path-filter.h; none: dot files and node_modules */
        char *const *own_files; /* absolute paths of log and pid files, which do not count, nor do rotated logs and what is below */
        usec_t delay;           /* changes this close to each other count once; 100 ms at least */
        unsigned levels;        /* of directories below each path, itself included; 0: all */
        bool no_links;          /* symbolic links to directories are not followed */
} WatchSpec;

/* path: one that has changed, relative to base if it is below. The watch may be freed from within. */
typedef void (*watch_changed_t)(const char *path, void *userdata);

/* watch_fault() has something new to tell. */
typedef void (*watch_faulty_t)(void *userdata);

/* 0; -EINVAL with *ret_bad (which belongs to the spec) a rule that cannot be understood; or another negative errno. What the kernel
 * refuses is no error but a fault. */
int watch_new(Watcher *w, const WatchSpec *spec, watch_changed_t changed, watch_faulty_t faulty, void *userdata, Watch **ret,
              const char **ret_bad);
Watch *watch_free(Watch *w);
DEFINE_CLEANUP_FUNC(Watch *, watch_free);

/* Nothing is told before that much time has passed; what has changed until then is told at its end. */
void watch_hold(Watch *w, usec_t time);

/* Why not everything is watched, in words (static); NULL if everything is. */
const char *watch_fault(const Watch *w);

/* Whether a part of the tree has yet to be read. */
bool watch_is_scanning(const Watch *w);
size_t watch_n_directories(const Watch *w);
