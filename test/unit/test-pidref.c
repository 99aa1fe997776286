/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/pidref.h"
#include "shared/proc-util.h"

#define TIMEOUT_MSEC 20000

/* A child that ends with this code as soon as it is told to by a byte, or by the end of the pipe. */
static pid_t fork_child(int code, int *ret_fd) {
        int fds[2];
        pid_t pid;
        char c;

        ASSERT_OK(pipe(fds));
        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                (void) close(fds[1]);
                while (read(fds[0], &c, 1) < 0)
                        ;
                _exit(code);
        }
        (void) close(fds[0]);
        *ret_fd = fds[1];
        return pid;
}

static void wait_for_exit(const PidRef *p) {
        struct pollfd pollfd = { .fd = p->fd, .events = POLLIN };

        ASSERT_EQ(poll(&pollfd, 1, TIMEOUT_MSEC), 1);
}

/* Where the kernel does not tell how a process ended, its start time tells whether it is the one that somebody else saw end. */
TEST(start_time) {
        PidRef p;
        ProcStat st;

        ASSERT_OK(setenv("PMD_NO_PIDFD_EXIT", "1", true));
        ASSERT_OK(pidref_open(&p, getpid()));
        ASSERT_OK(unsetenv("PMD_NO_PIDFD_EXIT"));
        ASSERT_OK(proc_read_stat(getpid(), &st));
        ASSERT_EQ(p.start_time, st.start_time);
        ASSERT_TRUE(p.start_time > 0);
        pidref_done(&p);
}

TEST(open) {
        PidRef p;

        ASSERT_OK(pidref_open(&p, getpid()));
        ASSERT_EQ(p.pid, getpid());
        ASSERT_TRUE(p.fd >= 0);
        ASSERT_TRUE(p.start_time > 0 || p.fd_id > 0);
        ASSERT_TRUE(pidref_is_alive(&p));
        ASSERT_EQ(pidref_kill(&p, 0), 0);

        pidref_done(&p);
        ASSERT_TRUE(!pidref_is_set(&p));
        ASSERT_EQ(p.fd, -EBADF);
        pidref_done(&p);

        ASSERT_EQ(pidref_open(&p, 0), -ESRCH);
        ASSERT_EQ(pidref_open(&p, -1), -ESRCH);
}

TEST(unset) {
        PidRef p = PIDREF_NULL;
        siginfo_t si;

        ASSERT_TRUE(!pidref_is_set(&p));
        ASSERT_TRUE(!pidref_is_alive(&p));
        ASSERT_EQ(pidref_kill(&p, SIGTERM), -ESRCH);
        ASSERT_EQ(pidref_wait(&p, &si), -ECHILD);
}

TEST(wait) {
        PidRef p, q = PIDREF_NULL;
        siginfo_t si;
        int fd;

        ASSERT_OK(pidref_open(&p, fork_child(7, &fd)));
        ASSERT_EQ(pidref_wait(&p, &si), 0);
        ASSERT_TRUE(pidref_is_alive(&p));

        (void) close(fd);
        wait_for_exit(&p);
        ASSERT_TRUE(!pidref_is_alive(&p));
        ASSERT_EQ(pidref_kill(&p, 0), 0); /* a zombie */

        ASSERT_EQ(pidref_wait(&p, &si), 1);
        ASSERT_EQ(si.si_pid, p.pid);
        ASSERT_EQ(si.si_code, CLD_EXITED);
        ASSERT_EQ(si.si_status, 7);

        ASSERT_EQ(pidref_wait(&p, &si), -ECHILD);
        ASSERT_EQ(pidref_kill(&p, 0), -ESRCH);
        ASSERT_EQ(pidref_open(&q, p.pid), -ESRCH);
        ASSERT_TRUE(!pidref_is_set(&q));
        pidref_done(&p);
}

TEST(wait_of_stranger) {
        PidRef p;
        siginfo_t si;

        ASSERT_OK(pidref_open(&p, getppid()));
        ASSERT_EQ(pidref_wait(&p, &si), -ECHILD);
        pidref_done(&p);
}

TEST(reopen) {
        PidRef p, q = PIDREF_NULL;
        ProcStat st;

        ASSERT_OK(pidref_open(&p, getpid()));
        ASSERT_OK(proc_read_stat(getpid(), &st));
        p.start_time = st.start_time;

        ASSERT_OK(pidref_reopen(&q, p.pid, p.start_time, p.fd_id));
        ASSERT_EQ(q.pid, p.pid);
        ASSERT_EQ(q.start_time, p.start_time);
        ASSERT_EQ(q.fd_id, p.fd_id);
        pidref_done(&q);

        /* The kernel that the state was written under may have had no pidfs. */
        ASSERT_OK(pidref_reopen(&q, p.pid, p.start_time, 0));
        pidref_done(&q);

        ASSERT_EQ(pidref_reopen(&q, p.pid, p.start_time + 1, p.fd_id), -ESRCH);
        ASSERT_EQ(pidref_reopen(&q, p.pid, p.start_time + 1, 0), -ESRCH);
        ASSERT_EQ(pidref_reopen(&q, p.pid, 0, 0), -ESRCH);
        if (p.fd_id != 0)
                ASSERT_EQ(pidref_reopen(&q, p.pid, p.start_time, p.fd_id + 1), -ESRCH);
        ASSERT_TRUE(!pidref_is_set(&q));
        pidref_done(&p);
}

TEST(proc_children) {
        _cleanup_free_ pid_t *children = NULL;
        int fds[2];
        pid_t pids[2];

        for (size_t i = 0; i < ELEMENTSOF(pids); i++)
                pids[i] = fork_child(0, &fds[i]);

        ASSERT_EQ(proc_get_children(getpid(), &children), 2);
        ASSERT_TRUE((children[0] == pids[0] && children[1] == pids[1]) || (children[0] == pids[1] && children[1] == pids[0]));

        for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
                ASSERT_EQ(write(fds[i], "x", 1), 1);
                ASSERT_EQ(waitpid(pids[i], NULL, 0), pids[i]);
                (void) close(fds[i]);
        }

        children = mfree(children);
        ASSERT_EQ(proc_get_children(getpid(), &children), 0);
        children = mfree(children);
        ASSERT_EQ(proc_get_children(pids[0], &children), -ESRCH);
}

TEST(proc_environment) {
        _cleanup_free_ char *path = NULL, *prefix = NULL;

        ASSERT_TRUE(getenv("PATH"));
        path = strjoin("PATH=", getenv("PATH"));
        prefix = strndup(path, strlen(path) - 1);
        ASSERT_TRUE(path && prefix);
        ASSERT_EQ(proc_has_environment(getpid(), path), 1);
        ASSERT_EQ(proc_has_environment(getpid(), prefix), 0);
        ASSERT_EQ(proc_has_environment(getpid(), path + 1), 0);
}

/* A grandchild whose parent ends: not ours to wait for. */
static pid_t fork_orphan(int exit_code, int *ret_gate) {
        int pids[2], gate[2];
        pid_t middle, orphan = 0;

        ASSERT_OK(pipe2(pids, O_CLOEXEC));
        ASSERT_OK(pipe2(gate, O_CLOEXEC));
        middle = fork();
        ASSERT_OK(middle);
        if (middle == 0) {
                orphan = fork();
                if (orphan == 0) {
                        char c;

                        close(gate[1]);
                        (void) !read(gate[0], &c, 1);
                        _exit(exit_code);
                }
                (void) !write(pids[1], &orphan, sizeof orphan);
                _exit(0);
        }
        ASSERT_EQ(read(pids[0], &orphan, sizeof orphan), sizeof orphan);
        ASSERT_EQ(waitpid(middle, NULL, 0), middle);
        close(pids[0]);
        close(pids[1]);
        close(gate[0]);
        *ret_gate = gate[1];
        return orphan;
}

TEST(the_exit_of_a_stranger) {
        PidRef p = PIDREF_NULL;
        struct pollfd poll_fd;
        siginfo_t si = {};
        int gate, r;

        ASSERT_OK(pidref_open(&p, fork_orphan(7, &gate)));
        r = pidref_get_exit(&p, &si);
        ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
        ASSERT_EQ(pidref_wait(&p, &si), -ECHILD);
        close(gate);

        poll_fd = (struct pollfd) { .fd = p.fd, .events = POLLIN };
        ASSERT_EQ(poll(&poll_fd, 1, 10000), 1);
        if (r == 0) {
                poll_fd.events = 0; /* until somebody has reaped it */
                ASSERT_EQ(poll(&poll_fd, 1, 10000), 1);
                ASSERT_EQ(pidref_get_exit(&p, &si), 1);
                ASSERT_EQ(si.si_code, CLD_EXITED);
                ASSERT_EQ(si.si_status, 7);
        }
        pidref_done(&p);
}
