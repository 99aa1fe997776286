/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/file-user.h"
#include "pmd/log-path.h"
#include "pmd/log-ring.h"
#include "pmd/log-sink-file.h"
#include "shared/cron-expr.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

#define OPEN_RETRY_USEC (5 * USEC_PER_SEC)

/* How often a disk that was full is tried again, */
#define WRITE_RETRY_USEC (USEC_PER_SEC / 4)

/* and how often it is looked whether somebody has given the file another name. */
#define CHECK_USEC USEC_PER_SEC

struct LogFileSet {
        sd_event *event;
        void (*room)(void *userdata);
        void *userdata;
        struct lh_table *files; /* key → LogFile */
};

struct LogFile {
        unsigned n_ref;     /* 0: it lives on only for what is in the ring, or for gzip */
        LogFileSet *set;
        char *key;          /* path and owner: a path that one user may write must not serve another */
        const char *path;   /* within key */
        uid_t uid;
        gid_t gid;
        LogRotation rotation;
        CronExpr *interval; /* that of rotation, NULL: none */
        sd_event_source *interval_timer;
        LogCompressor *compressor;

        int fd;             /* -EBADF: could not be opened */
        bool regular;
        uint64_t size;      /* of a regular file, as far as we know */
        bool in_line;       /* the last byte that was written is not a newline */
        usec_t retry_at;    /* CLOCK_MONOTONIC, while fd is -EBADF */
        usec_t check_at, rotate_at;

        bool line_open;     /* the same as in_line, when all that is in the ring will have been written */
        const void *writer; /* who may go on with that line; NULL: nobody */

        LogRing ring;
        sd_event_source *source; /* there is room in the file, or it is time to try again; enabled while something is in the ring */
        bool was_full;

        int error;          /* of the last try, 0: it went well */
        uint64_t n_lost;    /* bytes since the error began */
};

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);
static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata);

/* ---- failures ---- */

static void note_failure(LogFile *f, int error, const char *what) {
        if (f->error != error)
                log_warning_errno(error, "Failed to %s log file %s: %m", what, f->path);
        f->error = error;
}

static void note_success(LogFile *f) {
        if (f->error == 0)
                return;

        log_notice("Log file %s can be written again, %" PRIu64 " bytes were lost.", f->path, f->n_lost);
        f->error = 0;
        f->n_lost = 0;
}

/* ---- opening ---- */

static int standard_stream(const LogFile *f) {
        return streq(f->path, "/dev/stdout") ? STDOUT_FILENO : streq(f->path, "/dev/stderr") ? STDERR_FILENO : -EBADF;
}

/* In a container these are where the output of apps is to go; there they are symlinks, which would be refused. */
static int open_standard_stream(const LogFile *f) {
        int fd = standard_stream(f);

        if (fd < 0 || f->uid != geteuid())
                return -ENOENT;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return fd < 0 ? -errno : fd;
}

/* The directory with the rights of the owner, which are ours until file_user_reset(). */
static int enter_as_owner(const LogFile *f) {
        int fd, r;

        r = file_user_assume(f->uid, f->gid);
        if (r < 0)
                return r;
        fd = log_path_open_parent(f->path, f->uid);
        if (fd < 0)
                file_user_reset();
        return fd;
}

static int open_as_owner(const LogFile *f) {
        _cleanup_close_ int dir_fd = -EBADF;
        int fd;

        fd = open_standard_stream(f);
        if (fd != -ENOENT)
                return fd;

        dir_fd = enter_as_owner(f);
        if (dir_fd < 0)
                return dir_fd;
        fd = log_path_open(dir_fd, path_basename(f->path), f->uid);
        file_user_reset();
        return fd;
}

static void close_file(LogFile *f) {
        f->source = sd_event_source_disable_unref(f->source); /* it may be that of the file */
        f->fd = safe_close(f->fd);
}

static void use_fd(LogFile *f, int fd) {
        struct stat st;

        close_file(f);
        f->fd = fd;
        f->in_line = false;
        if (!f->ring.first)
                f->line_open = false;

        /* A file that our output was redirected to is not ours to rotate, rename or empty. */
        f->regular = standard_stream(f) < 0 && fstat(fd, &st) >= 0 && S_ISREG(st.st_mode);
        f->size = f->regular ? (uint64_t) st.st_size : 0;
        f->check_at = usec_add(now(CLOCK_MONOTONIC), CHECK_USEC);
}

static void try_open(LogFile *f) {
        int fd = open_as_owner(f);

        if (fd < 0) {
                f->retry_at = usec_add(now(CLOCK_MONOTONIC), OPEN_RETRY_USEC);
                return note_failure(f, fd, "open");
        }
        use_fd(f, fd);
        note_success(f);
}

/* ---- rotation ---- */

static void tidy(LogFile *f);

static void on_compressed(int error, void *userdata) {
        LogFile *f = ASSERT_PTR(userdata);

        f->compressor = log_compressor_free(f->compressor);
        if (error < 0)
                log_warning_errno(error, "Failed to compress an old log file of %s, leaving it as it is: %m", f->path);
        else
                tidy(f);
        if (f->n_ref == 0)
                (void) log_file_unref(f);
}

static int start_compressor(LogFile *f, int dir_fd, const char *name) {
        int fd, r;

        fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (fd < 0)
                return -errno;

        r = log_compressor_new(f->set->event, fd, name, f->uid, f->gid, on_compressed, f, &f->compressor);
        if (r == -ENOENT) {
                f->rotation.compress = false;
                log_notice("There is no gzip, leaving old log files of %s as they are.", f->path);
                return 0;
        }
        return r;
}

/* Removes old files that are too many and begins to compress one, unless one is being compressed: this is called again then. */
static void tidy(LogFile *f) {
        _cleanup_close_ int dir_fd = -EBADF;
        _cleanup_free_ char *name = NULL;
        int r;

        if (f->compressor)
                return;

        dir_fd = enter_as_owner(f);
        if (dir_fd < 0) {
                log_warning_errno(dir_fd, "Failed to open the directory of %s, leaving old log files: %m", f->path);
                return;
        }
        r = log_rotate_tidy(dir_fd, path_basename(f->path), &f->rotation, &name);
        file_user_reset();

        if (r > 0)
                r = start_compressor(f, dir_fd, name);
        if (r < 0)
                log_warning_errno(r, "Failed to clear old log files of %s away, ignoring: %m", f->path);
}

static bool path_is_ours(const LogFile *f, int dir_fd) {
        struct stat here, there;

        return fstat(f->fd, &here) >= 0 && fstatat(dir_fd, path_basename(f->path), &there, AT_SYMLINK_NOFOLLOW) >= 0 &&
                here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int rename_and_open(LogFile *f) {
        _cleanup_close_ int dir_fd = -EBADF;
        int fd, r = 0;

        dir_fd = enter_as_owner(f);
        if (dir_fd < 0)
                return dir_fd;

        /* Somebody else may have given it another name: then there is only a new one to be made. */
        if (path_is_ours(f, dir_fd))
                r = log_rotate_rename(dir_fd, path_basename(f->path), &f->rotation);
        fd = r < 0 ? r : log_path_open(dir_fd, path_basename(f->path), f->uid);
        file_user_reset();
        if (fd < 0)
                return fd;

        use_fd(f, fd);
        return 0;
}

static bool rotate(LogFile *f) {
        struct stat st;
        int r;

        /* Who truncates it spares us the work. */
        if (fstat(f->fd, &st) >= 0 && (uint64_t) st.st_size < f->size) {
                f->size = (uint64_t) st.st_size;
                return true;
        }
        if (now(CLOCK_MONOTONIC) < f->rotate_at)
                return false;

        r = rename_and_open(f);
        if (r < 0) {
                f->rotate_at = usec_add(now(CLOCK_MONOTONIC), OPEN_RETRY_USEC);
                log_warning_errno(r, "Failed to rotate log file %s, it goes on growing: %m", f->path);
                return false;
        }
        tidy(f);
        return true;
}

static void arm_interval(LogFile *f);

static int on_interval(sd_event_source *source, uint64_t usec, void *userdata) {
        LogFile *f = ASSERT_PTR(userdata);

        if (f->fd >= 0 && f->regular && f->size > 0 && !f->in_line)
                (void) rotate(f);
        arm_interval(f);
        return 0;
}

static void arm_interval(LogFile *f) {
        usec_t next;
        int r;

        f->interval_timer = sd_event_source_disable_unref(f->interval_timer);
        if (!f->interval)
                return;

        r = cron_next(f->interval, now(CLOCK_REALTIME), NULL, &next);
        if (r >= 0)
                r = sd_event_add_time(f->set->event, &f->interval_timer, CLOCK_REALTIME, next, 0, on_interval, f);
        if (r < 0)
                log_warning_errno(r, "Failed to find out when to rotate %s, ignoring: %m", f->path);
}

static int set_rotation(LogFile *f, const LogRotation *rotation) {
        bool same = streq_ptr(f->rotation.interval, rotation->interval);
        int r;

        r = log_rotation_copy(&f->rotation, rotation);
        if (r < 0 || same)
                return r;

        f->interval = cron_free(f->interval);
        r = rotation->interval ? cron_parse(rotation->interval, &f->interval, NULL) : 0;
        arm_interval(f);
        return r;
}

static size_t through_newline(const char *data, size_t size) {
        const char *newline = memchr(data, '\n', size);

        return newline ? (size_t) (newline - data) + 1 : size;
}

/* How much of the data goes into the file as it is now. Lines are not cut: one that is longer than a file may be is a file. */
static size_t size_before_rotation(LogFile *f, const char *data, size_t size) {
        if (f->rotation.max_size == 0 || !f->regular)
                return size;

        for (;;) {
                uint64_t room = usec_sub(f->rotation.max_size, f->size);
                const char *newline;

                if (size <= room)
                        return size;
                if (f->in_line)
                        return through_newline(data, size);

                newline = room > 0 ? memrchr(data, '\n', (size_t) room) : NULL;
                if (newline)
                        return (size_t) (newline - data) + 1;
                if (f->size == 0)
                        return through_newline(data, size);
                if (!rotate(f))
                        return size;
        }
}

/* Every now and then, a file that was renamed or removed is made anew. */
static void check_path(LogFile *f) {
        _cleanup_close_ int dir_fd = -EBADF;
        usec_t t = now(CLOCK_MONOTONIC);
        bool ours;

        if (!f->regular || f->in_line || t < f->check_at)
                return;
        f->check_at = usec_add(t, CHECK_USEC);

        dir_fd = enter_as_owner(f);
        ours = dir_fd >= 0 && path_is_ours(f, dir_fd);
        if (dir_fd >= 0)
                file_user_reset();
        if (!ours) {
                int fd = open_as_owner(f);

                if (fd >= 0)
                        use_fd(f, fd);
        }
}

/* ---- writing ---- */

/* The number of bytes that the file took. */
static size_t put(LogFile *f, const char *data, size_t size) {
        size_t done = 0;

        while (done < size) {
                size_t n = size_before_rotation(f, data + done, size - done);
                ssize_t k = write(f->fd, data + done, n);

                if (k > 0) {
                        done += (size_t) k;
                        f->size += (size_t) k;
                        f->in_line = data[done - 1] != '\n';
                        continue;
                }
                if (k < 0 && errno == EINTR)
                        continue;

                if (k >= 0 || errno != EAGAIN)
                        note_failure(f, k < 0 ? -errno : -EIO, "write");
                if (k < 0 && errno == EPIPE) /* a FIFO that has lost its reader */
                        close_file(f);
                return done;
        }

        note_success(f);
        return done;
}

static size_t put_vector(LogFile *f, const struct iovec *iov, size_t n_iov) {
        size_t done = 0;

        for (size_t i = 0; i < n_iov; i++) {
                size_t k = put(f, iov[i].iov_base, iov[i].iov_len);

                done += k;
                if (k < iov[i].iov_len)
                        break;
        }
        return done;
}

static void wait_for_room(LogFile *f) {
        int enabled = SD_EVENT_OFF, r;

        if (f->source) {
                (void) sd_event_source_get_enabled(f->source, &enabled);
                if (enabled != SD_EVENT_OFF)
                        return;
                (void) sd_event_source_set_time_relative(f->source, WRITE_RETRY_USEC); /* if it is a timer */
                (void) sd_event_source_set_enabled(f->source, SD_EVENT_ONESHOT);
                return;
        }

        r = f->regular || f->fd < 0 ? -EPERM : sd_event_add_io(f->set->event, &f->source, f->fd, EPOLLOUT, on_writable, f);
        if (r >= 0)
                r = sd_event_source_set_enabled(f->source, SD_EVENT_ONESHOT);
        else
                r = sd_event_add_time_relative(f->set->event, &f->source, CLOCK_MONOTONIC, WRITE_RETRY_USEC, 0, on_retry, f);
        if (r < 0)
                log_error_errno(r, "Failed to wait for log file %s: %m", f->path);
}

/* Says in the file how many lines are missing there. */
static bool write_gap(LogFile *f) {
        uint64_t n = log_ring_get_gap(&f->ring);
        char text[64];
        int k;

        if (n == 0)
                return true;

        k = snprintf(text, sizeof text, "%s[pmd] %" PRIu64 " lines were dropped here\n", f->in_line ? "\n" : "", n);
        log_ring_close_gap(&f->ring);
        if (put(f, text, (size_t) k) == (size_t) k)
                return true;

        f->ring.n_dropped += n; /* once more, with a part of a line before it */
        return false;
}

static bool write_first(LogFile *f) {
        LogRecord *x = f->ring.first;
        size_t k;

        k = put(f, x->data + x->n_done, x->size - x->n_done);
        if (k > 0)
                f->ring.progress = now(CLOCK_MONOTONIC);
        x->n_done += k;
        if (x->n_done < x->size)
                return false;
        log_ring_pop(&f->ring);
        return true;
}

/* True if the ring is empty now. */
static bool flush_ring(LogFile *f) {
        if (f->fd < 0)
                try_open(f);
        while (!log_ring_is_empty(&f->ring))
                if (f->fd < 0 || !write_gap(f) || (f->ring.first && !write_first(f)))
                        return false;
        return true;
}

static void go_on(LogFile *f) {
        bool empty = flush_ring(f);

        if (empty)
                f->source = sd_event_source_disable_unref(f->source);
        else
                wait_for_room(f);
        if (f->was_full && f->ring.size <= LOG_RING_FULL) {
                f->was_full = false;
                f->set->room(f->set->userdata);
        }
        if (empty && f->n_ref == 0)
                (void) log_file_unref(f);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        go_on(ASSERT_PTR(userdata));
        return 0;
}

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        go_on(ASSERT_PTR(userdata));
        return 0;
}

static void lose(LogFile *f, const LogWriter *w, const LogBlock *block) {
        f->n_lost += block->size;
        log_counter_add(w->dropped, log_block_count_lines(block));
        log_counter_set_error(w->dropped, &f->ring, f->error);
}

void log_file_write(LogFile *f, const LogWriter *w, const LogBlock *block) {
        struct iovec iov[3];
        size_t n = 0, total = 0, done = 0;

        if (f->fd < 0 && now(CLOCK_MONOTONIC) >= f->retry_at)
                try_open(f);
        if (f->fd < 0)
                return lose(f, w, block);
        if (!f->ring.first)
                check_path(f);

        /* A piece of an overlong line may be the last in the file: only its writer goes on with it. */
        if (f->line_open && (f->writer != w->id || !block->continued))
                iov[n++] = (struct iovec) { (char *) "\n", 1 };
        iov[n++] = (struct iovec) { (char *) block->data, block->size };
        if (block->end == LOG_LINE_END_EOF)
                iov[n++] = (struct iovec) { (char *) "\n", 1 };
        f->writer = w->id;
        f->line_open = block->end == LOG_LINE_END_SPLIT;

        for (size_t i = 0; i < n; i++)
                total += iov[i].iov_len;
        if (log_ring_is_empty(&f->ring)) {
                done = put_vector(f, iov, n);
                log_counter_set_error(w->dropped, &f->ring, f->error);
        }
        if (done == total)
                return;

        if (log_ring_is_empty(&f->ring))
                f->ring.progress = now(CLOCK_MONOTONIC);
        (void) log_ring_push(&f->ring, iov, n, done, log_block_count_lines(block), w->dropped, w->may_drop, true);
        wait_for_room(f);
}

bool log_file_is_full(LogFile *f, bool may_drop) {
        bool full = log_ring_is_full(&f->ring, may_drop, now(CLOCK_MONOTONIC));

        f->was_full = f->was_full || full;
        return full;
}

/* ---- the set ---- */

int log_file_set_new(sd_event *event, void (*room)(void *userdata), void *userdata, LogFileSet **ret) {
        _cleanup_free_ LogFileSet *s = new0(LogFileSet, 1);

        if (!s)
                return -ENOMEM;

        s->files = lh_kchar_table_new(16, NULL);
        if (!s->files)
                return -ENOMEM;
        s->event = sd_event_ref(event);
        s->room = room;
        s->userdata = userdata;

        *ret = TAKE_PTR(s);
        return 0;
}

static LogFile *log_file_free(LogFile *f) {
        uint64_t n;

        if (!f)
                return NULL;

        n = log_ring_clear(&f->ring);
        if (n > 0)
                log_warning("Log file %s is closed, %" PRIu64 " lines could not be written.", f->path, n);
        if (f->n_lost > 0)
                log_warning("Log file %s is closed, %" PRIu64 " bytes were lost.", f->path, f->n_lost);
        log_compressor_free(f->compressor);
        sd_event_source_disable_unref(f->source);
        sd_event_source_disable_unref(f->interval_timer);
        cron_free(f->interval);
        log_rotation_done(&f->rotation);
        safe_close(f->fd);
        free(f->key);
        return mfree(f);
}
DEFINE_CLEANUP_FUNC(LogFile *, log_file_free);

LogFileSet *log_file_set_free(LogFileSet *s) {
        struct lh_entry *e, *next;

        if (!s)
                return NULL;

        lh_foreach_safe(s->files, e, next) {
                LogFile *f = (LogFile *) lh_entry_v(e);

                assert(f->n_ref == 0);
                (void) flush_ring(f);
                (void) lh_table_delete_entry(s->files, e);
                log_file_free(f);
        }
        lh_table_free(s->files);
        sd_event_unref(s->event);
        return mfree(s);
}

static int log_file_new(LogFileSet *s, const LogFileSpec *spec, char *key, LogFile **ret) {
        _cleanup_(log_file_freep) LogFile *f = new(LogFile, 1);

        if (!f) {
                free(key);
                return -ENOMEM;
        }

        *f = (LogFile) {
                .n_ref = 1,
                .set = s,
                .key = key,
                .path = key + strlen(key) - strlen(spec->path),
                .uid = spec->uid,
                .gid = spec->gid,
                .fd = -EBADF,
        };
        if (lh_table_insert(s->files, f->key, f) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(f);
        return 0;
}

static LogFile *find_file(LogFileSet *s, const char *key) {
        void *f;

        return lh_table_lookup_ex(s->files, key, &f) ? f : NULL;
}

int log_file_set_get(LogFileSet *s, const LogFileSpec *spec, LogFile **ret) {
        char *key = strprintf("%u:%u:%s", spec->uid, spec->gid, spec->path);
        LogFile *f;
        int r;

        if (!key)
                return -ENOMEM;

        f = find_file(s, key);
        if (f) {
                free(key);
                f->n_ref++;
        } else {
                r = log_file_new(s, spec, key, &f);
                if (r < 0)
                        return r;
        }

        /* The definition may have changed since. */
        r = set_rotation(f, spec->rotation ?: &(const LogRotation) {});
        if (r < 0)
                log_warning_errno(r, "Failed to set up the rotation of log file %s, ignoring: %m", f->path);
        if (f->fd < 0)
                try_open(f);

        *ret = f;
        return 0;
}

LogFile *log_file_unref(LogFile *f) {
        if (!f)
                return NULL;

        if (f->n_ref > 0 && --f->n_ref > 0)
                return NULL;
        if (log_ring_is_empty(&f->ring) && !f->compressor) {
                (void) lh_table_delete(f->set->files, f->key);
                log_file_free(f);
        }
        return NULL;
}

static int truncate_file(const LogFileSpec *spec) {
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        int r;

        r = file_user_assume(spec->uid, spec->gid);
        if (r < 0)
                return r;
        dir_fd = log_path_open_parent(spec->path, spec->uid);
        if (dir_fd >= 0)
                fd = log_path_open(dir_fd, path_basename(spec->path), spec->uid);
        r = dir_fd < 0 ? dir_fd : fd < 0 ? fd : ftruncate(fd, 0) < 0 ? -errno : 0;
        file_user_reset();
        return r;
}

void log_file_set_flush(LogFileSet *s, const LogFileSpec *spec) {
        _cleanup_free_ char *key = strprintf("%u:%u:%s", spec->uid, spec->gid, spec->path);
        LogFile *f = key ? find_file(s, key) : NULL;
        int r;

        if (f && f->fd >= 0)
                r = f->regular && ftruncate(f->fd, 0) < 0 ? -errno : 0;
        else
                r = truncate_file(spec);
        if (r < 0)
                log_warning_errno(r, "Failed to empty log file %s: %m", spec->path);
        else if (f)
                f->size = 0;
}

void log_file_set_reopen(LogFileSet *s) {
        struct lh_entry *e;

        lh_foreach(s->files, e) {
                LogFile *f = (LogFile *) lh_entry_v(e);

                close_file(f);
                try_open(f);
                if (!log_ring_is_empty(&f->ring))
                        wait_for_room(f);
        }
}
