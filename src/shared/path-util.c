/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

char *path_resolve(const char *base, const char *path) {
        _cleanup_free_ char *joined = NULL;
        char *out, *q;

        joined = path_is_absolute(path) ? strdup(path) : strjoin(base, "/", path);
        if (!joined)
                return NULL;

        out = q = new(char, strlen(joined) + 2);
        if (!out)
                return NULL;

        for (const char *s = joined; *(s += strspn(s, "/"));) {
                size_t n = strcspn(s, "/");

                if (n == 2 && s[0] == '.' && s[1] == '.') {
                        while (q > out && *--q != '/')
                                ;
                } else if (n != 1 || s[0] != '.') {
                        *q++ = '/';
                        q = mempcpy(q, s, n);
                }
                s += n;
        }

        if (q == out)
                *q++ = '/';
        *q = 0;
        return out;
}

const char *path_basename(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

char *file_name_of_app(const char *name) {
        char *s = strdup(name);

        for (char *p = s; p && *p; p++)
                if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", *p))
                        *p = '-';
        return s;
}

bool path_is_directory(const char *path) {
        struct stat st;

        return stat(path, &st) >= 0 && S_ISDIR(st.st_mode);
}

int mkdir_parents(const char *path, mode_t mode) {
        _cleanup_free_ char *p = strdup(path);

        if (!p)
                return -ENOMEM;

        for (char *s = p + 1; (s = strchr(s, '/')); *s++ = '/') {
                *s = 0;
                if (mkdir(p, mode) < 0 && errno != EEXIST)
                        return -errno;
        }

        return 0;
}

int mkdir_p(const char *path, mode_t mode) {
        struct stat st;
        int r;

        if (mkdir(path, mode) >= 0)
                return 0;
        if (errno == ENOENT) {
                r = mkdir_parents(path, mode);
                if (r < 0)
                        return r;
                if (mkdir(path, mode) >= 0)
                        return 0;
        }
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int check_executable(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode) || access(path, X_OK) < 0)
                return -EACCES;
        return 0;
}

int find_executable(const char *name, const char *search, char **ret) {
        _cleanup_strv_free_ char **dirs = NULL;
        int result = -ENOENT;

        if (strchr(name, '/')) {
                char *p;
                int r;

                r = check_executable(name);
                if (r < 0)
                        return r;
                p = strdup(name);
                if (!p)
                        return -ENOMEM;
                *ret = p;
                return 0;
        }

        dirs = strv_split(search ?: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":");
        if (!dirs)
                return -ENOMEM;

        STRV_FOREACH(d, dirs) {
                _cleanup_free_ char *p = strjoin(*d, "/", name);
                int r;

                if (!p)
                        return -ENOMEM;
                r = check_executable(p);
                if (r >= 0) {
                        *ret = TAKE_PTR(p);
                        return 0;
                }
                if (r == -EACCES)
                        result = r;
        }

        return result;
}

int path_get_own_directory(char **ret) {
        char path[PATH_MAX], *slash;
        ssize_t n;

        n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        if (n < 0)
                return -errno;
        path[n] = 0;
        slash = strrchr(path, '/');
        if (!slash)
                return -ENOENT;
        *slash = 0;

        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
}
