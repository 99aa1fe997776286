/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/process-spawn.h"
#include "pmd/raw-syscall.h"
#include "pmd/spawn-memory.h"
#include "pmd/spawn-restrict.h"
#include "pmd/spawner.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define TIMEOUT_MSEC 20000
#define ID_PLACE "INVOCATION_ID=00000000000000000000000000000000"

/* Once as it is without, once as with WITH_SPAWNER: what a child does is the same. */
#ifndef WITH_SPAWNER
#define WITH_SPAWNER 0
#endif

static char *const no_environment[] = { NULL };

static void wait_readable(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        ASSERT_EQ(poll(&pollfd, 1, TIMEOUT_MSEC), 1);
}

static siginfo_t wait_child(SpawnResult *c) {
        siginfo_t si;

        wait_readable(c->pidref.fd);
        ASSERT_EQ(pidref_wait(&c->pidref, &si), 1);
        c->place = spawn_place_release(c->place, -EBADF);
        pidref_done(&c->pidref);
        c->gate_fd = safe_close(c->gate_fd);
        c->error_fd = safe_close(c->error_fd);
        return si;
}

static int wait_exec(const SpawnResult *c, SpawnStep *ret_step) {
        wait_readable(c->error_fd);
        return spawn_read_error(c->error_fd, ret_step);
}

static SpawnParameters parameters(char *const *argv) {
        static Spawner *spawner = NULL;

        if (WITH_SPAWNER && !spawner)
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

static void check_failure(const SpawnParameters *p, SpawnStep step, int error, int code) {
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

/* Reads to the end, which comes when the last process that writes has ended. */
static char *read_all(int fd) {
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

/* What the program writes to standard output. */
static char *run(SpawnParameters p, const char *invocation_id) {
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

/* In a process of its own, as it changes what cannot be changed back. */
static void check_in_child(void (*f)(void)) {
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

/* Whether the mapping of /proc/self/smaps that ends in name is kept out of children; -ENOENT: there is none. */
static int is_excluded(const char *name) {
        _cleanup_free_ char *text = NULL;
        bool found = false;

        ASSERT_OK(read_full_file_at(AT_FDCWD, "/proc/self/smaps", 16 << 20, &text, NULL));
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
                if (startswith(line, "VmFlags:")) {
                        if (found)
                                return strstr(line, " dc") != NULL;
                } else if (!startswith(line, "Size:"))
                        found = found || endswith(line, name);
        }
        return -ENOENT;
}

static void check_preloaded(void) {
        char *const argv[] = { (char *) "/bin/true", NULL };

        ASSERT_OK(setenv("LD_PRELOAD", "libaudit-of-somebody.so", true));
        free(run(parameters(argv), ""));
        ASSERT_TRUE(is_excluded("[heap]") <= 0);
}

/* These come before a child of this process itself has been made: from then on the memory of children that are forked is not whole. */
static void check_extra_fds(void);
static void check_low_fds(void);
static void check_signals(void);
static void check_without_clone3(void);
static void check_fd_limit(void);

TEST(preloaded) {
        check_in_child(check_preloaded);
}

TEST(extra_fds) {
        check_in_child(check_extra_fds);
}

TEST(low_fds) {
        check_in_child(check_low_fds);
}

TEST(signals) {
        check_in_child(check_signals);
}

TEST(without_clone3) {
        check_in_child(check_without_clone3);
}

TEST(fd_limit) {
        check_in_child(check_fd_limit);
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

TEST(steps) {
        ASSERT_STRING_TABLE(spawn_step, _SPAWN_STEP_MAX);
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

static void wait_session(pid_t pid) {
        ProcStat st;

        do {
                (void) sched_yield();
                ASSERT_OK(proc_read_stat(pid, &st));
        } while (st.session != pid);
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

TEST(memory_of_children) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        void *volatile grows;
        int heap;

        p.has_memory_limit = true; /* whose children do not share it */
        free(run(p, ""));
        heap = is_excluded("[heap]");
        if (heap == -ENOENT) /* of the sanitizers there is another one */
                return;
        ASSERT_EQ(heap, 1);
        ASSERT_EQ(is_excluded("[stack]"), 0);
        ASSERT_EQ(is_excluded("libc.so.6"), 0);

        grows = malloc(100000); /* below what malloc() maps */
        ASSERT_TRUE(grows);
        memset(grows, 1, 100000);
        free(run(p, ""));
        ASSERT_EQ(is_excluded("[heap]"), 1);
        free(grows);
}

static bool is_shared(pid_t pid, int what) {
        long r = syscall(SYS_kcmp, getpid(), pid, what, 0, 0);

        ASSERT_OK(r);
        return r == 0;
}

static SpawnResult spawn_until_gate(const SpawnParameters *p) {
        SpawnResult c;

        ASSERT_OK(spawn_process(p, &c));
        wait_session(c.pidref.pid);
        return c;
}

static void end_at_gate(SpawnResult *c) {
        c->gate_fd = safe_close(c->gate_fd);
        ASSERT_EQ(wait_child(c).si_status, SPAWN_EXIT_GATE_CLOSED);
}

static unsigned count_fds_of(pid_t pid) {
        _cleanup_free_ char *path = strprintf("/proc/%d/fd", (int) pid);
        _cleanup_closedir_ DIR *d = opendir(path);
        unsigned n = 0;

        ASSERT_TRUE(d);
        for (struct dirent *de; (de = readdir(d));)
                n += de->d_name[0] != '.';
        return n;
}

/* Whoever shares pmd's memory must be nobody else's, and not be killed for what it uses itself. */
TEST(shared_memory) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        SpawnRestrictions restrictions = { .nice = { .set = true, .value = 1 } };
        SpawnResult c;
        bool shared;

        p.restrictions = &restrictions;
        c = spawn_until_gate(&p);
        shared = is_shared(c.pidref.pid, KCMP_VM);
        ASSERT_TRUE(!is_shared(c.pidref.pid, KCMP_FILES));
        end_at_gate(&c);
        ASSERT_EQ(shared, WITH_SPAWNER && HAVE_RAW_SYSCALL && spawn_memory_is_plain());

        p.has_memory_limit = true;
        c = spawn_until_gate(&p);
        ASSERT_TRUE(!is_shared(c.pidref.pid, KCMP_VM));
        end_at_gate(&c);
        p.has_memory_limit = false;

        restrictions.oom_score_adjust = (OptionalInt) { .set = true, .value = 0 };
        c = spawn_until_gate(&p);
        ASSERT_TRUE(!is_shared(c.pidref.pid, KCMP_VM));
        end_at_gate(&c);
        restrictions.oom_score_adjust.set = false;

        p.set_user = true; /* ourselves */
        c = spawn_until_gate(&p);
        ASSERT_TRUE(!is_shared(c.pidref.pid, KCMP_VM));
        end_at_gate(&c);
}

/* Of many descriptors the child has its own only: three, the gate, and the pipe for errors. */
TEST(few_fds) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        SpawnResult c;
        int fds[200];

        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                ASSERT_OK(fds[i] = dup(0));
        c = spawn_until_gate(&p);
        while (count_fds_of(c.pidref.pid) > 5) /* its session comes before */
                ASSERT_EQ(usleep(1000), 0);
        ASSERT_EQ(count_fds_of(c.pidref.pid), 5);
        end_at_gate(&c);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                safe_close(fds[i]);
}

/* A place is nobody else's as long as the child may be there: killed, but stopped by a tracer, say. */
TEST(places) {
        char *const argv[] = { (char *) "/bin/true", NULL };
        SpawnParameters p = parameters(argv);
        SpawnResult c[SPAWNER_PLACES + 1], next;
        SpawnPlace *first;

        if (!p.spawner)
                return;

        for (size_t i = 0; i < ELEMENTSOF(c); i++) {
                ASSERT_OK(spawn_process(&p, c + i));
                ASSERT_EQ(c[i].place != NULL, i < SPAWNER_PLACES);
                for (size_t k = 0; k < i; k++)
                        ASSERT_TRUE(!c[i].place || c[i].place != c[k].place);
        }

        first = c[0].place;
        c[0].place = spawn_place_release(c[0].place, c[0].pidref.fd);
        ASSERT_OK(spawn_process(&p, &next));
        ASSERT_TRUE(!next.place);
        end_at_gate(&next);

        end_at_gate(c);
        ASSERT_OK(spawn_process(&p, &next));
        ASSERT_TRUE(next.place == first);
        end_at_gate(&next);
        for (size_t i = 1; i < ELEMENTSOF(c); i++)
                end_at_gate(c + i);
        free(run(p, ""));
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

static void put_script(const char *path, const char *text, mode_t mode) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        ASSERT_OK(fd);
        ASSERT_OK(write_all(fd, text, strlen(text)));
        ASSERT_OK(fchmod(fd, mode));
}

TEST(failures) {
        char directory[] = "/tmp/test-process-spawn-XXXXXX";
        _cleanup_free_ char *file = NULL, *inside = NULL, *large = NULL;
        char *argv[] = { NULL, NULL, NULL };
        SpawnParameters p = parameters(argv);

        ASSERT_TRUE(mkdtemp(directory));
        file = strjoin(directory, "/file");
        inside = strjoin(file, "/inside");
        large = malloc(1 << 20);
        ASSERT_TRUE(file && inside && large);

        argv[0] = file;
        check_failure(&p, SPAWN_STEP_EXEC, ENOENT, 127);
        put_script(file, "no program\n", 0600);
        check_failure(&p, SPAWN_STEP_EXEC, EACCES, 126);
        put_script(file, "no program\n", 0700);
        check_failure(&p, SPAWN_STEP_EXEC, ENOEXEC, 126);
        put_script(file, "#!/no/such/interpreter\n", 0700);
        check_failure(&p, SPAWN_STEP_EXEC, ENOENT, 127);

        argv[0] = inside;
        check_failure(&p, SPAWN_STEP_EXEC, ENOTDIR, 126);

        argv[0] = (char *) "/bin/true";
        memset(large, 'x', (1 << 20) - 1);
        large[(1 << 20) - 1] = 0;
        argv[1] = large;
        check_failure(&p, SPAWN_STEP_EXEC, E2BIG, 126);

        argv[1] = NULL;
        p.cwd = "/no such directory";
        check_failure(&p, SPAWN_STEP_CHDIR, ENOENT, 126);
        p.cwd = file;
        check_failure(&p, SPAWN_STEP_CHDIR, ENOTDIR, 126);

        ASSERT_OK(unlink(file));
        ASSERT_OK(rmdir(directory));
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

static int count_fds(void) {
        _cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
        int n = 0;

        ASSERT_TRUE(d);
        while (readdir(d))
                n++;
        return n;
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

TEST(read_error) {
        _cleanup_close_pair_ int fds[2] = EBADF_PAIR;
        SpawnError e = { _SPAWN_STEP_MAX, ENOENT };
        SpawnStep step;

        ASSERT_OK(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        ASSERT_EQ(spawn_read_error(fds[0], &step), 0);
        ASSERT_EQ(write(fds[1], &e, sizeof(e)), sizeof(e));
        ASSERT_EQ(spawn_read_error(fds[0], &step), -EBADMSG);
        ASSERT_EQ(step, SPAWN_STEP_NONE);
        ASSERT_EQ(write(fds[1], &e, 3), 3);
        ASSERT_EQ(spawn_read_error(fds[0], &step), -EBADMSG);
        e = (SpawnError) { SPAWN_STEP_USER, EPERM };
        ASSERT_EQ(write(fds[1], &e, sizeof(e)), sizeof(e));
        ASSERT_EQ(spawn_read_error(fds[0], &step), -EPERM);
        ASSERT_EQ(step, SPAWN_STEP_USER);
        fds[1] = safe_close(fds[1]);
        ASSERT_EQ(spawn_read_error(fds[0], &step), 1);
}

static void check_message(SpawnStep step, int error, const char *executable, const char *expected) {
        _cleanup_free_ char *message = spawn_error_message(step, error, executable, "/srv/x", "www");

        ASSERT_STREQ(message, expected);
}

TEST(messages) {
        char directory[] = "/tmp/test-process-spawn-XXXXXX";
        _cleanup_free_ char *file = NULL, *expected = NULL, *crlf = NULL, *loader = NULL, *denied = NULL, *own = NULL, *fifo = NULL;

        check_message(SPAWN_STEP_EXEC, -ENOENT, "/no/such",
                        "Cannot execute '/no/such': No such file or directory (ENOENT). There is no such file; check the path.");
        check_message(SPAWN_STEP_EXEC, ENOEXEC, "/x\x80",
                        "Cannot execute '/x\\x80': Exec format error (ENOEXEC). It is neither a program for this machine nor a "
                        "script that begins with '#!'; set 'interpreter', or add such a line.");
        check_message(SPAWN_STEP_EXEC, EACCES, "/tmp", "Cannot execute '/tmp': Permission denied (EACCES). It is a directory.");
        check_message(SPAWN_STEP_EXEC, EACCES, "/bin/sh",
                        "Cannot execute '/bin/sh': Permission denied (EACCES). The file, every directory of its path and the "
                        "file system (noexec) must allow it to user 'www'.");
        check_message(SPAWN_STEP_CHDIR, ENOENT, "/x",
                        "Cannot change to the working directory '/srv/x': No such file or directory (ENOENT). "
                        "Make the directory, or set 'cwd' to one that exists.");
        check_message(SPAWN_STEP_CHDIR, EACCES, "/x",
                        "Cannot change to the working directory '/srv/x': Permission denied (EACCES). "
                        "It and every directory above it must be open to user 'www'.");
        check_message(SPAWN_STEP_USER, EPERM, "/x",
                        "Cannot become user 'www': Operation not permitted (EPERM). "
                        "Only a pmd that runs as root can start apps as somebody else.");
        check_message(SPAWN_STEP_EXEC, E2BIG, "/x",
                        "Cannot execute '/x': Argument list too long (E2BIG). "
                        "Its arguments and environment are larger than the kernel takes; shorten them.");
        check_message(SPAWN_STEP_EXEC, ENOTDIR, "/x/y",
                        "Cannot execute '/x/y': Not a directory (ENOTDIR). A part of the path is a file, not a directory.");
        check_message(SPAWN_STEP_EXEC, ETXTBSY, "/x",
                        "Cannot execute '/x': Text file busy (ETXTBSY). "
                        "Somebody is still writing to it; start it again when that has ended.");
        check_message(SPAWN_STEP_EXEC, EPERM, "/x",
                        "Cannot execute '/x': Operation not permitted (EPERM). A security policy of this system forbids it.");
        check_message(SPAWN_STEP_SETUP, EIO, "/x", "Cannot make a process for '/x': Input/output error (EIO).");


        ASSERT_TRUE(mkdtemp(directory));
        file = strjoin(directory, "/file");

        put_script(file, "#! /no/bash -e\n", 0700);
        expected = spawn_error_message(SPAWN_STEP_EXEC, ENOENT, file, NULL, NULL);
        ASSERT_TRUE(strstr(expected, "The file is there, but the interpreter that its first line names, '/no/bash', is not."));
        put_script(file, "#!/bin/sh\r\n", 0700);
        crlf = spawn_error_message(SPAWN_STEP_EXEC, ENOENT, file, NULL, NULL);
        ASSERT_TRUE(strstr(crlf, "CR LF") && strstr(crlf, "'/bin/sh'"));
        put_script(file, "\177ELF", 0700);
        loader = spawn_error_message(SPAWN_STEP_EXEC, ENOENT, file, NULL, NULL);
        ASSERT_TRUE(strstr(loader, "loader"));
        put_script(file, "", 0600);
        denied = spawn_error_message(SPAWN_STEP_EXEC, EACCES, file, NULL, NULL);
        ASSERT_TRUE(strstr(denied, "chmod +x '/tmp/"));
        own = spawn_error_message(SPAWN_STEP_USER, EINVAL, file, NULL, NULL);
        ASSERT_STREQ(own, "Cannot become the user that pmd runs as: Invalid argument (EINVAL).");

        /* Who owns the directory may have replaced the file meanwhile. */
        ASSERT_OK(unlink(file));
        ASSERT_OK(mkfifo(file, 0600));
        (void) alarm(10);
        fifo = spawn_error_message(SPAWN_STEP_EXEC, ENOENT, file, NULL, NULL);
        (void) alarm(0);
        ASSERT_TRUE(strstr(fifo, "The file is there"));

        ASSERT_OK(unlink(file));
        ASSERT_OK(rmdir(directory));
}
