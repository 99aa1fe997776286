/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/spawner.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/proc-util.h"
#include "spawn-fixture.h"
#include "test.h"

#define TIMEOUT_MSEC 20000

static char *const no_environment[] = { NULL };

void wait_readable(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        ASSERT_EQ(poll(&pollfd, 1, TIMEOUT_MSEC), 1);
}

siginfo_t wait_child(SpawnResult *c) {
        siginfo_t si;

        wait_readable(c->pidref.fd);
        ASSERT_EQ(pidref_wait(&c->pidref, &si), 1);
        c->place = spawn_place_release(c->place, -EBADF);
        pidref_done(&c->pidref);
        c->gate_fd = safe_close(c->gate_fd);
        c->error_fd = safe_close(c->error_fd);
        return si;
}

int wait_exec(const SpawnResult *c, SpawnStep *ret_step) {
        wait_readable(c->error_fd);
        return spawn_read_error(c->error_fd, ret_step);
}

SpawnParameters make_parameters(char *const *argv, bool with_spawner) {
        static Spawner *spawner = NULL;

        if (with_spawner && !spawner)
                ASSERT_OK(spawner_new(&spawner));
        return (SpawnParameters) {
                .spawner = spawner,
                .argv = argv,
                .envp = no_environment,
                .cwd = "/",
                .stdin_fd = -EBADF,
                .stdout_fd = -EBADF,
                .stderr_fd = -EBADF,
                .cgroup_fd = -EBADF,
        };
}

char *read_all(int fd) {
        char *text = calloc(1, 65536);
        size_t n = 0;

        ASSERT_TRUE(text);
        for (;;) {
                ssize_t k;

                wait_readable(fd);
                k = read(fd, text + n, 65535 - n);
                ASSERT_OK(k);
                if (k == 0)
                        return text;
                n += (size_t) k;
        }
}

char *run(SpawnParameters p, const char *invocation_id) {
        _cleanup_close_pair_ int out[2] = EBADF_PAIR;
        SpawnStep step;
        SpawnResult c;
        siginfo_t si;
        char *text;

        ASSERT_OK(pipe2(out, O_CLOEXEC));
        p.stdout_fd = out[1];
        ASSERT_OK(spawn_process(&p, &c));
        out[1] = safe_close(out[1]);

        c.gate_fd = spawn_open_gate(c.gate_fd, invocation_id);
        ASSERT_EQ(c.gate_fd, -EBADF);
        ASSERT_EQ(wait_exec(&c, &step), 1);

        text = read_all(out[0]);
        si = wait_child(&c);
        ASSERT_EQ(si.si_code, CLD_EXITED);
        ASSERT_EQ(si.si_status, 0);
        return text;
}

void check_in_child(void (*f)(void)) {
        int status;
        pid_t pid;

        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                if (setjmp(test_escape) == 0) {
                        f();
                        _exit(0);
                }
                (void) fflush(stdout);
                _exit(1);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
}

void wait_session(pid_t pid) {
        ProcStat st;

        do {
                (void) sched_yield();
                ASSERT_OK(proc_read_stat(pid, &st));
        } while (st.session != pid);
}

SpawnResult spawn_until_gate(const SpawnParameters *p) {
        SpawnResult c;

        ASSERT_OK(spawn_process(p, &c));
        wait_session(c.pidref.pid);
        return c;
}

void end_at_gate(SpawnResult *c) {
        c->gate_fd = safe_close(c->gate_fd);
        ASSERT_EQ(wait_child(c).si_status, SPAWN_EXIT_GATE_CLOSED);
}

void check_failure(const SpawnParameters *p, SpawnStep step, int error, int code) {
        SpawnStep failed = SPAWN_STEP_NONE;
        SpawnResult c;
        siginfo_t si;

        ASSERT_OK(spawn_process(p, &c));
        c.gate_fd = spawn_open_gate(c.gate_fd, "");
        ASSERT_EQ(wait_exec(&c, &failed), -error);
        ASSERT_EQ(failed, step);
        si = wait_child(&c);
        ASSERT_EQ(si.si_code, CLD_EXITED);
        ASSERT_EQ(si.si_status, code);
}
