/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "pmd/watch.h"

#include "pmd/watch-internal.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define DELAY_MIN (100 * USEC_PER_MSEC)

/* Who writes without a pause does not put off for ever what the first change has to bring about. */
#define PATIENCE (2 * USEC_PER_SEC)

/* After the kernel's queue overflowed: until the storm is over, more or less. */
#define OVERFLOW_DELAY (1 * USEC_PER_SEC)

/* Read at once; the rest waits for the next turn of the event loop. */
#define EVENT_BUFFER 16384U

/* ---- what a watch tells ---- */

void watch_set_fault(Watch *w, const char *fault) {
        if (w->fault)
                return;
        w->fault = fault;
        if (w->faulty)
                w->faulty(w->userdata);
}

const char *watch_fault(const Watch *w) {
        return w->fault;
}

bool watch_is_scanning(const Watch *w) {
        const Watcher *watcher = w->watcher;

        return w->n_queued > 0 || (watcher->scan_dir && watcher->scan_dir->watch == w);
}

void watch_hold(Watch *w, usec_t time) {
        w->not_before = usec_add(now(CLOCK_MONOTONIC), time);
}

size_t watch_n_directories(const Watch *w) {
        return w->n_dirs;
}

static const char *relative_path(const char *base, const char *path) {
        const char *rest = streq(base, "/") ? path : startswith(path, base);

        return rest && rest[0] == '/' && rest[1] ? rest + 1 : path;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Watch *w = ASSERT_PTR(userdata);
        _cleanup_free_ char *path = TAKE_PTR(w->changed_path), *base = NULL;

        base = strdup(w->base); /* w may be gone in the end */
        if (!path || !base)
                return 0;
        w->changed(relative_path(base, path), w->userdata);
        return 0;
}

static void report(Watch *w, const char *path) {
        usec_t t = now(CLOCK_MONOTONIC), at;
        int r;

        if (!w->changed_path) {
                w->changed_path = strdup(path);
                w->changed_at = t;
                if (!w->changed_path) {
                        log_oom();
                        return;
                }
        }

        at = MIN(t + w->delay, w->changed_at + w->delay + PATIENCE);
        r = sd_event_source_set_time(w->timer_source, MAX(at, w->not_before));
        if (r >= 0)
                r = sd_event_source_set_enabled(w->timer_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Failed to arm the timer of a watch, ignoring: %m");
}

void watch_report(WatchDir *parent, const char *path) {
        if (!parent->root->only || path_filter_matches(parent->root->only, path, 0))
                report(parent->watch, path);
}

/* The file itself; if it is a directory, what is in it; if it is a log, what rotation makes of its name: "x.log.1", "x__2024-01-31.log". */
static bool is_own_file(const char *own, const char *path) {
        const char *rest = startswith(path, own), *end = endswith(own, ".log");

        if (rest && IN_SET(*rest, 0, '/'))
                return true;
        if (!end)
                return false;
        if (rest && *rest == '.')
                return true;
        return strncmp(path, own, (size_t) (end - own)) == 0 && startswith(path + (end - own), "__");
}

bool watch_ignores(const WatchDir *parent, const char *path) {
        const Watch *w = parent->watch;

        STRV_FOREACH(own, w->own_files)
                if (is_own_file(*own, path))
                        return true;
        return path_filter_matches(w->ignore, path, streq(parent->root->path, "/") ? 0 : strlen(parent->root->path));
}

/* ---- roots ---- */

/* Cuts the last component off; what it was is new memory in *ret_name. */
static int cut_path(char *path, char **ret_name) {
        char *slash = strrchr(path, '/'), *name;

        name = strdup(slash + 1);
        if (!name)
                return -ENOMEM;
        slash[slash == path] = 0;
        free(*ret_name);
        *ret_name = name;
        return 0;
}

static int root_resolve_once(WatchRoot *root, bool is_new) {
        _cleanup_free_ char *path = strdup(root->path), *awaited = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        while (!path_is_directory(path) && !streq(path, "/")) {
                r = cut_path(path, &awaited);
                if (r < 0)
                        return r;
        }

        watch_dir_free(root->dir);
        free(root->awaited);
        root->awaited = TAKE_PTR(awaited);
        return watch_dir_add(root, NULL, path, path, is_new && !root->awaited, &root->dir);
}

static bool awaited_has_come(const WatchRoot *root) {
        _cleanup_free_ char *path = NULL;

        if (!root->dir || !root->awaited)
                return false;
        path = strjoin(streq(root->dir->name, "/") ? "" : root->dir->name, "/", root->awaited);
        return path && path_is_directory(path);
}

/* Watches what was asked for, or the nearest directory above. A directory may come after it was looked for and before the one above
 * was watched; not more than a few times, though. */
static int root_resolve(WatchRoot *root, bool is_new) {
        int r;

        for (unsigned i = 0; i < 4; i++) {
                r = root_resolve_once(root, is_new);
                if (r < 0 || !awaited_has_come(root))
                        break;
        }
        return r;
}

static void root_resolve_again(WatchRoot *root) {
        if (root_resolve(root, true) < 0)
                watch_set_fault(root->watch, "out of memory");
}

void watch_root_lost(WatchRoot *root) {
        if (!root->awaited && !root->only)
                report(root->watch, root->path);
        root_resolve_again(root);
}

static WatchRoot *root_free(WatchRoot *root) {
        if (!root)
                return NULL;
        watch_dir_free(root->dir);
        path_filter_free(root->only);
        free(root->awaited);
        free(root->path);
        return mfree(root);
}

/* What comes before the first component with a pattern in it. */
static char *directory_of_glob(const char *pattern) {
        size_t n = strcspn(pattern, "*?[{");

        while (n > 0 && pattern[n - 1] != '/')
                n--;
        return n == 0 ? strdup(".") : strndup(pattern, n);
}

static int root_set_glob(WatchRoot *root, const char *pattern, const char **ret_bad) {
        _cleanup_free_ char *directory = directory_of_glob(pattern), *anchored = NULL;
        const char *bad;
        int r;

        /* A rule without a slash would match at any depth. */
        anchored = path_is_absolute(pattern) ? strdup(pattern) : strjoin("./", pattern);
        if (!directory || !anchored)
                return -ENOMEM;

        r = path_filter_new((char *[]) { anchored, NULL }, root->watch->base, &root->only, &bad);
        if (r < 0) {
                *ret_bad = pattern;
                return r;
        }
        root->path = path_resolve(root->watch->base, directory);
        return root->path ? 0 : -ENOMEM;
}

static int watch_add_root(Watch *w, const char *path, const char **ret_bad) {
        WatchRoot *root;
        int r;

        root = new0(WatchRoot, 1);
        if (!root)
                return -ENOMEM;
        root->watch = w;
        LIST_PREPEND(roots, w->roots, root); /* watch_free() frees it */

        if (string_is_glob(path)) {
                r = root_set_glob(root, path, ret_bad);
                if (r < 0)
                        return r;
        } else {
                root->path = path_resolve(w->base, path);
                if (!root->path)
                        return -ENOMEM;
        }

        return w->watcher->fd >= 0 ? root_resolve(root, false) : 0;
}

/* ---- events ---- */

static void on_awaited_event(WatchRoot *root, const struct inotify_event *e, const char *path) {
        bool is_last = streq(path, root->path);

        if (!streq(e->name, root->awaited))
                return;
        if ((e->mask & (IN_CREATE | IN_MOVED_TO)) && path_is_directory(path))
                root_resolve_again(root);
        if (!root->only && (is_last || access(root->path, F_OK) >= 0))
                report(root->watch, root->path);
}

/* Follows a directory that has come, and forgets one that has gone. */
static void follow(WatchDir *d, const struct inotify_event *e, const char *path) {
        bool came = e->mask & (IN_CREATE | IN_MOVED_TO), is_dir = e->mask & IN_ISDIR;

        if (came && (is_dir || (!d->watch->no_links && path_is_directory(path)))) {
                d->has_links = d->has_links || !is_dir;
                if (watch_dir_add(d->root, d, e->name, path, true, NULL) < 0)
                        watch_set_fault(d->watch, "out of memory");
        }

        /* A removed directory tells so itself. */
        if ((is_dir && (e->mask & IN_MOVED_FROM)) || (d->has_links && (e->mask & (IN_DELETE | IN_MOVED_FROM))))
                watch_dir_free(watch_dir_find_child(d, e->name));
}

static void on_dir_event(WatchDir *d, const struct inotify_event *e) {
        _cleanup_free_ char *dir_path = NULL, *path = NULL;

        if (e->mask & IN_MOVE_SELF) {
                if (!d->parent)
                        watch_root_lost(d->root);
                return;
        }
        if (e->len == 0)
                return;

        dir_path = watch_dir_path(d);
        if (dir_path)
                path = strjoin(streq(dir_path, "/") ? "" : dir_path, "/", e->name);
        if (!path) {
                log_oom();
                return;
        }

        if (!d->parent && d->root->awaited)
                return on_awaited_event(d->root, e, path);
        if (watch_ignores(d, path))
                return;
        follow(d, e, path);
        watch_report(d, path);
}

static void on_node_gone(Watcher *w, WatchNode *n) {
        while (n->dirs) {
                WatchDir *d = n->dirs;

                if (d->parent)
                        watch_dir_free(d);
                else {
                        WatchRoot *root = d->root;

                        watch_dir_free(d);
                        watch_root_lost(root);
                }
        }
        watch_node_forget(w, n);
}

static int on_overflow_elapsed(sd_event_source *s, uint64_t usec, void *userdata) {
        Watcher *w = ASSERT_PTR(userdata);

        LIST_FOREACH(watches, watch, w->watches)
                LIST_FOREACH(roots, root, watch->roots)
                        if (root->dir && !root->awaited)
                                watch_dir_doubt(root->dir);
                        else
                                root_resolve_again(root);
        return 0;
}

/* Nobody knows what has changed: everything, then, and every directory is looked at again. */
static void on_overflow(Watcher *w) {
        int r;

        log_debug("The queue of inotify overflowed, reading the watched directories again.");
        LIST_FOREACH(watches, watch, w->watches)
                report(watch, watch->base);

        r = sd_event_source_set_time_relative(w->overflow_source, OVERFLOW_DELAY);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->overflow_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Failed to arm a timer after lost events, ignoring: %m");
}

static void on_event(Watcher *w, const struct inotify_event *e) {
        WatchNode *n;

        if (e->mask & IN_Q_OVERFLOW)
                return on_overflow(w);
        n = watch_node_get(w, e->wd);
        if (!n)
                return;
        if (e->mask & IN_IGNORED)
                return on_node_gone(w, n);
        LIST_FOREACH_SAFE(same_node, d, n->dirs)
                on_dir_event(d, e);
}

static int on_inotify(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        _Alignas(struct inotify_event) char buf[EVENT_BUFFER];
        Watcher *w = ASSERT_PTR(userdata);
        ssize_t n;

        n = read(fd, buf, sizeof buf);
        if (n < 0)
                return IN_SET(errno, EAGAIN, EINTR) ? 0 : log_error_errno(errno, "Failed to read what inotify has to tell: %m");

        for (const char *p = buf; p < buf + n;) {
                const struct inotify_event *e = (const struct inotify_event *) p;

                on_event(w, e);
                p += sizeof *e + e->len;
        }
        return 0;
}

/* ---- construction ---- */

int watcher_new(sd_event *event, Watcher **ret) {
        _cleanup_(watcher_freep) Watcher *w = new0(Watcher, 1);
        int r;

        if (!w)
                return -ENOMEM;
        w->fd = -EBADF;
        w->event = sd_event_ref(event);
        w->nodes = lh_kptr_table_new(64, NULL);
        if (!w->nodes)
                return -ENOMEM;
        r = watch_scan_init(w);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(w);
        return 0;
}

Watcher *watcher_free(Watcher *w) {
        if (!w)
                return NULL;

        assert(!w->watches);
        if (w->nodes)
                for (struct lh_entry *e; (e = lh_table_head(w->nodes));)
                        watch_node_forget(w, lh_entry_v(e));
        lh_table_free(w->nodes);
        sd_event_source_disable_unref(w->io_source);
        sd_event_source_disable_unref(w->scan_source);
        sd_event_source_disable_unref(w->overflow_source);
        safe_close(w->fd);
        sd_event_unref(w->event);
        return mfree(w);
}

/* Below the default priority: an exit that waits in the same turn of the loop comes first. */
#define PRIORITY (SD_EVENT_PRIORITY_NORMAL + 10)

static int watcher_open(Watcher *w) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (w->fd >= 0)
                return 0;

        fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (!w->overflow_source) {
                r = sd_event_add_time(w->event, &w->overflow_source, CLOCK_MONOTONIC, 0, 0, on_overflow_elapsed, w);
                if (r < 0)
                        return r;
                (void) sd_event_source_set_enabled(w->overflow_source, SD_EVENT_OFF);
        }
        r = sd_event_add_io(w->event, &w->io_source, fd, EPOLLIN, on_inotify, w);
        if (r < 0)
                return r;
        (void) sd_event_source_set_priority(w->io_source, PRIORITY);

        w->fd = TAKE_FD(fd);
        return 0;
}

static int watch_fill(Watch *w, const WatchSpec *spec, const char **ret_bad) {
        static const char *const standard_rules[] = { ".*", "*node_modules*", NULL };
        int r;

        w->base = path_resolve("/", spec->base);
        if (!w->base)
                return -ENOMEM;
        if (!strv_isempty(spec->own_files)) {
                w->own_files = strv_copy(spec->own_files);
                if (!w->own_files)
                        return -ENOMEM;
        }

        r = sd_event_add_time(w->watcher->event, &w->timer_source, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC, on_timer, w);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(w->timer_source, SD_EVENT_OFF);

        r = path_filter_new(strv_isempty(spec->ignore) ? (char **) standard_rules : spec->ignore, w->base, &w->ignore, ret_bad);
        if (r < 0)
                return r;

        if (strv_isempty(spec->paths))
                return watch_add_root(w, w->base, ret_bad);
        STRV_FOREACH(path, spec->paths) {
                r = watch_add_root(w, *path, ret_bad);
                if (r < 0)
                        return r;
        }
        return 0;
}

int watch_new(Watcher *watcher, const WatchSpec *spec, watch_changed_t changed, watch_faulty_t faulty, void *userdata, Watch **ret,
              const char **ret_bad) {
        _cleanup_(watch_freep) Watch *w = new0(Watch, 1);
        int r, open_error;

        if (!w)
                return -ENOMEM;
        w->watcher = watcher;
        w->delay = MAX(spec->delay, DELAY_MIN);
        w->levels = spec->levels > 0 ? spec->levels : UINT_MAX;
        w->no_links = spec->no_links;
        w->changed = changed;
        w->userdata = userdata;
        LIST_PREPEND(watches, watcher->watches, w);

        open_error = watcher_open(watcher);
        r = watch_fill(w, spec, ret_bad);
        if (r < 0)
                return r;

        if (open_error < 0)
                watch_set_fault(w, open_error == -EMFILE ? "the limit of inotify instances or open files is reached (sysctl fs.inotify.max_user_instances)"
                                                         : "inotify cannot be used");
        w->faulty = faulty;
        *ret = TAKE_PTR(w);
        return 0;
}

Watch *watch_free(Watch *w) {
        if (!w)
                return NULL;

        LIST_FOREACH_SAFE(roots, root, w->roots)
                root_free(root);
        LIST_REMOVE(watches, w->watcher->watches, w);
        sd_event_source_disable_unref(w->timer_source);
        path_filter_free(w->ignore);
        strv_free(w->own_files);
        free(w->changed_path);
        free(w->base);
        return mfree(w);
}
