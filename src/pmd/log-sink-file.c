/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/linkhash.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pmd/log-sink-file.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

#define OPEN_RETRY_USEC (5 * USEC_PER_SEC)

struct LogFileSet {
        struct lh_table *files; /* key → LogFile */
};

struct LogFile {
        unsigned n_ref;
        LogFileSet *set;
        char *key;          /* path and owner: a path that one user may write must not serve another */
        const char *path;   /* within key */
        uid_t uid;
        gid_t gid;
        int fd;             /* -EBADF: could not be opened */
        usec_t retry_at;    /* CLOCK_MONOTONIC, while fd is -EBADF */

        bool line_open;     /* the last byte in the file is not a newline */
        const void *writer; /* who may go on with that line; NULL: nobody */

        int error;          /* of the last try, 0: it went well */
        uint64_t n_lost;    /* bytes since the error began */
};

int log_file_set_new(LogFileSet **ret) {
        _cleanup_free_ LogFileSet *s = new0(LogFileSet, 1);

        if (!s)
                return -ENOMEM;

        s->files = lh_kchar_table_new(16, NULL);
        if (!s->files)
                return -ENOMEM;

        *ret = TAKE_PTR(s);
        return 0;
}

LogFileSet *log_file_set_free(LogFileSet *s) {
        if (!s)
                return NULL;

        assert(lh_table_length(s->files) == 0);
        lh_table_free(s->files);
        return mfree(s);
}

/* libc's wrappers change the ids of all threads or hide errors; the kernel's belong to the calling thread. */
static int set_fs_ids(uid_t uid, gid_t gid) {
        (void) syscall(SYS_setfsgid, gid);
        (void) syscall(SYS_setfsuid, uid);

        /* The calls return the previous value and never an error: asking again with an invalid id tells. */
        if ((uid_t) syscall(SYS_setfsuid, -1) != uid || (gid_t) syscall(SYS_setfsgid, -1) != gid)
                return -EPERM;
        return 0;
}

static int open_log_file(const char *path) {
        /* Nonblocking, or a FIFO without a reader would hold up everybody's lines. */
        const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
        int fd, r;

        fd = open(path, flags, 0640);
        if (fd >= 0)
                return fd;
        if (errno != ENOENT)
                return -errno;

        r = mkdir_parents(path, 0750);
        if (r < 0)
                return r;
        fd = open(path, flags, 0640);
        return fd < 0 ? -errno : fd;
}

static int open_as_owner(const LogFile *f) {
        uid_t own_uid = geteuid();
        gid_t own_gid = getegid();
        int fd;

        if (f->uid == own_uid && f->gid == own_gid)
                return open_log_file(f->path);

        fd = set_fs_ids(f->uid, f->gid);
        if (fd >= 0)
                fd = open_log_file(f->path);
        (void) set_fs_ids(own_uid, own_gid);
        return fd;
}

static void note_failure(LogFile *f, int error, const char *what, size_t n_lost) {
        f->n_lost += n_lost;
        if (f->error != error)
                log_warning_errno(error, "Failed to %s log file %s, dropping its lines: %m", what, f->path);
        f->error = error;
}

static void note_success(LogFile *f) {
        if (f->error == 0)
                return;

        log_notice("Log file %s can be written again, %" PRIu64 " bytes were lost.", f->path, f->n_lost);
        f->error = 0;
        f->n_lost = 0;
}

static void try_open(LogFile *f) {
        int fd = open_as_owner(f);

        if (fd < 0) {
                f->retry_at = usec_add(now(CLOCK_MONOTONIC), OPEN_RETRY_USEC);
                note_failure(f, fd, "open", 0);
                return;
        }

        f->fd = fd;
        f->line_open = false;
        note_success(f);
}

static LogFile *log_file_free(LogFile *f) {
        if (!f)
                return NULL;

        if (f->n_lost > 0)
                log_warning("Log file %s is closed, %" PRIu64 " bytes were lost.", f->path, f->n_lost);
        safe_close(f->fd);
        free(f->key);
        return mfree(f);
}
DEFINE_CLEANUP_FUNC(LogFile *, log_file_free);

int log_file_set_get(LogFileSet *s, const char *path, uid_t uid, gid_t gid, LogFile **ret) {
        _cleanup_(log_file_freep) LogFile *f = NULL;
        _cleanup_free_ char *key = NULL;
        void *found;

        key = strprintf("%u:%u:%s", uid, gid, path);
        if (!key)
                return -ENOMEM;

        if (lh_table_lookup_ex(s->files, key, &found)) {
                LogFile *shared = found;

                shared->n_ref++;
                if (shared->fd < 0)
                        try_open(shared);
                *ret = shared;
                return 0;
        }

        f = new(LogFile, 1);
        if (!f)
                return -ENOMEM;

        *f = (LogFile) {
                .n_ref = 1,
                .set = s,
                .key = key,
                .path = key + strlen(key) - strlen(path),
                .uid = uid,
                .gid = gid,
                .fd = -EBADF,
        };
        TAKE_PTR(key);
        if (lh_table_insert(s->files, f->key, f) < 0)
                return -ENOMEM;

        try_open(f);
        *ret = TAKE_PTR(f);
        return 0;
}

LogFile *log_file_unref(LogFile *f) {
        if (!f)
                return NULL;

        assert(f->n_ref > 0);
        if (--f->n_ref == 0) {
                (void) lh_table_delete(f->set->files, f->key);
                log_file_free(f);
        }
        return NULL;
}

void log_file_set_reopen(LogFileSet *s) {
        struct lh_entry *e;

        lh_foreach(s->files, e) {
                LogFile *f = (LogFile *) lh_entry_v(e);

                f->fd = safe_close(f->fd);
                try_open(f);
        }
}

static size_t iovec_total(const struct iovec *iov, size_t n) {
        size_t total = 0;

        for (size_t i = 0; i < n; i++)
                total += iov[i].iov_len;
        return total;
}

/* Takes the first n bytes away, returns the last of them. */
static char iovec_advance(struct iovec *iov, size_t n_iov, size_t n) {
        char last = 0;

        for (size_t i = 0; i < n_iov && n > 0; i++) {
                size_t k = MIN(n, iov[i].iov_len);

                if (k > 0)
                        last = ((const char *) iov[i].iov_base)[k - 1];
                iov[i].iov_base = (char *) iov[i].iov_base + k;
                iov[i].iov_len -= k;
                n -= k;
        }
        return last;
}

static void write_vector(LogFile *f, struct iovec *iov, size_t n_iov) {
        for (size_t left; (left = iovec_total(iov, n_iov)) > 0;) {
                ssize_t k = writev(f->fd, iov, (int) n_iov);

                if (k > 0) {
                        f->line_open = iovec_advance(iov, n_iov, (size_t) k) != '\n';
                        continue;
                }
                if (k < 0 && errno == EINTR)
                        continue;

                f->writer = NULL;
                return note_failure(f, k < 0 ? -errno : -EIO, "write", left);
        }

        note_success(f);
}

void log_file_write(LogFile *f, const void *writer, const LogBlock *block) {
        struct iovec iov[3];
        size_t n = 0;

        if (f->fd < 0 && now(CLOCK_MONOTONIC) >= f->retry_at)
                try_open(f);
        if (f->fd < 0) {
                f->n_lost += block->size;
                return;
        }

        /* A piece of an overlong line, or of a failed write, may be the last in the file: only its writer goes on with
         * it. */
        if (f->line_open && (f->writer != writer || !block->continued))
                iov[n++] = (struct iovec) { (char *) "\n", 1 };
        iov[n++] = (struct iovec) { (char *) block->data, block->size };
        if (block->end == LOG_LINE_END_EOF)
                iov[n++] = (struct iovec) { (char *) "\n", 1 };

        f->writer = writer;
        write_vector(f, iov, n);
}
