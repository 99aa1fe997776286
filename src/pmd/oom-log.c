/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/oom-log.h"
#include "shared/fd-util.h"
#include "shared/log.h"

#define KEPT_MAX 32U
#define RECORD_MAX 8192U

/* In one go: the first time all that the kernel has kept since it booted is read. */
#define READ_MAX 50000U

/* Of the first pid namespace. The log has its pids: elsewhere they are somebody else's, or nobody's. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU

struct OomLog {
        int fd; /* -EBADF: the log may not be read */
        OomRecord records[KEPT_MAX]; /* a ring */
        size_t next;
};

static int open_kernel_log(void) {
        struct stat st;
        int fd;

        if (stat("/proc/self/ns/pid", &st) < 0)
                return -errno;
        if (st.st_ino != FIRST_PID_NAMESPACE)
                return -EXDEV;
        fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int oom_log_new(OomLog **ret) {
        OomLog *l = new0(OomLog, 1);

        if (!l)
                return -ENOMEM;

        l->fd = open_kernel_log();
        if (l->fd < 0) {
                log_debug_errno(l->fd, "Cannot read the kernel's log, victims of the OOM killer will have no name: %m");
                l->fd = -EBADF;
        }
        *ret = l;
        return 0;
}

OomLog *oom_log_free(OomLog *l) {
        if (!l)
                return NULL;

        safe_close(l->fd);
        for (size_t i = 0; i < KEPT_MAX; i++)
                oom_record_done(l->records + i);
        return mfree(l);
}

static void keep(OomLog *l, OomRecord *record) {
        OomRecord *slot = l->records + l->next;

        oom_record_done(slot);
        *slot = *record;
        l->next = (l->next + 1) % KEPT_MAX;
}

static void read_new(OomLog *l) {
        char buf[RECORD_MAX];

        for (unsigned i = 0; l->fd >= 0 && i < READ_MAX; i++) {
                ssize_t n = read(l->fd, buf, sizeof buf - 1);
                OomRecord record;

                if (n < 0 && errno == EPIPE) /* the kernel has overwritten what was next */
                        continue;
                if (n < 0 && errno != EAGAIN)
                        log_debug_errno(errno, "Failed to read the kernel's log, ignoring: %m");
                if (n <= 0)
                        return;
                buf[n] = 0;
                if (oom_record_parse(buf, &record) > 0)
                        keep(l, &record);
        }
}

/* The kernel's path begins at the root of the tree, ours perhaps at that of a cgroup namespace; an app may have made cgroups of its own. */
static bool is_in_cgroup(const OomRecord *record, const char *cgroup) {
        const char *p = record->cgroup ? strstr(record->cgroup, cgroup) : NULL;

        return p && IN_SET(p[strlen(cgroup)], 0, '/');
}

const OomRecord *oom_log_find(OomLog *l, const char *cgroup, pid_t pid) {
        if (!l)
                return NULL;

        read_new(l);
        for (size_t i = 1; i <= KEPT_MAX; i++) {
                const OomRecord *record = l->records + (l->next + KEPT_MAX - i) % KEPT_MAX;

                if (is_in_cgroup(record, cgroup) && (pid == 0 || record->pid == pid))
                        return record;
        }
        return NULL;
}
