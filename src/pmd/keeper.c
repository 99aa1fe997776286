/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "pmd/keeper.h"

#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
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
                return log_error_errno(r, "The keeper of %s runs already; it starts pmd again when that has died.", i->home);
        if (r < 0)
                return log_error_errno(r, "Failed to lock %s: %m", i->keeper_lock_path);
        if (ftruncate(fd, 0) >= 0)
                (void) dprintf(fd, "%d\n", (int) getpid());
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
        _cleanup_close_ int lock_fd = -EBADF;
        int r;

        r = instance_make_directories(i);
        if (r < 0)
                return log_error_errno(r, "Failed to make the directories below %s: %m", i->home);
        lock_fd = take_lock(i);
        if (lock_fd < 0)
                return lock_fd;

        r = exec_keeper(starter, argv);
        return log_error_errno(r, "Failed to execute the keeper: %m");
}
