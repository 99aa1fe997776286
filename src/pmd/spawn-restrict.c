/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/spawn-restrict.h"

#define CAPABILITIES_MAX 64

/* Digits by hand: of libc's functions some take locks. */
static int set_oom_score_adjust(int value) {
        char buf[8], *p = buf + sizeof(buf);
        unsigned v = (unsigned) (value < 0 ? -value : value);
        ssize_t n;
        int fd, r = 0;

        do
                *--p = (char) ('0' + v % 10);
        while ((v /= 10) > 0);
        if (value < 0)
                *--p = '-';

        fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = write(fd, p, (size_t) (buf + sizeof(buf) - p));
        if (n < 0)
                r = -errno;
        (void) close(fd);
        return r;
}

static int set_rlimits(const Rlimit *rlimits) {
        for (int i = 0; i < (int) RLIM_NLIMITS; i++) {
                struct rlimit v = { rlimits[i].soft, rlimits[i].hard };

                if (rlimits[i].set && setrlimit((__rlimit_resource_t) i, &v) < 0)
                        return -errno;
        }
        return 0;
}

/* What is not in the bounding set is not given by the execution of a program either, not even to root. */
static int drop_bounding_set(uint64_t keep) {
        for (unsigned long i = 0; i < CAPABILITIES_MAX; i++) {
                int has;

                has = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
                if (has < 0) /* there are no more */
                        return 0;
                if (has == 0 || (keep & UINT64_C(1) << i))
                        continue;
                if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
                        return -errno;
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
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Others than root keep only ambient ones when they execute a program. */
static int raise_ambient(uint64_t mask) {
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
                if ((mask & UINT64_C(1) << i) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
                        return -errno;
        return 0;
}

int restrict_before_user(const SpawnRestrictions *s, SpawnStep *ret_step) {
        int r;

        (void) umask(s && s->umask.set ? (mode_t) s->umask.value : 0022);
        if (!s)
                return 0;

        *ret_step = SPAWN_STEP_OOM_SCORE;
        r = s->oom_score_adjust.set ? set_oom_score_adjust(s->oom_score_adjust.value) : 0;
        if (r < 0)
                return r;

        *ret_step = SPAWN_STEP_NICE;
        if (s->nice.set && setpriority(PRIO_PROCESS, 0, s->nice.value) < 0)
                return -errno;

        *ret_step = SPAWN_STEP_LIMITS;
        r = set_rlimits(s->rlimits);
        if (r < 0 || !s->set_capabilities)
                return r;

        *ret_step = SPAWN_STEP_CAPABILITIES;
        r = drop_bounding_set(s->capabilities);
        if (r < 0)
                return r;
        return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ? -errno : 0;
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
        return s->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
