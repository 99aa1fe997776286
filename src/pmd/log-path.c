/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/log-path.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"

#define SYMLINKS_MAX 32u

/* What is left of the path, in memory that is replaced when a symlink is followed. */
typedef struct Walk {
        int fd;
        char *memory, *rest;
        uid_t uid;
        unsigned n_symlinks;
} Walk;

static void walk_done(Walk *w) {
        safe_close(w->fd);
        free(w->memory);
}

static int enter(Walk *w, const char *path, int at) {
        int fd = openat(at, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        safe_close(w->fd);
        w->fd = fd;
        return 0;
}

static int follow_symlink(Walk *w, const char *name) {
        char target[PATH_MAX];
        struct stat st;
        ssize_t n;
        char *joined;

        if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode))
                return -ENOTDIR;
        if ((st.st_uid != 0 && st.st_uid != w->uid) || st.st_nlink > 1 || ++w->n_symlinks > SYMLINKS_MAX)
                return -ELOOP;

        n = readlinkat(w->fd, name, target, sizeof target - 1);
        if (n < 0)
                return -errno;
        target[n] = 0;

        joined = strjoin(target, "/", w->rest);
        if (!joined)
                return -ENOMEM;
        free(w->memory);
        w->memory = w->rest = joined;
        return *joined == '/' ? enter(w, "/", AT_FDCWD) : 0;
}

static int step(Walk *w, const char *name) {
        int r;

        r = enter(w, name, w->fd);
        if (r == -ENOENT) {
                if (mkdirat(w->fd, name, 0750) < 0 && errno != EEXIST)
                        return -errno;
                r = enter(w, name, w->fd);
        }
        return IN_SET(r, -ENOTDIR, -ELOOP) ? follow_symlink(w, name) : r;
}

/* Cuts the next name out of what is left, NULL: there is none. */
static char *next_name(Walk *w) {
        char *name = w->rest + strspn(w->rest, "/");
        size_t n = strcspn(name, "/");

        if (n == 0)
                return NULL;
        w->rest = name + n;
        if (*w->rest)
                *w->rest++ = 0;
        return name;
}

int log_path_open_parent(const char *path, uid_t uid) {
        _cleanup_(walk_done) Walk w = { .fd = -EBADF, .uid = uid };
        int r;

        if (*path != '/')
                return -EINVAL;

        w.memory = w.rest = strndup(path, (size_t) (strrchr(path, '/') - path));
        if (!w.memory)
                return -ENOMEM;

        r = enter(&w, "/", AT_FDCWD);
        for (char *name; r >= 0 && (name = next_name(&w));) {
                _cleanup_free_ char *copy = strdup(name); /* following a symlink replaces the memory it is in */

                r = copy ? step(&w, copy) : -ENOMEM;
        }
        return r < 0 ? r : TAKE_FD(w.fd);
}

int log_path_open(int dir_fd, const char *name, uid_t uid) {
        /* Nonblocking, or a FIFO without a reader would hold up everybody's lines. */
        const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = openat(dir_fd, name, flags, 0640);
        if (fd < 0)
                return -errno;
        if (uid == 0) {
                if (fstat(fd, &st) < 0)
                        return -errno;
                if (S_ISREG(st.st_mode) && st.st_nlink > 1)
                        return -EMLINK;
        }
        return TAKE_FD(fd);
}
