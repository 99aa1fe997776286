/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmd/manager-runtime.h"

#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/cluster.h"
#include "pmd/definition-file.h"
#include "pmd/keeper.h"
#include "pmd/manager-boot.h"
#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "pmd/request-journal.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/pidref.h"
#include "shared/process-states.h"
#include "shared/string-util.h"

/* Who removes the directory with all that is in it should be done by then. While there is the keeper's lock, clients wait. */
#define REPAIR_DELAY_MIN_USEC (50 * USEC_PER_MSEC)
/* Of tries where nothing can be made, because the file system is full, or cannot be written to. */
#define REPAIR_DELAY_MAX_USEC (30 * USEC_PER_SEC)

#define LOG_NAME "pmd.log"

/* ---- the lock ---- */

/* The last pmd may have been killed between the birth of a child and the first thing that this does, which is to let go of pmd's descriptors: for that moment
 * the lock is that of a process that is dead. Nothing is served yet that could be kept waiting. */
#define ORPHANED_LOCK_USEC (5 * USEC_PER_SEC)

static bool lock_is_orphaned(int fd) {
        PidRef holder;
        bool dead;
        pid_t pid;
        int r;

        pid = fd_get_lock_holder(fd);
        if (pid <= 0)
                return true; /* to a process in a namespace of its own, those that are dead have no number */
        r = pidref_open(&holder, pid);
        if (r < 0)
                return r == -ESRCH;
        dead = !pidref_is_alive(&holder);
        pidref_done(&holder);
        return dead;
}

static int take_lock(int fd) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), ORPHANED_LOCK_USEC);
        int r;

        while ((r = fd_lock(fd)) == -EBUSY && lock_is_orphaned(fd) && now(CLOCK_MONOTONIC) < deadline)
                (void) poll(NULL, 0, 1);
        return r;
}

static int open_lock(const Manager *m, int (*lock)(int fd), int *ret) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(m->instance->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return log_error_errno(errno, "Failed to open %s: %m", m->instance->lock_path);

        r = lock(fd);
        if (r == -EBUSY)
                return log_error_errno(r, "Another pmd serves %s already.", m->instance->runtime_dir);
        if (r < 0)
                return log_error_errno(r, "Failed to lock %s: %m", m->instance->lock_path);

        if (ftruncate(fd, 0) >= 0)
                (void) dprintf(fd, "%d\n", (int) getpid());
        *ret = TAKE_FD(fd);
        return 0;
}

int manager_take_lock(Manager *m) {
        return open_lock(m, take_lock, &m->lock_fd);
}

/* To close another descriptor of the file would release the lock, so it is only looked at. */
static bool lock_is_there(const Manager *m) {
        struct stat ours, there;

        return fstat(m->lock_fd, &ours) >= 0 && lstat(m->instance->lock_path, &there) >= 0 && ours.st_dev == there.st_dev &&
               ours.st_ino == there.st_ino;
}

static int repair_lock(Manager *m) {
        int fd, r;

        if (lock_is_there(m))
                return 0;
        r = open_lock(m, fd_lock, &fd); /* nobody can have died with one that is new, and others are served */
        if (r < 0)
                return r;
        safe_close(m->lock_fd);
        m->lock_fd = fd;
        return 0;
}

/* ---- all of it ---- */

static void repair_lock_of_keeper(const Manager *m) {
        if (m->keeper_exits)
                (void) sd_notifyf(false, KEEPER_LOCK "%s", m->instance->keeper_lock_path);
}

void manager_repair_log(const Manager *m) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (m->instance->scope != INSTANCE_PRIVATE)
                return; /* the journal */
        path = strjoin(m->instance->home, "/" LOG_NAME);
        r = path ? stdio_reopen(path) : -ENOMEM;
        if (r < 0)
                log_debug_errno(r, "Failed to make the log anew, ignoring: %m");
        if (r >= 0 && m->keeper_exits)
                (void) sd_notifyf(false, KEEPER_LOG "%s", path);
}

static void save_all(Manager *m) {
        struct lh_entry *e;
        Process *p;

        lh_foreach(m->apps, e) {
                const App *a = lh_entry_v(e);

                if (a->cluster)
                        cluster_save(a->cluster);
        }
        MANAGER_FOREACH_INCARNATION(p, m) {
                process_repair_notify(p);
                manager_enqueue_changed(m, p);
        }
}

/* Watched first, so that nothing that is removed again is missed. */
static int repair(Manager *m) {
        int r;

        r = instance_make_directories(m->instance);
        if (r < 0)
                return log_error_errno(r, "Failed to make the directories below %s anew: %m", m->instance->home);
        r = manager_watch_runtime(m);
        if (r < 0)
                return r;
        r = repair_lock(m);
        if (r < 0)
                return r;
        r = bus_face_listen_again(m->bus_face);
        if (r < 0)
                return r;
        repair_lock_of_keeper(m);
        manager_repair_log(m);
        manager_boot_remember(m);
        manager_check_state_files(m);
        request_journal_repair(m->request_journal);
        save_all(m);
        return r;
}

static int on_repair(sd_event_source *s, uint64_t usec, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        if (m->exiting)
                return 0;

        r = repair(m);
        if (r >= 0) {
                m->runtime_repair_delay = 0;
                return 0;
        }

        m->runtime_repair_delay = MIN(m->runtime_repair_delay * 2, REPAIR_DELAY_MAX_USEC);
        r = sd_event_source_set_time_relative(s, m->runtime_repair_delay);
        return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int repair_after(Manager *m, usec_t delay) {
        int r;

        m->runtime_repair_source = sd_event_source_disable_unref(m->runtime_repair_source);
        r = sd_event_add_time_relative(m->event, &m->runtime_repair_source, CLOCK_MONOTONIC, delay, 1, on_repair, m);
        if (r < 0)
                return log_error_errno(r, "Failed to see to %s, ignoring: %m", m->instance->runtime_dir);
        m->runtime_repair_delay = REPAIR_DELAY_MIN_USEC;
        return 0;
}

static bool is_ours(const Manager *m, const char *name) {
        const char *const paths[] = { m->instance->socket_path, m->instance->lock_path, m->instance->keeper_lock_path, "/" PROCESS_STATES_FILE,
                                      "/" DEFINITION_FILE, "/" REQUEST_JOURNAL_FILE };

        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                if (streq(path_basename(paths[i]), name))
                        return true;
        return false;
}

static int on_removed(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        if (m->exiting || m->runtime_repair_delay > 0 || (event->len > 0 && !(event->mask & IN_ISDIR) && !is_ours(m, event->name)))
                return 0;
        return repair_after(m, REPAIR_DELAY_MIN_USEC);
}

/* Without any lock no client is kept from starting another pmd. */
static int on_removed_from_home(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        if (m->exiting || (event->len > 0 && !streq(event->name, path_basename(m->instance->runtime_dir)) && !streq(event->name, LOG_NAME)))
                return 0;
        return repair_after(m, 0);
}

static int watch_directory(Manager *m, const char *path, sd_event_inotify_handler_t handler, sd_event_source **source) {
        sd_event_source *s;
        int r;

        r = sd_event_add_inotify(m->event, &s, path, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_ONLYDIR, handler, m);
        if (r < 0)
                return log_error_errno(r, "Failed to watch %s: %m", path);
        sd_event_source_disable_unref(*source);
        *source = s;
        return 0;
}

/* Our open files are in it, so that it only goes when they are closed, and does not tell of its end before; its parent does. Where there
 * is a bus, its name is what a second pmd would not get. */
int manager_watch_runtime(Manager *m) {
        int r;

        r = watch_directory(m, m->instance->runtime_dir, on_removed, &m->runtime_source);
        if (r < 0 || m->instance->scope != INSTANCE_PRIVATE)
                return r;
        return watch_directory(m, m->instance->home, on_removed_from_home, &m->home_source);
}

void manager_unwatch_runtime(Manager *m) {
        m->runtime_source = sd_event_source_disable_unref(m->runtime_source);
        m->home_source = sd_event_source_disable_unref(m->home_source);
        m->runtime_repair_source = sd_event_source_disable_unref(m->runtime_repair_source);
}
