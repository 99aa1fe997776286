/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/proc-util.h"
#include "shared/resource-limits.h"
#include "shared/string-util.h"

/* Where pmd may write to its own cgroup: a directory of this pmd's in it, in there one for each incarnation, into which the child is born. */

#define ROOT_PREFIX "pmd-"
#define OWN_LEAF "pmd.supervisor"
#define ROOT_TRIES_MAX 8U

typedef struct CgroupRoot {
        char *path;      /* in the v2 tree */
        char *directory; /* in the file system */
        int fd;
} CgroupRoot;

typedef struct CgroupUnit {
        RunnerUnit base;
        bool made;
        bool adopted; /* made by another pmd */
        sd_event_source *events_source; /* cgroup.events, while draining */
} CgroupUnit;

static CgroupUnit *CGROUP_UNIT(RunnerUnit *u) {
        return CONTAINER_OF(u, CgroupUnit, base);
}

/* ---- the directory of this pmd ---- */

static CgroupRoot *cgroup_root_free(CgroupRoot *root) {
        int r;

        if (!root)
                return NULL;

        if (root->directory) {
                r = cgroup_remove(AT_FDCWD, root->directory);
                if (r < 0)
                        log_debug_errno(r, "Failed to remove %s, ignoring: %m", root->directory);
        }
        safe_close(root->fd);
        free(root->path);
        free(root->directory);
        return mfree(root);
}
DEFINE_CLEANUP_FUNC(CgroupRoot *, cgroup_root_free);

/* Who may not move processes out of our own cgroup cannot have them born in one below it either. */
static int find_own_cgroup(char **ret_path, char **ret_directory) {
        _cleanup_free_ char *mount = NULL, *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        char *directory;
        int r;

        r = cgroup_find_mount(&mount);
        if (r < 0)
                return r;
        r = cgroup_path_of_pid(0, &path);
        if (r < 0)
                return r;
        fd = cgroup_open(path);
        if (fd < 0)
                return fd;
        if (faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) < 0)
                return -errno;

        if (streq(path_basename(path), OWN_LEAF)) /* moved there by pass_controllers_on(), of this pmd or the one before */
                *strrchr(path, '/') = 0;
        if (streq(path, "/"))
                path[0] = 0;
        directory = strjoin(mount, path);
        if (!directory)
                return -ENOMEM;

        *ret_path = TAKE_PTR(path);
        *ret_directory = directory;
        return 0;
}

/* ---- controllers ---- */

static bool has_mark(const char *directory, const char *xattr) {
        char value;

        return getxattr(directory, xattr, &value, 1) == 1 && value == '1';
}

/* Whether the tree below our cgroup is ours: systemd marks what it has given away; in a container, the root is the container's, and not
 * that of the whole tree, which has no type. */
static bool is_delegated(const char *own_path, int own_fd, const char *own_directory) {
        if (isempty(own_path))
                return faccessat(own_fd, "cgroup.type", F_OK, 0) >= 0;
        return has_mark(own_directory, "trusted.delegate") || has_mark(own_directory, "user.delegate");
}

static bool is_keeper(pid_t pid) {
        char path[STRLEN("/proc//comm") + 16], comm[32];

        (void) snprintf(path, sizeof path, "/proc/%d/comm", (int) pid);
        return read_virtual_file_at(AT_FDCWD, path, comm, sizeof comm) > 0 && streq(comm, "pmd-keeper\n");
}

static int move_to_leaf(int own_fd) {
        _cleanup_free_ char *text = NULL;
        _cleanup_free_ pid_t *pids = NULL;
        _cleanup_close_ int leaf_fd = -EBADF;
        size_t n = 0, n_allocated = 0;
        int r;

        r = read_full_file_at(own_fd, "cgroup.procs", 0, &text, NULL);
        if (r < 0)
                return r;
        r = pids_parse(text, &pids, &n, &n_allocated);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                if (pids[i] != getpid() && !(pids[i] == getppid() && is_keeper(pids[i])))
                        return -EBUSY;

        if (n > 0 && mkdirat(own_fd, OWN_LEAF, 0755) < 0 && errno != EEXIST)
                return -errno;
        leaf_fd = openat(own_fd, OWN_LEAF, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (leaf_fd < 0)
                return -errno;
        for (size_t i = 0; i < n; i++) {
                char pid[16];

                (void) snprintf(pid, sizeof pid, "%d", (int) pids[i]);
                r = write_virtual_file_at(leaf_fd, "cgroup.procs", pid);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Each by itself, for one that is missing would let all fail. */
static void enable_controllers(int fd) {
        static const char *const controllers[] = { "+cpu", "+cpuset", "+io", "+memory", "+pids" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(controllers); i++) {
                r = write_virtual_file_at(fd, "cgroup.subtree_control", controllers[i]);
                if (r < 0)
                        log_debug_errno(r, "Failed to enable controller %s for apps, ignoring: %m", controllers[i]);
        }
}

/* A cgroup that has processes passes no controllers on. Where it is ours, and nobody but pmd and its keeper lives there, they move down. */
static void pass_controllers_on(const char *own_path, const char *own_directory) {
        _cleanup_close_ int fd = open(own_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (fd < 0 || !is_delegated(own_path, fd, own_directory))
                return;
        r = move_to_leaf(fd);
        if (r < 0) {
                log_debug_errno(r, "Cannot have controllers for apps in %s, ignoring: %m", own_directory);
                return;
        }
        enable_controllers(fd);
}

/* The lock tells other pmds that this one lives. -EAGAIN if one of them was faster and took the new directory for an old one. */
static int make_root(CgroupRoot *root, const char *own_path, const char *own_directory) {
        root->directory = strprintf("%s/" ROOT_PREFIX "%d-XXXXXX", own_directory, (int) getpid());
        if (!root->directory)
                return -ENOMEM;
        if (!mkdtemp(root->directory)) {
                root->directory = mfree(root->directory);
                return -errno;
        }

        root->fd = open(root->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root->fd < 0)
                return errno == ENOENT ? -EAGAIN : -errno;
        if (flock(root->fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        if (fchmod(root->fd, 0755) < 0) /* apps look up their own limits */
                return errno == ENOENT ? -EAGAIN : -errno;
        if (access(root->directory, F_OK) < 0)
                return -EAGAIN;

        root->path = strjoin(own_path, root->directory + strlen(own_directory));
        return root->path ? 0 : -ENOMEM;
}

/* Removes what pmds that were killed have left, unless processes are still in it. */
static void remove_stale_roots(const char *own_directory) {
        _cleanup_closedir_ DIR *d = opendir(own_directory);

        if (!d)
                return;

        for (struct dirent *de; (de = readdir(d));) {
                _cleanup_close_ int fd = -EBADF;

                if (de->d_type != DT_DIR || !startswith(de->d_name, ROOT_PREFIX))
                        continue;
                fd = openat(dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) >= 0)
                        (void) cgroup_remove(dirfd(d), de->d_name);
        }
}

static int cgroup_root_new(CgroupRoot **ret) {
        _cleanup_(cgroup_root_freep) CgroupRoot *root = NULL;
        _cleanup_free_ char *own_path = NULL, *own_directory = NULL;
        int r;

        r = find_own_cgroup(&own_path, &own_directory);
        if (r < 0)
                return r;

        remove_stale_roots(own_directory);
        pass_controllers_on(own_path, own_directory);

        for (unsigned i = 0; i < ROOT_TRIES_MAX; i++) {
                cgroup_root_free(root);
                root = new(CgroupRoot, 1);
                if (!root)
                        return -ENOMEM;
                *root = (CgroupRoot) { .fd = -EBADF };

                r = make_root(root, own_path, own_directory);
                if (r != -EAGAIN)
                        break;
        }
        if (r < 0)
                return r;
        if (faccessat(root->fd, "cgroup.kill", W_OK, AT_EACCESS) < 0 || faccessat(root->fd, "cgroup.events", R_OK, AT_EACCESS) < 0)
                return -errno;

        enable_controllers(root->fd);
        *ret = TAKE_PTR(root);
        return 0;
}

static int cgroup_runner_init(Runner *runner) {
        CgroupRoot *root = NULL;
        int r;

        r = cgroup_root_new(&root);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                log_debug_errno(r, "No cgroups for apps can be made here: %m");
                return -EOPNOTSUPP;
        }

        /* Orphans must come to us, not to a PID 1 that may not know how to wait. */
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                log_debug_errno(errno, "Failed to become a subreaper, ignoring: %m");

        runner->backend = root;
        return 0;
}

static void cgroup_runner_done(Runner *runner) {
        runner->backend = cgroup_root_free(runner->backend);
}

/* ---- the life of a unit ---- */

/* Where there is no controller it goes without; runner_unit_unenforced() tells of that. */
static int cgroup_set_limits(RunnerUnit *u, unsigned mask) {
        int ret = 0, r;

        if (u->cgroup_fd < 0)
                return -EOPNOTSUPP;
        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++) {
                if (!(mask & LIMIT_BIT(k)))
                        continue;
                r = cgroup_write_limit(u->cgroup_fd, &u->config->limits, k);
                if (r == -EOPNOTSUPP)
                        log_debug("Cannot set %s of %s: there is no controller '%s'.", limit_kind_to_string(k), u->cgroup, limit_controller(k));
                else if (r < 0) {
                        log_warning_errno(r, "Failed to set %s of %s: %m", limit_kind_to_string(k), u->cgroup);
                        RET_GATHER(ret, r);
                }
        }
        return ret;
}

static int cgroup_prepare(RunnerUnit *u) {
        const CgroupRoot *root = u->runner->backend;

        u->cgroup = strprintf("%s/%s", root->path, u->name);
        if (!u->cgroup)
                return -ENOMEM;

        FAULT_BEFORE(CGROUP_MAKE);
        if (mkdirat(root->fd, u->name, 0755) < 0)
                return -errno;
        CGROUP_UNIT(u)->made = true;
        FAULT_AFTER(CGROUP_MAKE);

        u->cgroup_fd = openat(root->fd, u->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (u->cgroup_fd < 0)
                return -errno;
        return u->config ? cgroup_set_limits(u, resource_limits_mask(&u->config->limits)) : 0;
}

/* Its cgroup is gone, or the pmd that made it ran with another runner: only the main process is known. */
static int cgroup_signal(RunnerUnit *u, int signo) {
        int n;

        if (u->cgroup_fd < 0)
                return pidref_kill(u->main, signo);
        n = cgroup_signal_all(u->cgroup_fd, signo);
        if (n == 0)
                return -ESRCH;
        return n < 0 ? n : 0;
}

static int cgroup_kill(RunnerUnit *u) {
        return u->cgroup_fd >= 0 ? cgroup_kill_all(u->cgroup_fd) : pidref_kill(u->main, SIGKILL);
}

static void report_empty(RunnerUnit *u) {
        CgroupUnit *c = CGROUP_UNIT(u);

        c->events_source = sd_event_source_disable_unref(c->events_source);
        u->on_empty(u);
}

static bool unit_is_empty(const RunnerUnit *u) {
        int r;

        if (u->cgroup_fd < 0)
                return true;
        r = cgroup_is_populated(u->cgroup_fd);
        if (r < 0)
                log_warning_errno(r, "Failed to read whether %s is empty, assuming that it is: %m", u->cgroup);
        return r <= 0;
}

static int on_cgroup_events(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        RunnerUnit *u = ASSERT_PTR(userdata);

        if (unit_is_empty(u))
                report_empty(u);
        return 0;
}

static int watch_cgroup_events(RunnerUnit *u) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(u->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return sd_event_add_inotify_fd(u->runner->event, &CGROUP_UNIT(u)->events_source, fd, IN_MODIFY, on_cgroup_events, u);
}

static int cgroup_drain(RunnerUnit *u) {
        int r;

        if (!unit_is_empty(u)) {
                r = watch_cgroup_events(u);
                if (r < 0)
                        return r;
                if (!unit_is_empty(u)) /* now that a change cannot be missed */
                        return 0;
        }

        report_empty(u);
        return 0;
}

static void cgroup_adopt(RunnerUnit *u) {
        CGROUP_UNIT(u)->made = CGROUP_UNIT(u)->adopted = u->cgroup;
}

/* It is below the directory of the pmd that made it, which goes with its last unit. */
static int remove_adopted(const RunnerUnit *u) {
        _cleanup_free_ char *mount = NULL, *directory = NULL;
        char *slash;
        int r;

        r = cgroup_find_mount(&mount);
        if (r < 0)
                return r;
        directory = strjoin(mount, u->cgroup);
        if (!directory)
                return -ENOMEM;
        r = cgroup_remove(AT_FDCWD, directory);
        if (r < 0)
                return r;

        slash = strrchr(directory, '/');
        *slash = 0;
        (void) rmdir(directory);
        return 0;
}

static void cgroup_unit_done(RunnerUnit *u) {
        const CgroupRoot *root = u->runner->backend;
        CgroupUnit *c = CGROUP_UNIT(u);
        int r;

        c->events_source = sd_event_source_disable_unref(c->events_source);
        if (!c->made)
                return;

        /* What stays, because somebody is still in it, is tried again with the whole directory at the end. */
        FAULT_BEFORE(CGROUP_REMOVE);
        r = c->adopted ? remove_adopted(u) : cgroup_remove(root->fd, u->name);
        FAULT_AFTER(CGROUP_REMOVE);
        if (r < 0)
                log_debug_errno(r, "Failed to remove cgroup %s, ignoring: %m", u->cgroup);
}

const RunnerVTable runner_cgroup_vtable = {
        .name = "cgroup",
        .unit_size = sizeof(CgroupUnit),
        .runner_init = cgroup_runner_init,
        .prepare = cgroup_prepare,
        .attach = runner_unit_report_attached,
        .signal = cgroup_signal,
        .kill = cgroup_kill,
        .drain = cgroup_drain,
        .adopt = cgroup_adopt,
        .set_limits = cgroup_set_limits,
        .unit_done = cgroup_unit_done,
        .runner_done = cgroup_runner_done,
};
