/* SPDX-License-Identifier: MIT */
#pragma once

#include <dirent.h>
#include <json-c/linkhash.h>

#include "pmd/watch.h"
#include "shared/list.h"
#include "shared/path-filter.h"

/* What watch.c (watches, roots, events) and watch-scan.c (directories, and how they are read) share; nobody else includes it. */

typedef struct WatchDir WatchDir;
typedef struct WatchNode WatchNode;
typedef struct WatchRoot WatchRoot;

/* A directory in the kernel's eyes. Several watches may be below it, and one watch descriptor is all they get. */
struct WatchNode {
        int wd;
        bool removed; /* the kernel was told; IN_IGNORED follows */
        LIST_HEAD(WatchDir, dirs);
        LIST_FIELDS(WatchNode, unused);
};

/* The directory as one watch sees it. */
struct WatchDir {
        Watch *watch;
        WatchRoot *root;
        WatchNode *node;
        WatchDir *parent; /* NULL: the root's */
        unsigned level;   /* 1: the root's */
        LIST_HEAD(WatchDir, children);
        LIST_FIELDS(WatchDir, siblings);
        LIST_FIELDS(WatchDir, same_node);
        LIST_FIELDS(WatchDir, scan_queue);
        bool queued;
        bool doubtful;  /* events were lost: it may be another one by now */
        bool is_new;    /* came after the watch: what is found in it has changed */
        bool has_links; /* a child is a symbolic link, whose removal does not look like that of a directory */
        char name[];    /* without a parent: the absolute path */
};

/* What was asked for. Where there is no such directory, the nearest one above is watched for what is missing. */
struct WatchRoot {
        Watch *watch;
        char *path;       /* absolute; of a glob: what comes before it */
        PathFilter *only; /* the glob; NULL: everything below */
        WatchDir *dir;
        char *awaited;    /* what in dir matters; NULL: everything, dir is what was asked for */
        LIST_FIELDS(WatchRoot, roots);
};

struct Watch {
        Watcher *watcher;
        char *base;
        PathFilter *ignore;
        char **own_files;
        usec_t delay;
        unsigned levels; /* UINT_MAX: all */
        bool no_links;
        LIST_HEAD(WatchRoot, roots);
        size_t n_dirs;
        size_t n_queued; /* of them */
        const char *fault;

        watch_changed_t changed;
        watch_faulty_t faulty;
        void *userdata;

        sd_event_source *timer_source;
        char *changed_path; /* the first; NULL: the timer is not armed */
        usec_t changed_at, not_before; /* CLOCK_MONOTONIC */
        LIST_FIELDS(Watch, watches);
};

struct Watcher {
        sd_event *event;
        int fd;
        sd_event_source *io_source, *scan_source, *overflow_source;
        struct lh_table *nodes; /* watch descriptor → WatchNode */
        LIST_HEAD(Watch, watches);
        LIST_HEAD(WatchDir, scan_queue);
        LIST_HEAD(WatchNode, unused_nodes);
        WatchDir *scan_dir; /* the one that is being read */
        DIR *scan_stream;
};

/* watch.c */
bool watch_ignores(const WatchDir *parent, const char *path);
void watch_report(WatchDir *parent, const char *path);
void watch_set_fault(Watch *w, const char *fault);
void watch_root_lost(WatchRoot *root);

/* watch-scan.c. path: of the directory itself. *ret is NULL if it cannot be watched, or is already. 0 or -ENOMEM. */
int watch_dir_add(WatchRoot *root, WatchDir *parent, const char *name, const char *path, bool is_new, WatchDir **ret);
WatchDir *watch_dir_free(WatchDir *d);
char *watch_dir_path(const WatchDir *d);
WatchDir *watch_dir_find_child(WatchDir *d, const char *name);
WatchNode *watch_node_get(Watcher *w, int wd);
void watch_node_forget(Watcher *w, WatchNode *n); /* has no dirs */
void watch_dir_doubt(WatchDir *d); /* looks at it and all below again */
void watch_scan_stop(Watcher *w);
int watch_scan_init(Watcher *w);
