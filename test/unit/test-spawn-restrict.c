/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/process-spawn.h"
#include "pmd/spawn-restrict.h"
#include "shared/capability-util.h"
#include "shared/fd-util.h"
#include "shared/strv.h"

#define TIMEOUT_MSEC 20000

/* What a child sees of itself. */

static void wait_readable(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        ASSERT_EQ(poll(&pollfd, 1, TIMEOUT_MSEC), 1);
}

static char *read_all(int fd) {
        char *text = calloc(1, 65536);
        size_t n = 0;
        ssize_t k;

        ASSERT_TRUE(text);
        do {
                wait_readable(fd);
                k = read(fd, text + n, 65535 - n);
                ASSERT_OK(k);
                n += (size_t) k;
        } while (k > 0);
        return text;
}

/* Runs a shell command with these restrictions, as uid and gid (0: as we are). What it printed, or NULL with the failed step and its errno. */
static char *run_as(const SpawnRestrictions *s, uid_t uid, const char *command, SpawnStep *ret_step, int *ret_error) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) command, NULL };
        char *const envp[] = { (char *) "PATH=/usr/bin:/bin", NULL };
        _cleanup_close_pair_ int out[2] = EBADF_PAIR;
        SpawnParameters p = {
                .argv = argv,
                .envp = envp,
                .cwd = "/",
                .stdin_fd = -EBADF,
                .stderr_fd = -EBADF,
                .cgroup_fd = -EBADF,
                .set_user = uid != 0,
                .uid = uid,
                .gid = uid,
                .restrictions = s,
        };
        SpawnResult c;
        siginfo_t si;
        char *text;
        int r;

        ASSERT_OK(pipe2(out, O_CLOEXEC));
        p.stdout_fd = out[1];
        ASSERT_OK(spawn_process(&p, &c));
        out[1] = safe_close(out[1]);
        c.gate_fd = spawn_open_gate(c.gate_fd, "");

        wait_readable(c.error_fd);
        r = spawn_read_error(c.error_fd, ret_step);
        text = read_all(out[0]);
        wait_readable(c.pidref.fd);
        ASSERT_EQ(pidref_wait(&c.pidref, &si), 1);
        pidref_done(&c.pidref);
        c.error_fd = safe_close(c.error_fd);

        *ret_error = r < 0 ? r : 0;
        if (r < 0)
                text = mfree(text);
        return text;
}

static char *run(const SpawnRestrictions *s, const char *command) {
        SpawnStep step;
        char *text;
        int error;

        text = run_as(s, 0, command, &step, &error);
        ASSERT_OK(error);
        return text;
}

static void check_failure(const SpawnRestrictions *s, uid_t uid, SpawnStep step, int error) {
        SpawnStep failed = SPAWN_STEP_NONE;
        int e;

        ASSERT_TRUE(!run_as(s, uid, "echo", &failed, &e));
        ASSERT_EQ(failed, step);
        ASSERT_EQ(e, -error);
}

TEST(nothing) {
        _cleanup_free_ char *none = run(NULL, "umask; grep NoNewPrivs /proc/self/status"),
                            *empty = run(&(SpawnRestrictions) {}, "umask; grep NoNewPrivs /proc/self/status");

        ASSERT_STREQ(none, "0022\nNoNewPrivs:\t0\n");
        ASSERT_STREQ(empty, none);
}

TEST(umask) {
        _cleanup_free_ char *text = run(&(SpawnRestrictions) { .umask = { true, 027 } }, "umask; grep Umask /proc/$$/status"),
                            *zero = run(&(SpawnRestrictions) { .umask = { true, 0 } }, "umask");

        ASSERT_STREQ(text, "0027\nUmask:\t0027\n");
        ASSERT_STREQ(zero, "0000\n");
}

TEST(nice_and_oom_score) {
        static const int scores[] = { 0, 7, 42, 1000 };
        _cleanup_free_ char *nice = run(&(SpawnRestrictions) { .nice = { true, 7 } }, "nice");

        ASSERT_STREQ(nice, "7\n");

        for (size_t i = 0; i < ELEMENTSOF(scores); i++) {
                _cleanup_free_ char *text = run(&(SpawnRestrictions) { .oom_score_adjust = { true, scores[i] } }, "cat /proc/self/oom_score_adj"),
                                    *expected = strprintf("%d\n", scores[i]);

                ASSERT_STREQ(text, expected);
        }
}

TEST(oom_score_below_ours) {
        SpawnRestrictions s = { .oom_score_adjust = { true, -17 } };
        _cleanup_free_ char *text = NULL;
        cap_flag_value_t may;
        cap_t caps = cap_get_proc();

        ASSERT_TRUE(caps);
        ASSERT_OK(cap_get_flag(caps, CAP_SYS_RESOURCE, CAP_EFFECTIVE, &may));
        (void) cap_free(caps);
        if (may != CAP_SET) {
                check_failure(&s, 0, SPAWN_STEP_OOM_SCORE, EACCES);
                return;
        }

        text = run(&s, "cat /proc/self/oom_score_adj");
        ASSERT_STREQ(text, "-17\n");
}

TEST(limits) {
        SpawnRestrictions s = {};
        _cleanup_free_ char *text = NULL;

        s.rlimits[RLIMIT_NOFILE] = (Rlimit) { true, 77, 99 };
        s.rlimits[RLIMIT_CORE] = (Rlimit) { true, 0, 0 };
        s.rlimits[RLIMIT_FSIZE] = (Rlimit) { true, 4096, 8192 };
        text = run(&s, "grep -E '^Max (open files|core|file size)' /proc/self/limits | tr -s ' '");
        ASSERT_STREQ(text, "Max file size 4096 8192 bytes \nMax core file size 0 0 bytes \nMax open files 77 99 files \n");

        s.rlimits[RLIMIT_NOFILE] = (Rlimit) { true, 5, 4 };
        check_failure(&s, 0, SPAWN_STEP_LIMITS, EINVAL);
}

TEST(no_new_privileges) {
        _cleanup_free_ char *text = run(&(SpawnRestrictions) { .no_new_privileges = true }, "grep NoNewPrivs /proc/self/status");

        ASSERT_STREQ(text, "NoNewPrivs:\t1\n");
}

#define CAPS "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | uniq"

TEST(capabilities) {
        SpawnRestrictions s = { .set_capabilities = true };
        _cleanup_free_ char *user = NULL, *root = NULL, *none = NULL, *setuid = NULL;
        SpawnStep step;
        int error;

        ASSERT_OK(capabilities_to_mask(((char *[]) { (char *) "cap_net_bind_service", (char *) "cap_chown", NULL }), &s.capabilities));
        ASSERT_EQ(s.capabilities, (UINT64_C(1) << CAP_NET_BIND_SERVICE) | (UINT64_C(1) << CAP_CHOWN));

        if (geteuid() != 0) {
                check_failure(&s, 0, SPAWN_STEP_CAPABILITIES, EPERM);
                return;
        }

        /* All five sets, for a user without any by itself and for root. */
        user = run_as(&s, 12345, CAPS, &step, &error);
        ASSERT_STREQ(user, "0000000000000401\n");
        root = run(&s, CAPS);
        ASSERT_STREQ(root, "0000000000000401\n");

        s.capabilities = 0;
        none = run_as(&s, 12345, CAPS, &step, &error);
        ASSERT_STREQ(none, "0000000000000000\n");
        setuid = run(&s, "chown 1:1 / 2>/dev/null && echo yes || echo no");
        ASSERT_STREQ(setuid, "no\n");
}

TEST(of_other_users) {
        if (geteuid() != 0)
                return;

        /* They are taken on before the user is. */
        _cleanup_free_ char *text = NULL;
        SpawnStep step;
        int error;

        text = run_as(&(SpawnRestrictions) { .nice = { true, -3 }, .oom_score_adjust = { true, 17 } }, 12345,
                      "id -u; nice; cat /proc/self/oom_score_adj", &step, &error);
        ASSERT_STREQ(text, "12345\n-3\n17\n");
}

TEST(names) {
        _cleanup_free_ char *name = NULL;
        uint64_t mask = 1;

        ASSERT_OK(capability_normalize("CAP_NET_ADMIN", &name));
        ASSERT_STREQ(name, "cap_net_admin");
        ASSERT_EQ(capability_normalize("cap_", &name), -EINVAL);
        ASSERT_EQ(capability_normalize("", &name), -EINVAL);
        ASSERT_EQ(capabilities_to_mask(((char *[]) { (char *) "chown", (char *) "x", NULL }), &mask), -EINVAL);
        ASSERT_OK(capabilities_to_mask(NULL, &mask));
        ASSERT_EQ(mask, 0);
}
