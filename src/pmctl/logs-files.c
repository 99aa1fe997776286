/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "shared/fd-util.h"
#include "shared/log-line.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

#define BLOCK_SIZE ((size_t) 64 * 1024)
#define WANTED_MAX 1000000u

/* How often a file is looked at whose directory cannot be watched, or is not there yet. */
#define RETRY_MSEC 1000

#define WATCH_NONE (-1)
#define WATCH_NEVER (-2)

typedef struct LogFile {
        LogFollower *follower;
        char *path, *app, *id;
        bool err;
        int fd;               /* -EBADF: not there */
        off_t offset;
        int watch;            /* of its directory, negative: none */
        LogSplitter splitter;
} LogFile;

typedef struct Directory {
        char *path;
        int watch;            /* WATCH_NONE: none yet, WATCH_NEVER: it may not be watched */
} Directory;

struct LogFollower {
        LogFile *files;
        size_t n_files, n_allocated;
        Directory directories[2];
        size_t n_directories;
        bool tailed, created;
        usec_t watched_since; /* CLOCK_REALTIME, USEC_INFINITY: not yet */
        int inotify_fd;
        char *buffer;
        const LogView *view;  /* while lines are printed */
        bool live;            /* lines are as old as their reading */
};

int log_follower_new(LogFollower **ret) {
        _cleanup_(log_follower_freep) LogFollower *f = new(LogFollower, 1);

        if (!f)
                return -ENOMEM;

        *f = (LogFollower) { .inotify_fd = -EBADF, .buffer = new(char, BLOCK_SIZE), .watched_since = USEC_INFINITY };
        if (!f->buffer)
                return -ENOMEM;

        *ret = TAKE_PTR(f);
        return 0;
}

static void file_done(LogFile *x) {
        log_splitter_done(&x->splitter);
        safe_close(x->fd);
        free(x->path);
        free(x->app);
        free(x->id);
}

LogFollower *log_follower_free(LogFollower *f) {
        if (!f)
                return NULL;

        for (size_t i = 0; i < f->n_files; i++)
                file_done(f->files + i);
        for (size_t i = 0; i < f->n_directories; i++)
                free(f->directories[i].path);
        free(f->files);
        free(f->buffer);
        safe_close(f->inotify_fd);
        return mfree(f);
}

bool log_follower_is_empty(const LogFollower *f) {
        return f->n_files == 0;
}

static void file_join(LogFile *x);

static LogFile *find_file(LogFollower *f, const char *path) {
        struct stat here, there;

        for (size_t i = 0; i < f->n_files; i++)
                if (streq(f->files[i].path, path))
                        return f->files + i;

        if (stat(path, &there) < 0)
                return NULL;
        for (size_t i = 0; i < f->n_files; i++) /* by another name */
                if (f->files[i].fd >= 0 && fstat(f->files[i].fd, &here) >= 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
                        return f->files + i;
        return NULL;
}

int log_follower_add(LogFollower *f, const char *path, const char *app, const char *id, bool err) {
        LogFile x = { .follower = f, .err = err, .fd = -EBADF, .watch = WATCH_NONE }, *known = find_file(f, path);

        if (known) {
                if (!known->id && id)
                        known->id = strdup(id);
                return 0;
        }

        x.path = strdup(path);
        x.app = strdup(app);
        x.id = id ? strdup(id) : NULL;
        log_splitter_init(&x.splitter, LOG_LINE_MAX);

        if (!x.path || !x.app || (id && !x.id) || !GREEDY_REALLOC(f->files, f->n_allocated, f->n_files + 1)) {
                file_done(&x);
                return -ENOMEM;
        }
        f->files[f->n_files++] = x;
        if (f->tailed)
                file_join(f->files + f->n_files - 1);
        return 0;
}

/* ---- one file ---- */

static LogEntry make_entry(const LogFile *x, const LogLine *line) {
        return (LogEntry) {
                .app = x->app,
                .id = x->id,
                .err = x->err,
                .priority = -1,
                .realtime = x->follower->live ? now(CLOCK_REALTIME) : log_entry_find_time(line->data, line->size),
                .message = line->data,
                .size = line->size,
        };
}

static void print_block(const LogBlock *block, void *userdata) {
        const LogFile *x = userdata;
        size_t offset = 0;

        for (LogLine line; log_block_next(block, &offset, &line);) {
                LogEntry e = make_entry(x, &line);

                log_view_print(x->follower->view, &e);
        }
}

/* The places of the last n lines that are wanted, as a ring. */
typedef struct Wanted {
        const LogFile *file;
        off_t *places, at;
        size_t n, next;
} Wanted;

static void note_wanted(const LogBlock *block, void *userdata) {
        Wanted *w = userdata;
        size_t offset = 0;

        for (LogLine line; log_block_next(block, &offset, &line);) {
                LogEntry e = make_entry(w->file, &line);

                if (log_filter_matches(w->file->follower->view->filter, &e))
                        w->places[w->next++ % w->n] = w->at;
                w->at += (off_t) line.size + (line.end == LOG_LINE_END_NEWLINE);
        }
}

static int file_open(LogFile *x) {
        struct stat st;
        int fd;

        fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                safe_close(fd);
                return -EINVAL;
        }

        x->fd = fd;
        x->offset = 0;
        return 0;
}

static void file_finish(LogFile *x) {
        log_splitter_finish(&x->splitter, print_block, x);
}

static void file_read(LogFile *x) {
        ssize_t n;

        while ((n = pread(x->fd, x->follower->buffer, BLOCK_SIZE, x->offset)) > 0) {
                x->offset += n;
                log_splitter_feed(&x->splitter, x->follower->buffer, (size_t) n, print_block, x);
        }
}

static bool file_was_replaced(const LogFile *x) {
        struct stat here, there;

        if (fstat(x->fd, &here) < 0 || stat(x->path, &there) < 0)
                return false; /* renamed, and no new one yet: somebody may still write to it */
        return here.st_dev != there.st_dev || here.st_ino != there.st_ino;
}

static void file_update(LogFile *x) {
        struct stat st;

        if (x->fd >= 0) {
                if (fstat(x->fd, &st) >= 0 && st.st_size < x->offset) {
                        file_finish(x);
                        x->offset = 0;
                }
                file_read(x);
                if (!file_was_replaced(x))
                        return;
                file_finish(x);
                x->fd = safe_close(x->fd);
        }

        if (file_open(x) >= 0)
                file_read(x);
}

/* Where the last n lines begin. */
static off_t find_tail(LogFile *x, unsigned n) {
        struct stat st;
        off_t end;

        if (fstat(x->fd, &st) < 0)
                return 0;
        if (n == 0)
                return st.st_size;

        /* The newline of the last line begins none. */
        for (end = MAX(st.st_size - 1, (off_t) 0); end > 0;) {
                size_t k = (size_t) MIN(end, (off_t) BLOCK_SIZE);
                const char *newline;

                end -= (off_t) k;
                if (pread(x->fd, x->follower->buffer, k, end) != (ssize_t) k)
                        return end;
                while ((newline = memrchr(x->follower->buffer, '\n', k))) {
                        k = (size_t) (newline - x->follower->buffer);
                        if (--n == 0)
                                return end + (off_t) k + 1;
                }
        }
        return 0;
}

/* The same for lines that are wanted, which needs a look at all of them; the others are not printed. */
static off_t find_wanted_tail(LogFile *x, unsigned n) {
        _cleanup_(log_splitter_done) LogSplitter splitter;
        _cleanup_free_ off_t *places = new(off_t, n);
        Wanted w = { .file = x, .places = places, .n = n };
        off_t at = 0;
        ssize_t k;

        if (!places)
                return 0;

        log_splitter_init(&splitter, LOG_LINE_MAX);
        while ((k = pread(x->fd, x->follower->buffer, BLOCK_SIZE, at)) > 0) {
                at += k;
                log_splitter_feed(&splitter, x->follower->buffer, (size_t) k, note_wanted, &w);
        }
        log_splitter_finish(&splitter, note_wanted, &w);

        return w.next == 0 ? at : w.next <= n ? places[0] : places[w.next % n];
}

static void warn_unreadable(const LogView *v, const char *path, int error) {
        _cleanup_free_ char *escaped = NULL;

        if (error == -ENOENT)
                return;
        escaped = string_escape_cc(path);
        message_warn(v->options, "Cannot read %s: %s", strempty(escaped), strerror(-error));
}

void log_follower_tail(LogFollower *f, const LogView *v, bool to_end) {
        f->view = v;
        f->live = false;
        f->tailed = true;

        for (size_t i = 0; i < f->n_files; i++) {
                LogFile *x = f->files + i;
                int r;

                r = file_open(x);
                if (r < 0) {
                        warn_unreadable(v, x->path, r);
                        continue;
                }

                if (v->options->lines > 0)
                        log_view_print_file_header(v, x->path);
                if (v->options->lines > 0 && v->options->lines < UINT_MAX && log_filter_is_active(v->filter))
                        x->offset = find_wanted_tail(x, MIN(v->options->lines, WANTED_MAX));
                else
                        x->offset = find_tail(x, v->options->lines);
                file_read(x);
                if (to_end)
                        file_finish(x);
        }
}

/* ---- what comes ---- */

static int watch_directory(LogFollower *f, const char *path) {
        const uint32_t events = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;
        int watch = inotify_add_watch(f->inotify_fd, path, events);

        return watch >= 0 ? watch : errno == ENOENT ? WATCH_NONE : WATCH_NEVER;
}

static void file_watch(LogFile *x) {
        _cleanup_free_ char *dir = strdup(x->path);
        char *slash = dir ? strrchr(dir, '/') : NULL;

        if (!slash)
                return;
        slash[slash == dir] = '\0';
        x->watch = watch_directory(x->follower, dir);
}

static bool file_is_new(const LogFile *x) {
        struct statx st;

        return statx(x->fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) >= 0 && (st.stx_mask & STATX_BTIME) &&
                (usec_t) st.stx_btime.tv_sec * USEC_PER_SEC + st.stx_btime.tv_nsec / NSEC_PER_USEC >= x->follower->watched_since;
}

/* One that was found while others are followed. */
static void file_join(LogFile *x) {
        struct stat st;

        if (file_open(x) >= 0 && !file_is_new(x) && fstat(x->fd, &st) >= 0)
                x->offset = st.st_size;
        if (x->follower->inotify_fd < 0)
                return;
        file_watch(x);
        file_update(x);
}

int log_follower_watch(LogFollower *f, const LogView *v) {
        f->view = v;
        f->live = true;
        f->watched_since = now(CLOCK_REALTIME);
        f->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (f->inotify_fd < 0)
                return -errno;

        for (size_t i = 0; i < f->n_files; i++) {
                file_watch(f->files + i);
                file_update(f->files + i); /* what was written since log_follower_tail() made no event */
        }
        return 0;
}

int log_follower_watch_directory(LogFollower *f, const char *path) {
        Directory *d = f->directories + f->n_directories;

        assert(f->n_directories < ELEMENTSOF(f->directories));
        d->path = strdup(path);
        if (!d->path)
                return -ENOMEM;
        d->watch = watch_directory(f, path);
        f->n_directories++;
        return 0;
}

bool log_follower_take_created(LogFollower *f) {
        return TAKE_GENERIC(f->created, false);
}

int log_follower_get_fd(LogFollower *f) {
        return f->inotify_fd;
}

int log_follower_get_timeout(LogFollower *f) {
        for (size_t i = 0; i < f->n_files; i++)
                if (f->files[i].watch < 0)
                        return RETRY_MSEC;
        for (size_t i = 0; i < f->n_directories; i++)
                if (f->directories[i].watch == WATCH_NONE)
                        return RETRY_MSEC;
        return -1;
}

/* Events without a name are about all files, and about those of any directory if they were lost (wd is -1). True if there was a file. */
static bool update_watched(LogFollower *f, const struct inotify_event *e) {
        bool found = false;

        for (size_t i = 0; i < f->n_files; i++) {
                LogFile *x = f->files + i;

                if (e->wd >= 0 && (x->watch != e->wd || (e->len > 0 && !streq(path_basename(x->path), e->name))))
                        continue;
                file_update(x);
                if (e->mask & IN_IGNORED)
                        x->watch = WATCH_NONE;
                found = true;
        }
        return found;
}

/* A rotated file has been given another name, which makes it no new one. */
static bool is_created(const struct inotify_event *e) {
        if (e->len == 0)
                return e->mask & IN_Q_OVERFLOW;
        return (endswith(e->name, ".log") && (e->mask & IN_CREATE)) || (endswith(e->name, ".pid") && (e->mask & (IN_CREATE | IN_MOVED_TO)));
}

static void process_event(LogFollower *f, const struct inotify_event *e) {
        if (!update_watched(f, e) && is_created(e))
                f->created = true;
        if (e->mask & IN_IGNORED)
                for (size_t i = 0; i < f->n_directories; i++)
                        if (f->directories[i].watch == e->wd)
                                f->directories[i].watch = WATCH_NONE;
}

static void process_events(LogFollower *f, const char *events, size_t n) {
        const struct inotify_event *last = NULL;

        for (size_t at = 0; at < n;) {
                const struct inotify_event *e = (const struct inotify_event *) (events + at);

                /* All these events were before this reading: once is enough. */
                if (!last || e->wd != last->wd || e->mask != last->mask || e->len != last->len || memcmp(e->name, last->name, e->len) != 0)
                        process_event(f, e);
                last = e;
                at += sizeof *e + e->len;
        }
}

void log_follower_process(LogFollower *f, const LogView *v) {
        _Alignas(struct inotify_event) char events[4096];
        ssize_t n;

        f->view = v;

        while ((n = read(f->inotify_fd, events, sizeof events)) > 0)
                process_events(f, events, (size_t) n);

        for (size_t i = 0; i < f->n_files; i++)
                if (f->files[i].watch < 0) {
                        file_watch(f->files + i);
                        file_update(f->files + i);
                }
        for (size_t i = 0; i < f->n_directories; i++)
                if (f->directories[i].watch == WATCH_NONE) {
                        f->directories[i].watch = watch_directory(f, f->directories[i].path);
                        f->created = f->created || f->directories[i].watch >= 0;
                }
}
