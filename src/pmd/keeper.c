/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "pmd/keeper.h"

#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int keeper_read_exit(int fd, KeeperExit *ret) {
        KeeperExit e;
        ssize_t n;

        do
                n = read(fd, &e, sizeof(e));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        if (n == 0)
                return -EPIPE;
        if (n != sizeof(e))
                return -EBADMSG;

        *ret = e;
        return 1;
}

/* A path, not what it stands for now: an upgrade may turn a link to the new pmd. */
static char *path_of_pmd(const char *argv0, const char *directory) {
        return argv0[0] == '/' ? strdup(argv0) : strjoin(directory, "/", program_invocation_short_name);
}

/* getopt_long() takes abbreviations, too. */
static bool is_keeper_option(const char *argument) {
        return strlen(argument) > STRLEN("--") && startswith("--keeper", argument);
}

static int add_starter(const KeeperStarter *starter, char ***l) {
        int r;

        r = strv_consume(l, strprintf("%s%zu", starter->stay ? KEEPER_STARTER_STAY : KEEPER_STARTER, strv_length(starter->argv)));
        STRV_FOREACH(a, starter->argv)
                if (r >= 0)
                        r = strv_extend(l, *a);
        return r;
}

static int make_arguments(const KeeperStarter *starter, char *const argv[], const char *directory, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        r = strv_extend(&l, "pmd-keeper");
        if (r >= 0 && starter)
                r = add_starter(starter, &l);
        if (r >= 0)
                r = strv_consume(&l, path_of_pmd(argv[0], directory));
        if (r < 0)
                return r;

        STRV_FOREACH(a, argv + 1) {
                if (is_keeper_option(*a))
                        continue;
                r = strv_extend(&l, *a);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(l);
        return 0;
}

#define RUNS_ALREADY "The keeper of %s runs already; it starts pmd again when that has died."

/* A client that finds nobody serving launches a keeper, also when the last pmd has just died. That must not come between the one
 * that has its descriptors and the pmd that it starts again. The lock goes with the descriptor through execve(). */
static int take_lock(const Instance *i) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(i->keeper_lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return log_error_errno(errno, "Failed to open %s: %m", i->keeper_lock_path);
        r = fd_lock(fd);
        if (r == -EBUSY)
                return log_error_errno(r, RUNS_ALREADY, i->home);
        if (r < 0)
                return log_error_errno(r, "Failed to lock %s: %m", i->keeper_lock_path);
        if (ftruncate(fd, 0) >= 0)
                (void) dprintf(fd, "%d\n", (int) getpid());
        return TAKE_FD(fd);
}

/* Of the path, and of what the directory is in: containers can have the same paths and share the names of sockets. */
static int make_name(const Instance *i, struct sockaddr_un *ret, socklen_t *ret_size) {
        _cleanup_free_ char *above = strndup(i->home, (size_t) (path_basename(i->home) - i->home));
        uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
        struct stat st;

        if (!above)
                return -ENOMEM;
        if (stat(above, &st) < 0)
                return -errno;
        for (const char *c = i->home; *c; c++)
                hash = (hash ^ (unsigned char) *c) * UINT64_C(0x100000001b3);

        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        /* The first byte is 0: such a name is in no directory. */
        *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 +
                                 (size_t) snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "pmd-keeper/%u/%x:%x:%" PRIu64 "/%016" PRIx64,
                                                   geteuid(), major(st.st_dev), minor(st.st_dev), (uint64_t) st.st_ino, hash));
        return 0;
}

/* The number of the socket that has the name. */
static int find_socket(const char *name, uint64_t *ret) {
        _cleanup_free_ char *line = NULL;
        size_t allocated = 0;
        int r = -ENOENT;
        FILE *f;

        f = fopen("/proc/net/unix", "re");
        if (!f)
                return -errno;
        while (r < 0 && getline(&line, &allocated, f) > 0) {
                int at = 0;

                line[strcspn(line, "\n")] = 0;
                if (sscanf(line, "%*s %*s %*s %*s %*s %*s %" SCNu64 " @%n", ret, &at) == 1 && at > 0 && streq(line + at, name))
                        r = 0;
        }
        (void) fclose(f);
        return r;
}

static bool directory_links_to(int fd, const char *target) {
        _cleanup_closedir_ DIR *d = fdopendir(fd);
        char link[64];

        if (!d) {
                safe_close(fd);
                return false;
        }
        for (struct dirent *de; (de = readdir(d));) {
                ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

                if (n < 0)
                        continue;
                link[n] = 0;
                if (streq(link, target))
                        return true;
        }
        return false;
}

/* Whether a process of this user has it open: anybody can have taken the name. The socket itself cannot be asked, as nobody can connect to it. */
static bool name_is_ours(const char *name) {
        _cleanup_closedir_ DIR *d = opendir("/proc");
        uint64_t number;
        char target[40];

        if (!d || find_socket(name, &number) < 0)
                return false;
        (void) snprintf(target, sizeof(target), "socket:[%" PRIu64 "]", number);

        for (struct dirent *de; (de = readdir(d));) {
                char path[NAME_MAX + STRLEN("/fd") + 1];
                struct stat st;
                int fd;

                (void) snprintf(path, sizeof(path), "%s/fd", de->d_name);
                if (!isdigit((unsigned char) de->d_name[0]) || fstatat(dirfd(d), de->d_name, &st, 0) < 0 || st.st_uid != geteuid())
                        continue;
                fd = openat(dirfd(d), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0 && directory_links_to(fd, target))
                        return true;
        }
        return false;
}

/* The lock below can be removed with all else that is in the directory, and a client that comes before it is made anew launches a second keeper.
 * This name cannot; it goes with its descriptor as well. Nobody listens there: strangers could leave connections with all that they have sent,
 * for as long as the keeper lives. -EBUSY: another keeper has it. */
static int take_name(const Instance *i) {
        _cleanup_close_ int fd = -EBADF;
        struct sockaddr_un name;
        socklen_t size;
        int r;

        r = make_name(i, &name, &size);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (fd < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *) &name, size) < 0) {
                r = -errno;
                return r == -EADDRINUSE && name_is_ours(name.sun_path + 1) ? -EBUSY : r;
        }
        return TAKE_FD(fd);
}

static int exec_keeper(const KeeperStarter *starter, char *const argv[]) {
        _cleanup_free_ char *directory = NULL, *beside_us = NULL;
        _cleanup_strv_free_ char **arguments = NULL;
        int r;

        r = path_get_own_directory(&directory);
        if (r < 0)
                return r;
        r = make_arguments(starter, argv, directory, &arguments);
        if (r < 0)
                return r;
        beside_us = strjoin(directory, "/pmd-keeper");
        if (!beside_us)
                return -ENOMEM;

        (void) execv(beside_us, arguments);
        if (errno == ENOENT)
                (void) execv(PMD_KEEPER_BINARY, arguments);
        return -errno;
}

int keeper_exec(const Instance *i, const KeeperStarter *starter, char *const argv[]) {
        _cleanup_close_ int lock_fd = -EBADF, name_fd = -EBADF;
        int r;

        r = instance_make_directories(i);
        if (r < 0)
                return log_error_errno(r, "Failed to make the directories below %s: %m", i->home);
        name_fd = take_name(i);
        if (name_fd == -EBUSY)
                return log_error_errno(name_fd, RUNS_ALREADY, i->home);
        if (name_fd < 0)
                log_debug_errno(name_fd, "Failed to give the keeper a name, ignoring: %m");
        lock_fd = take_lock(i);
        if (lock_fd < 0)
                return lock_fd;

        r = exec_keeper(starter, argv);
        return log_error_errno(r, "Failed to execute the keeper: %m");
}
