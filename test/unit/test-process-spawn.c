/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/fd-util.h"
#include "spawn-fixture.h"
#include "test.h"

#define ID_PLACE "INVOCATION_ID=00000000000000000000000000000000"

static void on_signal(int signo) {
}

static void check_signals(void) {
        char *const argv[] = { (char *) "/bin/cat", (char *) "/proc/self/status", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;
        sigset_t all;

        ASSERT_TRUE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        ASSERT_TRUE(signal(SIGRTMIN + 3, SIG_IGN) != SIG_ERR);
        ASSERT_TRUE(signal(SIGUSR1, on_signal) != SIG_ERR);
        ASSERT_OK(sigfillset(&all));
        ASSERT_OK(sigprocmask(SIG_SETMASK, &all, NULL));
        (void) umask(0077);

        text = run(p, "");
        ASSERT_TRUE(strstr(text, "\nSigBlk:\t0000000000000000\n"));
        ASSERT_TRUE(strstr(text, "\nSigIgn:\t0000000000000000\n"));
        ASSERT_TRUE(strstr(text, "\nSigCgt:\t0000000000000000\n"));
        ASSERT_TRUE(strstr(text, "\nUmask:\t0022\n"));
}

TEST(signals) {
        check_in_child(check_signals);
}

static void check_without_clone3(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { ELEMENTSOF(filter), filter };
        char *const argv[] = { (char *) "/bin/echo", (char *) "here", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;
        SpawnResult c;

        ASSERT_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ASSERT_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
        text = run(p, "");
        ASSERT_STREQ(text, "here\n");

        p.cgroup_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(spawn_process(&p, &c), -ENOSYS);
}

TEST(without_clone3) {
        check_in_child(check_without_clone3);
}

TEST(parent_dies) {
        _cleanup_close_pair_ int tell[2] = EBADF_PAIR, go[2] = EBADF_PAIR;
        char *const argv[] = { (char *) "/bin/sleep", (char *) "1000", NULL };
        SpawnParameters p = parameters(argv);
        pid_t parent, child;
        PidRef ref;
        char c;

        ASSERT_OK(pipe2(tell, O_CLOEXEC));
        ASSERT_OK(pipe2(go, O_CLOEXEC));
        parent = fork();
        ASSERT_OK(parent);
        if (parent == 0) {
                SpawnResult s;
                bool ok;

                (void) close(go[1]);
                ok = spawn_process(&p, &s) >= 0 && write(tell[1], &s.pidref.pid, sizeof(pid_t)) > 0 && read(go[0], &c, 1) == 0;
                _exit(!ok);
        }

        ASSERT_EQ(read(tell[0], &child, sizeof(child)), sizeof(child));
        ASSERT_OK(pidref_open(&ref, child));
        ASSERT_TRUE(pidref_is_alive(&ref));
        go[1] = safe_close(go[1]);
        ASSERT_EQ(waitpid(parent, NULL, 0), parent);
        wait_readable(ref.fd);
        pidref_done(&ref);
}

TEST(execute) {
        char *const argv[] = { (char *) "other name", (char *) "-c", (char *) "echo $0 $1 $FOO; pwd; cat; echo end", (char *) "zero", (char *) "one", NULL };
        char *const envp[] = { (char *) "FOO=bar", (char *) "PATH=/usr/bin:/bin", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;

        p.path = "/bin/sh";
        p.envp = envp;
        p.cwd = "/usr";
        text = run(p, "");
        ASSERT_STREQ(text, "zero one bar\n/usr\nend\n");
}

TEST(invocation_id) {
        char *const argv[] = { (char *) "/usr/bin/env", NULL };
        char *const with_place[] = { (char *) "A=1", (char *) ID_PLACE, (char *) "B=2", NULL };
        char *const without_place[] = { (char *) "A=1", (char *) "INVOCATION_ID=x", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *set = NULL, *dropped = NULL, *left_alone = NULL;

        p.envp = with_place;
        set = run(p, "0123456789abcdef0123456789abcdef");
        ASSERT_STREQ(set, "A=1\nINVOCATION_ID=0123456789abcdef0123456789abcdef\nB=2\n");
        dropped = run(p, "");
        ASSERT_STREQ(dropped, "A=1\nB=2\n");
        ASSERT_STREQ(with_place[1], ID_PLACE);

        p.envp = without_place;
        left_alone = run(p, "0123456789abcdef0123456789abcdef");
        ASSERT_STREQ(left_alone, "A=1\nINVOCATION_ID=x\n");
}

TEST(watchdog_pid) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) "echo $(($$ == WATCHDOG_PID)) $WATCHDOG_PID $OTHER", NULL };
        char *const envp[] = { (char *) "INVOCATION_ID=00000000000000000000000000000000", (char *) "WATCHDOG_PID=0000000000", (char *) "OTHER=x", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;

        /* Also where another entry in front of it is taken out. */
        p.envp = envp;
        text = run(p, "");
        ASSERT_TRUE(startswith(text, "1 ") && text[2] != '0' && endswith(text, " x\n"));
}

TEST(gate_holds) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        struct pollfd pollfd;
        SpawnStep step;
        SpawnResult c;

        ASSERT_OK(spawn_process(&p, &c));
        wait_session(c.pidref.pid);
        pollfd = (struct pollfd) { .fd = c.error_fd, .events = POLLIN };
        ASSERT_EQ(poll(&pollfd, 1, 100), 0);
        ASSERT_EQ(spawn_read_error(c.error_fd, &step), 0);
        ASSERT_TRUE(pidref_is_alive(&c.pidref));

        c.gate_fd = spawn_open_gate(c.gate_fd, "");
        ASSERT_EQ(wait_exec(&c, &step), 1);
        ASSERT_EQ(wait_child(&c).si_status, 0);
}

TEST(gate_end) {
        _cleanup_close_pair_ int out[2] = EBADF_PAIR;
        char *const argv[] = { (char *) "/bin/echo", (char *) "executed", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;
        SpawnResult c, later;

        ASSERT_OK(pipe2(out, O_CLOEXEC));
        p.stdout_fd = out[1];
        ASSERT_OK(spawn_process(&p, &c));
        /* One that is forked later, and goes on living, must not hold the other end. */
        p.stdout_fd = -EBADF;
        ASSERT_OK(spawn_process(&p, &later));
        out[1] = safe_close(out[1]);
        wait_session(later.pidref.pid);

        c.gate_fd = safe_close(c.gate_fd);
        text = read_all(out[0]);
        ASSERT_STREQ(text, "");
        ASSERT_EQ(wait_child(&c).si_status, SPAWN_EXIT_GATE_CLOSED);

        later.gate_fd = safe_close(later.gate_fd);
        ASSERT_EQ(wait_child(&later).si_status, SPAWN_EXIT_GATE_CLOSED);
}

/* SIGPIPE would end the test. */
TEST(gate_of_dead_child) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        SpawnResult c;

        ASSERT_OK(spawn_process(&p, &c));
        ASSERT_OK(pidref_kill(&c.pidref, SIGKILL));
        wait_readable(c.pidref.fd);
        c.gate_fd = spawn_open_gate(c.gate_fd, "");
        ASSERT_EQ(c.gate_fd, -EBADF);
        ASSERT_EQ(wait_child(&c).si_status, SIGKILL);
}

/* With root's session keyring would go what is in it. */
TEST(keyring) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) "/bin/grep -c pmd-test-key /proc/keys; :", NULL };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *own = NULL, *other = NULL;

        if (geteuid() != 0 || syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 ||
            syscall(SYS_add_key, "user", "pmd-test-key", "secret", strlen("secret"), KEY_SPEC_SESSION_KEYRING) < 0)
                return;

        own = run(p, "");
        if (!streq(own, "1\n"))
                return; /* the list of keys is hidden here */

        p.set_user = true;
        p.uid = p.gid = 12345;
        other = run(p, "");
        ASSERT_STREQ(other, "0\n");
}

TEST(user) {
        char directory[] = "/tmp/test-process-spawn-XXXXXX";
        char *const argv[] = { (char *) "/usr/bin/env", (char *) "sh", (char *) "-c", (char *) "id -u; id -g; id -G; grep Cap[PE] /proc/self/status", NULL };
        char *const envp[] = { (char *) "PATH=/usr/bin:/bin", NULL };
        const gid_t groups[] = { 4711, 4712 };
        SpawnParameters p = parameters(argv);
        _cleanup_free_ char *text = NULL;

        p.envp = envp;
        p.set_user = true;
        p.uid = 12345;
        p.gid = 54321;
        p.groups = groups;
        p.n_groups = ELEMENTSOF(groups);

        if (geteuid() != 0) {
                check_failure(&p, SPAWN_STEP_GROUP, EPERM, 126);
                return;
        }

        text = run(p, "");
        ASSERT_STREQ(text, "12345\n54321\n54321 4711 4712\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");

        ASSERT_TRUE(mkdtemp(directory)); /* mode 0700, ours */
        p.cwd = directory;
        check_failure(&p, SPAWN_STEP_CHDIR, EACCES, 126);
        ASSERT_OK(rmdir(directory));
}

TEST(signal_at_gate) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        sigset_t blocked, old;
        SpawnResult c;

        ASSERT_OK(sigemptyset(&blocked));
        ASSERT_OK(sigaddset(&blocked, SIGTERM));
        ASSERT_OK(sigprocmask(SIG_BLOCK, &blocked, &old));
        ASSERT_OK(spawn_process(&p, &c));
        ASSERT_OK(sigprocmask(SIG_SETMASK, &old, NULL));

        ASSERT_OK(pidref_kill(&c.pidref, SIGTERM));
        ASSERT_EQ(wait_child(&c).si_status, SIGTERM);
}
