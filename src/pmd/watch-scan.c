/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "pmd/watch-internal.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define EVENTS (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

/* Of one watch, so that a link to the root of the file system ends somewhere. */
#define DIRS_MAX ((size_t) 100000)

/* How long the event loop is held up at a time, and how much is done between two looks at the clock. */
#define SCAN_SLICE (2 * USEC_PER_MSEC)
#define SCAN_ENTRIES 64U
#define REMOVE_NODES 32U

/* ---- nodes ---- */

static void *node_key(int wd) {
        return (void *) (intptr_t) wd;
}

WatchNode *watch_node_get(Watcher *w, int wd) {
        void *n;

        return lh_table_lookup_ex(w->nodes, node_key(wd), &n) ? n : NULL;
}

static WatchNode *node_get_or_add(Watcher *w, int wd) {
        WatchNode *n = watch_node_get(w, wd);

        if (n)
                return n;
        n = new0(WatchNode, 1);
        if (!n)
                return NULL;
        n->wd = wd;
        if (lh_table_insert(w->nodes, node_key(wd), n) < 0)
                return mfree(n);
        LIST_PREPEND(unused, w->unused_nodes, n);
        return n;
}

static bool node_is_unused(const WatchNode *n) {
        return !n->dirs && !n->removed;
}

void watch_node_forget(Watcher *w, WatchNode *n) {
        assert(!n->dirs);
        if (node_is_unused(n))
                LIST_REMOVE(unused, w->unused_nodes, n);
        (void) lh_table_delete(w->nodes, node_key(n->wd));
        free(n);
}

static void node_add_dir(Watcher *w, WatchNode *n, WatchDir *d) {
        if (node_is_unused(n))
                LIST_REMOVE(unused, w->unused_nodes, n);
        LIST_PREPEND(same_node, n->dirs, d);
        d->node = n;
}

static void wake_scan(Watcher *w) {
        int r;

        r = sd_event_source_set_enabled(w->scan_source, SD_EVENT_ON);
        if (r < 0 && r != -ESTALE)
                log_warning_errno(r, "Failed to schedule the reading of watched directories, ignoring: %m");
}

static void node_remove_dir(Watcher *w, WatchNode *n, WatchDir *d) {
        LIST_REMOVE(same_node, n->dirs, d);
        if (n->dirs || n->removed)
                return;
        LIST_PREPEND(unused, w->unused_nodes, n);
        wake_scan(w);
}

/* Bit by bit, since the kernel answers each removal with an event, and its queue of them is not that long. */
static void remove_unused_nodes(Watcher *w) {
        for (unsigned i = 0; w->unused_nodes && i < REMOVE_NODES; i++) {
                WatchNode *n = w->unused_nodes;

                LIST_REMOVE(unused, w->unused_nodes, n);
                n->removed = true;
                if (inotify_rm_watch(w->fd, n->wd) < 0)
                        watch_node_forget(w, n);
        }
}

/* ---- directories ---- */

static char *path_below(const char *dir, const char *name) {
        return strjoin(streq(dir, "/") ? "" : dir, "/", name);
}

char *watch_dir_path(const WatchDir *d) {
        _cleanup_free_ char *parent = NULL;

        if (!d->parent)
                return strdup(d->name);
        parent = watch_dir_path(d->parent);
        return parent ? path_below(parent, d->name) : NULL;
}

WatchDir *watch_dir_find_child(WatchDir *d, const char *name) {
        LIST_FOREACH(siblings, c, d->children)
                if (streq(c->name, name))
                        return c;
        return NULL;
}

static void enqueue(WatchDir *d) {
        Watcher *w = d->watch->watcher;

        if (d->queued)
                return;
        LIST_PREPEND(scan_queue, w->scan_queue, d);
        d->queued = true;
        d->watch->n_queued++;
        wake_scan(w);
}

static void dequeue(WatchDir *d) {
        if (!d->queued)
                return;
        LIST_REMOVE(scan_queue, d->watch->watcher->scan_queue, d);
        d->queued = false;
        d->watch->n_queued--;
}

/* By another name: through a symbolic link, or because an event and the reading of the parent both told of it. */
static bool node_has_root(const WatchNode *n, const WatchRoot *root) {
        LIST_FOREACH(same_node, d, n->dirs)
                if (d->root == root)
                        return true;
        return false;
}

static const char *fault_of_errno(int error) {
        switch (error) {
        case ENOSPC:
                return "the limit of inotify watches is reached (sysctl fs.inotify.max_user_watches)";
        case ENOMEM:
                return "the kernel has no memory for inotify watches";
        default:
                return NULL; /* it is gone, or may not be read: as if it was not there */
        }
}

/* The node of a directory, or NULL where it cannot be watched. */
static int node_of_path(Watch *watch, const char *path, WatchNode **ret) {
        Watcher *w = watch->watcher;
        int wd;

        *ret = NULL;

        wd = inotify_add_watch(w->fd, path, EVENTS);
        if (wd < 0) {
                const char *fault = fault_of_errno(errno);

                log_debug_errno(errno, "Cannot watch %s, ignoring: %m", path);
                if (fault)
                        watch_set_fault(watch, fault);
                return 0;
        }

        *ret = node_get_or_add(w, wd);
        return *ret ? 0 : -ENOMEM;
}

int watch_dir_add(WatchRoot *root, WatchDir *parent, const char *name, const char *path, bool is_new, WatchDir **ret) {
        unsigned level = parent ? parent->level + 1 : 1;
        Watch *watch = root->watch;
        WatchNode *n;
        WatchDir *d;
        int r;

        if (ret)
                *ret = NULL;
        if (level > watch->levels)
                return 0;
        if (watch->n_dirs >= DIRS_MAX) {
                watch_set_fault(watch, "there are more than 100000 directories");
                return 0;
        }

        r = node_of_path(watch, path, &n);
        if (r < 0)
                return r;
        if (!n || node_has_root(n, root))
                return 0;

        d = calloc(1, sizeof(WatchDir) + strlen(name) + 1);
        if (!d)
                return -ENOMEM;
        d->watch = watch;
        d->root = root;
        d->level = level;
        d->is_new = is_new;
        strcpy(d->name, name);

        d->parent = parent;
        if (parent)
                LIST_PREPEND(siblings, parent->children, d);
        node_add_dir(watch->watcher, n, d);
        watch->n_dirs++;
        if (ret)
                *ret = d;
        if (!root->awaited)
                enqueue(d);
        return 0;
}

WatchDir *watch_dir_free(WatchDir *d) {
        Watcher *w;

        if (!d)
                return NULL;
        w = d->watch->watcher;

        LIST_FOREACH_SAFE(siblings, c, d->children)
                watch_dir_free(c);
        if (w->scan_dir == d)
                watch_scan_stop(w);
        dequeue(d);
        node_remove_dir(w, d->node, d);
        if (d->parent)
                LIST_REMOVE(siblings, d->parent->children, d);
        else if (d->root->dir == d)
                d->root->dir = NULL;
        d->watch->n_dirs--;
        return mfree(d);
}

/* ---- reading ---- */

void watch_scan_stop(Watcher *w) {
        if (w->scan_stream)
                (void) closedir(w->scan_stream);
        w->scan_stream = NULL;
        w->scan_dir = NULL;
}

static bool entry_is_directory(const Watch *w, DIR *stream, const struct dirent *e) {
        struct stat st;

        if (!IN_SET(e->d_type, DT_LNK, DT_UNKNOWN))
                return e->d_type == DT_DIR;
        return fstatat(dirfd(stream), e->d_name, &st, w->no_links ? AT_SYMLINK_NOFOLLOW : 0) >= 0 && S_ISDIR(st.st_mode);
}

static int scan_entry(WatchDir *d, const char *dir_path, const struct dirent *e) {
        Watcher *w = d->watch->watcher;
        _cleanup_free_ char *path = NULL;
        bool is_directory;

        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                return 0;
        is_directory = entry_is_directory(d->watch, w->scan_stream, e);
        if (!is_directory && !d->is_new)
                return 0;

        path = path_below(dir_path, e->d_name);
        if (!path)
                return -ENOMEM;
        if (watch_ignores(d, path))
                return 0;
        if (d->is_new)
                watch_report(d, path);
        if (!is_directory)
                return 0;
        if (e->d_type != DT_DIR)
                d->has_links = true;
        return watch_dir_add(d->root, d, e->d_name, path, d->is_new, NULL);
}

/* Whether path still leads to the directory. */
static bool dir_is_current(WatchDir *d, const char *path) {
        WatchNode *n;

        return node_of_path(d->watch, path, &n) >= 0 && n == d->node;
}

/* Begins with the next directory. One that is not what it was is dropped, and found anew by its parent, which is read after it. */
static int scan_next(Watcher *w) {
        WatchDir *d = w->scan_queue;
        _cleanup_free_ char *path = watch_dir_path(d);

        if (!path)
                return -ENOMEM;
        dequeue(d);

        if (TAKE_GENERIC(d->doubtful, false) && !dir_is_current(d, path)) {
                if (d->parent)
                        watch_dir_free(d);
                else
                        watch_root_lost(d->root);
                return 0;
        }

        w->scan_stream = opendir(path);
        if (!w->scan_stream) {
                log_debug_errno(errno, "Cannot read %s, ignoring: %m", path);
                return 0;
        }
        w->scan_dir = d;
        return 0;
}

static int scan_some(Watcher *w) {
        WatchDir *d = w->scan_dir;
        _cleanup_free_ char *path = NULL;
        int r;

        if (!d)
                return scan_next(w);

        path = watch_dir_path(d);
        if (!path)
                return -ENOMEM;

        for (unsigned i = 0; i < SCAN_ENTRIES; i++) {
                struct dirent *e = readdir(w->scan_stream);

                if (!e) {
                        d->is_new = false;
                        watch_scan_stop(w);
                        return 0;
                }
                r = scan_entry(d, path, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool scan_has_more(const Watcher *w) {
        return w->scan_dir || w->scan_queue || w->unused_nodes;
}

static int on_scan(sd_event_source *s, void *userdata) {
        Watcher *w = ASSERT_PTR(userdata);
        usec_t end = usec_add(now(CLOCK_MONOTONIC), SCAN_SLICE);

        while (scan_has_more(w) && now(CLOCK_MONOTONIC) < end) {
                remove_unused_nodes(w);
                if ((w->scan_dir || w->scan_queue) && scan_some(w) < 0) {
                        log_oom();
                        watch_set_fault(w->scan_dir ? w->scan_dir->watch : w->scan_queue->watch, "out of memory");
                        if (w->scan_dir)
                                watch_scan_stop(w);
                        else
                                dequeue(w->scan_queue);
                }
        }

        if (!scan_has_more(w))
                (void) sd_event_source_set_enabled(s, SD_EVENT_OFF);
        return 0;
}

void watch_dir_doubt(WatchDir *d) {
        d->doubtful = true;
        enqueue(d);
        LIST_FOREACH(siblings, c, d->children)
                watch_dir_doubt(c);
}

int watch_scan_init(Watcher *w) {
        int r;

        r = sd_event_add_defer(w->event, &w->scan_source, on_scan, w);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(w->scan_source, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(w->scan_source, SD_EVENT_OFF);
}
