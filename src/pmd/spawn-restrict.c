/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/raw-syscall.h"
#include "pmd/spawn-restrict.h"

#define CAPABILITIES_MAX 64

/* Digits by hand: of libc's functions some take locks. */
static int set_oom_score_adjust(int value) {
        char buf[8], *p = buf + sizeof(buf);
        unsigned v = (unsigned) (value < 0 ? -value : value);
        long fd, r;

        do
                *--p = (char) ('0' + v % 10);
        while ((v /= 10) > 0);
        if (value < 0)
                *--p = '-';

        fd = RAW_SYSCALL(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return (int) fd;
        r = RAW_SYSCALL(SYS_write, fd, p, buf + sizeof(buf) - p);
        (void) RAW_SYSCALL(SYS_close, fd);
        return r < 0 ? (int) r : 0;
}

static int set_rlimits(const Rlimit *rlimits) {
        for (int i = 0; i < (int) RLIM_NLIMITS; i++) {
                struct rlimit64 v = { rlimits[i].soft, rlimits[i].hard };
                long r = rlimits[i].set ? RAW_SYSCALL(SYS_prlimit64, 0, i, &v, NULL) : 0;

                if (r < 0)
                        return (int) r;
        }
        return 0;
}

/* What is not in the bounding set is not given by the execution of a program either, not even to root. */
static int drop_bounding_set(uint64_t keep) {
        for (unsigned long i = 0; i < CAPABILITIES_MAX; i++) {
                long r;

                r = RAW_SYSCALL(SYS_prctl, PR_CAPBSET_READ, i);
                if (r < 0) /* there are no more */
                        return 0;
                if (r == 0 || (keep & UINT64_C(1) << i))
                        continue;
                r = RAW_SYSCALL(SYS_prctl, PR_CAPBSET_DROP, i);
                if (r < 0)
                        return (int) r;
        }
        return 0;
}

static int set_capabilities(uint64_t mask) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
                uint32_t word = (uint32_t) (mask >> (32 * i));

                data[i] = (struct __user_cap_data_struct) { .effective = word, .permitted = word, .inheritable = word };
        }
        return (int) RAW_SYSCALL(SYS_capset, &header, data);
}

/* Others than root keep only ambient ones when they execute a program. */
static int raise_ambient(uint64_t mask) {
        long r;

        r = RAW_SYSCALL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
        for (unsigned long i = 0; r >= 0 && i < CAPABILITIES_MAX; i++)
                if (mask & UINT64_C(1) << i)
                        r = RAW_SYSCALL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i);
        return r < 0 ? (int) r : 0;
}

int restrict_before_user(const SpawnRestrictions *s, SpawnStep *ret_step) {
        int r;

        (void) RAW_SYSCALL(SYS_umask, s && s->umask.set ? s->umask.value : 0022);
        if (!s)
                return 0;

        *ret_step = SPAWN_STEP_OOM_SCORE;
        r = s->oom_score_adjust.set ? set_oom_score_adjust(s->oom_score_adjust.value) : 0;
        if (r < 0)
                return r;

        *ret_step = SPAWN_STEP_NICE;
        r = s->nice.set ? (int) RAW_SYSCALL(SYS_setpriority, PRIO_PROCESS, 0, s->nice.value) : 0;
        if (r < 0)
                return r;

        *ret_step = SPAWN_STEP_LIMITS;
        r = set_rlimits(s->rlimits);
        if (r < 0 || !s->set_capabilities)
                return r;

        *ret_step = SPAWN_STEP_CAPABILITIES;
        r = drop_bounding_set(s->capabilities);
        if (r < 0)
                return r;
        return (int) RAW_SYSCALL(SYS_prctl, PR_SET_KEEPCAPS, 1);
}

int restrict_after_user(const SpawnRestrictions *s, SpawnStep *ret_step) {
        int r;

        if (!s)
                return 0;

        if (s->set_capabilities) {
                *ret_step = SPAWN_STEP_CAPABILITIES;
                r = set_capabilities(s->capabilities);
                if (r >= 0)
                        r = raise_ambient(s->capabilities);
                if (r < 0)
                        return r;
        }

        *ret_step = SPAWN_STEP_NO_NEW_PRIVILEGES;
        return s->no_new_privileges ? (int) RAW_SYSCALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) : 0;
}
