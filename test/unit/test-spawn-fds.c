/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/spawner.h"
#include "shared/fd-util.h"
#include "spawn-fixture.h"
#include "test.h"

static int pipe_with(const char *text, int at) {
        int fds[2], fd;

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        ASSERT_EQ(write(fds[1], text, strlen(text)), (ssize_t) strlen(text));
        safe_close(fds[1]);
        fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 100 + at);
        safe_close(fds[0]);
        return fd;
}

/* Wherever they, and what is made beside them, are in pmd: also at each other's places. */
static void check_extra_fds(void) {
        static const char *const texts[] = { "a", "b", "c" };
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) "cat <&3; cat <&4; cat <&5; (: <&6) 2>/dev/null || echo none", NULL };
        char *const envp[] = { (char *) "PATH=/usr/bin:/bin", NULL };

        for (int order = 0; order < 6; order++) {
                SpawnParameters p = parameters(argv);
                _cleanup_free_ char *text = NULL;
                int fds[3], places[3] = { 3 + order % 3, 3 + (order + 1 + order / 3) % 3, 3 + (order + 2 - order / 3) % 3 };

                ASSERT_OK(close_range(3, ~0U, 0));
                for (int i = 0; i < 3; i++) {
                        int fd = pipe_with(texts[i], i);

                        ASSERT_OK(fd);
                        fds[i] = dup3(fd, places[i], O_CLOEXEC);
                        ASSERT_EQ(fds[i], places[i]);
                        safe_close(fd);
                }
                if (p.spawner) /* the other one's places are closed */
                        ASSERT_OK(spawner_new(&p.spawner));
                p.envp = envp;
                p.extra_fds = fds;
                p.n_extra_fds = 3;
                text = run(p, "");
                ASSERT_STREQ(text, "abcnone\n");
        }
}

TEST(extra_fds) {
        check_in_child(check_extra_fds);
}

static void check_low_fds(void) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) "read x; echo out; echo err >&2", NULL };
        SpawnParameters p = parameters(argv);
        SpawnStep step;
        SpawnResult c;
        char text[16];
        int out[2], err[2];

        for (int fd = 0; fd < 3; fd++)
                (void) close(fd);
        /* 0 and 1, 2 and 3: each that the child gets is in the way of another. */
        ASSERT_OK(pipe2(err, O_CLOEXEC));
        ASSERT_OK(pipe2(out, O_CLOEXEC));
        p.stdout_fd = out[1];
        p.stderr_fd = err[1];
        ASSERT_OK(spawn_process(&p, &c));
        (void) close(out[1]);
        (void) close(err[1]);
        c.gate_fd = spawn_open_gate(c.gate_fd, "");
        ASSERT_EQ(wait_exec(&c, &step), 1);
        ASSERT_EQ(read(out[0], text, sizeof(text)), 4);
        ASSERT_TRUE(memcmp(text, "out\n", 4) == 0);
        ASSERT_EQ(read(err[0], text, sizeof(text)), 4);
        ASSERT_TRUE(memcmp(text, "err\n", 4) == 0);
}

TEST(low_fds) {
        check_in_child(check_low_fds);
}

static int count_fds(void) {
        _cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
        int n = 0;

        ASSERT_TRUE(d);
        while (readdir(d))
                n++;
        return n;
}

/* The limit is met at each descriptor in turn. */
static void check_fd_limit(void) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        struct rlimit limit;
        unsigned failed = 0;
        SpawnResult c;
        int r, before = count_fds();

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        for (limit.rlim_cur = (rlim_t) dup(0) + 1;; limit.rlim_cur++) {
                struct rlimit enough = { 1024, limit.rlim_max };

                ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
                r = spawn_process(&p, &c);
                ASSERT_OK(setrlimit(RLIMIT_NOFILE, &enough));
                if (r >= 0)
                        break;
                ASSERT_EQ(r, -EMFILE);
                ASSERT_EQ(count_fds(), before + 1);
                ASSERT_TRUE(waitpid(-1, NULL, WNOHANG) < 0);
                ASSERT_EQ(errno, ECHILD);
                failed++;
        }
        ASSERT_TRUE(failed >= 5);
        c.gate_fd = safe_close(c.gate_fd);
        ASSERT_EQ(wait_child(&c).si_status, SPAWN_EXIT_GATE_CLOSED);
}

TEST(fd_limit) {
        check_in_child(check_fd_limit);
}

static bool fd_is_leaked(pid_t pid) {
        _cleanup_free_ char *path = strprintf("/proc/%d/fd", (int) pid);
        _cleanup_closedir_ DIR *d = opendir(path);
        unsigned n = 0;

        ASSERT_TRUE(d);
        for (struct dirent *de; (de = readdir(d));) {
                if (de->d_name[0] == '.')
                        continue;
                if (atoi(de->d_name) > 2)
                        return true;
                n++;
        }
        ASSERT_EQ(n, 3);
        return false;
}

TEST(fds) {
        _cleanup_close_pair_ int in[2] = EBADF_PAIR, out[2] = EBADF_PAIR;
        _cleanup_close_ int not_cloexec = open("/dev/null", O_RDONLY), high = fcntl(not_cloexec, F_DUPFD, 500);
        char *const argv[] = { (char *) "/bin/cat", NULL };
        SpawnParameters p = parameters(argv);
        SpawnResult c;
        char byte;

        ASSERT_OK(high);
        ASSERT_OK(pipe2(in, O_CLOEXEC));
        ASSERT_OK(pipe2(out, O_CLOEXEC));
        p.stdin_fd = in[0];
        p.stdout_fd = out[1];
        ASSERT_OK(spawn_process(&p, &c));

        ASSERT_TRUE(fcntl(c.gate_fd, F_GETFD) & FD_CLOEXEC);
        ASSERT_TRUE(fcntl(c.error_fd, F_GETFD) & FD_CLOEXEC);
        ASSERT_TRUE(fcntl(c.pidref.fd, F_GETFD) & FD_CLOEXEC);
        ASSERT_TRUE(fcntl(c.error_fd, F_GETFL) & O_NONBLOCK);

        /* What it echoes tells that it runs and that its loader has closed what it opened. */
        c.gate_fd = spawn_open_gate(c.gate_fd, "");
        ASSERT_EQ(write(in[1], "x", 1), 1);
        wait_readable(out[0]);
        ASSERT_EQ(read(out[0], &byte, 1), 1);
        ASSERT_TRUE(!fd_is_leaked(c.pidref.pid));

        in[1] = safe_close(in[1]);
        ASSERT_EQ(wait_child(&c).si_status, 0);
}

/* No cgroup: refused, nothing left behind. */
TEST(bad_cgroup) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_close_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int before = count_fds();
        SpawnResult c = { .gate_fd = -4711 };

        p.cgroup_fd = fd;
        ASSERT_TRUE(spawn_process(&p, &c) < 0);
        ASSERT_EQ(c.gate_fd, -4711);
        ASSERT_EQ(count_fds(), before);
        ASSERT_TRUE(waitpid(-1, NULL, WNOHANG) < 0);
        ASSERT_EQ(errno, ECHILD);
}
