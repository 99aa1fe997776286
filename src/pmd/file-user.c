/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/file-user.h"
#include "shared/string-util.h"

#ifdef SYS_setgroups32 /* the plain one is of 16 bits there */
#define RAW_SETGROUPS SYS_setgroups32
#define RAW_SETFSGID SYS_setfsgid32
#define RAW_SETFSUID SYS_setfsuid32
#else
#define RAW_SETGROUPS SYS_setgroups
#define RAW_SETFSGID SYS_setfsgid
#define RAW_SETFSUID SYS_setfsuid
#endif

static _Thread_local bool assumed;

/* Those of a root that started pmd from its shell; a service has none. */
static _Thread_local gid_t *own_groups;
static _Thread_local size_t n_own_groups;

/* libc's wrappers change the ids of all threads or hide errors; the kernel's belong to the calling thread. */
static void set_fs_ids(uid_t uid, gid_t gid) {
        (void) syscall(RAW_SETFSGID, gid);
        (void) syscall(RAW_SETFSUID, uid);
}

static int leave_groups(void) {
        int n = getgroups(0, NULL);

        if (n <= 0)
                return 0;
        own_groups = new(gid_t, (size_t) n);
        if (!own_groups)
                return -ENOMEM;
        n = getgroups(n, own_groups);
        if (n < 0 || syscall(RAW_SETGROUPS, 0, NULL) < 0) {
                int r = -errno;

                own_groups = mfree(own_groups);
                return r;
        }
        n_own_groups = (size_t) n;
        return 0;
}

int file_user_assume(uid_t uid, gid_t gid) {
        int r;

        if (uid == geteuid() && gid == getegid())
                return 0;

        r = leave_groups();
        if (r < 0)
                return r;
        assumed = true;
        set_fs_ids(uid, gid);
        /* The calls return the previous value and never an error: asking again with an invalid id tells. */
        if ((uid_t) syscall(RAW_SETFSUID, -1) == uid && (gid_t) syscall(RAW_SETFSGID, -1) == gid)
                return 0;
        file_user_reset();
        return -EPERM;
}

void file_user_reset(void) {
        if (!assumed)
                return;
        assumed = false;
        set_fs_ids(geteuid(), getegid());
        if (own_groups)
                (void) syscall(RAW_SETGROUPS, n_own_groups, own_groups);
        own_groups = mfree(own_groups);
}
