/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/log-rotate.h"
#include "shared/date-format.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"

#define SAME_DATE_MAX 1000000u

int log_rotation_copy(LogRotation *to, const LogRotation *from) {
        _cleanup_free_ char *date_format = NULL, *interval = NULL;

        if (free_and_strdup(&date_format, from->date_format) < 0 || free_and_strdup(&interval, from->interval) < 0)
                return -ENOMEM;

        log_rotation_done(to);
        *to = *from;
        to->date_format = TAKE_PTR(date_format);
        to->interval = TAKE_PTR(interval);
        return 0;
}

void log_rotation_done(LogRotation *r) {
        free(r->date_format);
        free(r->interval);
        *r = (LogRotation) {};
}

/* ---- names ---- */

static size_t stem_length(const char *name) {
        const char *end = endswith(name, ".log");

        return end ? (size_t) (end - name) : strlen(name);
}

static void make_date(const LogRotation *r, char buf[static DATE_MAX]) {
        (void) date_format(r->date_format ?: LOG_ROTATE_DATE_FORMAT, now(CLOCK_REALTIME), buf);
        for (char *p = buf; *p; p++)
                if (*p == '/')
                        *p = '-';
}

/* "12_07" and "3_1" have the same shape: runs of digits, runs of letters, and the rest as it stands. */
static bool same_shape(const char *a, const char *b, size_t n_b) {
        const char *end = b + n_b;

        while (*a && b < end) {
                int (*class)(int) = isdigit((unsigned char) *a) ? isdigit : isalpha((unsigned char) *a) ? isalpha : NULL;

                if (!class) {
                        if (*a++ != *b++)
                                return false;
                        continue;
                }
                if (!class((unsigned char) *b))
                        return false;
                while (class((unsigned char) *a))
                        a++;
                while (b < end && class((unsigned char) *b))
                        b++;
        }
        return !*a && b == end;
}

typedef enum OldFileKind {
        OLD_FILE_NONE,
        OLD_FILE_PLAIN,
        OLD_FILE_COMPRESSED,
        OLD_FILE_PART, /* of a compression that was not finished */
} OldFileKind;

/* Other apps may have similar names: what follows must look like a date of ours. */
static OldFileKind old_file_kind(const char *candidate, const char *name, const char *date) {
        static const struct {
                const char *suffix;
                OldFileKind kind;
        } suffixes[] = {
                { ".log", OLD_FILE_PLAIN }, { ".log.gz", OLD_FILE_COMPRESSED }, { ".log.gz.part", OLD_FILE_PART },
        };
        size_t stem = stem_length(name);
        const char *p = candidate + stem;

        if (strncmp(candidate, name, stem) != 0 || !startswith(p, "__"))
                return OLD_FILE_NONE;
        p += 2;

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                const char *end = endswith(p, suffixes[i].suffix), *number;
                size_t n = end ? (size_t) (end - p) : 0;

                if (!end)
                        continue;
                if (same_shape(date, p, n))
                        return suffixes[i].kind;
                number = memrchr(p, '_', n);
                if (number && end - number > 1 && strspn(number + 1, "0123456789") == (size_t) (end - number) - 1 &&
                    same_shape(date, p, (size_t) (number - p)))
                        return suffixes[i].kind;
        }
        return OLD_FILE_NONE;
}

static bool compressed_exists(int dir_fd, const char *name) {
        _cleanup_free_ char *compressed = strjoin(name, ".gz");

        return compressed && faccessat(dir_fd, compressed, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

/* Several of the same date get numbers. */
static int rename_numbered(int dir_fd, const char *name, const char *date, unsigned number) {
        char suffix[16] = "";
        _cleanup_free_ char *to = NULL;

        if (number > 0)
                (void) snprintf(suffix, sizeof suffix, "_%u", number);
        to = strprintf("%.*s__%s%s.log", (int) stem_length(name), name, date, suffix);
        if (!to)
                return -ENOMEM;
        if (compressed_exists(dir_fd, to))
                return -EEXIST;

        if (renameat2(dir_fd, name, dir_fd, to, RENAME_NOREPLACE) >= 0)
                return 0;
        if (errno != EINVAL)
                return -errno;

        /* A file system that cannot do this at once. */
        if (faccessat(dir_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                return -EEXIST;
        return renameat(dir_fd, name, dir_fd, to) < 0 ? -errno : 0;
}

int log_rotate_rename(int dir_fd, const char *name, const LogRotation *r) {
        char date[DATE_MAX];
        int k;

        make_date(r, date);
        for (unsigned number = 0; number < SAME_DATE_MAX; number++) {
                k = rename_numbered(dir_fd, name, date, number);
                if (k != -EEXIST)
                        return k;
        }
        return -EEXIST;
}

/* ---- what is old ---- */

typedef struct OldFile {
        char *name;
        OldFileKind kind;
        struct timespec changed;
} OldFile;

typedef struct OldFiles {
        OldFile *items;
        size_t n, n_allocated;
} OldFiles;

static void old_files_done(OldFiles *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->items[i].name);
        free(f->items);
}

static int newest_first(const void *a, const void *b) {
        const OldFile *x = a, *y = b;

        if (x->changed.tv_sec != y->changed.tv_sec)
                return x->changed.tv_sec > y->changed.tv_sec ? -1 : 1;
        if (x->changed.tv_nsec != y->changed.tv_nsec)
                return x->changed.tv_nsec > y->changed.tv_nsec ? -1 : 1;
        return strverscmp(y->name, x->name);
}

static int add_old_file(OldFiles *f, int dir_fd, const char *name, OldFileKind kind) {
        struct stat st;
        char *copy;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (!GREEDY_REALLOC(f->items, f->n_allocated, f->n + 1))
                return -ENOMEM;
        copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        f->items[f->n++] = (OldFile) { copy, kind, st.st_mtim };
        return 0;
}

static int find_old_files(int dir_fd, const char *name, const LogRotation *r, OldFiles *ret) {
        _cleanup_closedir_ DIR *d = NULL;
        _cleanup_close_ int fd = -EBADF;
        char date[DATE_MAX];
        int k;

        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d)
                return -errno;
        TAKE_FD(fd);

        make_date(r, date);
        for (struct dirent *e; (e = readdir(d));) {
                OldFileKind kind = old_file_kind(e->d_name, name, date);

                if (kind == OLD_FILE_NONE)
                        continue;
                k = add_old_file(ret, dir_fd, e->d_name, kind);
                if (k < 0)
                        return k;
        }
        return 0;
}

int log_rotate_tidy(int dir_fd, const char *name, const LogRotation *r, char **ret_name) {
        _cleanup_(old_files_done) OldFiles files = {};
        const OldFile *plain = NULL;
        unsigned n_kept = 0;
        int k;

        k = find_old_files(dir_fd, name, r, &files);
        if (k < 0)
                return k;

        if (files.n > 0)
                qsort(files.items, files.n, sizeof *files.items, newest_first);
        for (size_t i = 0; i < files.n; i++) {
                const OldFile *f = files.items + i;

                if (f->kind == OLD_FILE_PART || n_kept >= r->retain)
                        (void) unlinkat(dir_fd, f->name, 0);
                else {
                        n_kept++;
                        if (f->kind == OLD_FILE_PLAIN)
                                plain = f;
                }
        }

        if (!r->compress || !plain)
                return 0;
        *ret_name = strdup(plain->name);
        return *ret_name ? 1 : -ENOMEM;
}
