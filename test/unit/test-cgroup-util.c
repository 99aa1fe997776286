/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/cgroup-util.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"

static pid_t fork_sleeper(void) {
        pid_t pid = fork();

        ASSERT_OK(pid);
        if (pid == 0) {
                for (;;)
                        pause();
        }
        return pid;
}

static int wait_signal(pid_t pid) {
        int status;

        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFSIGNALED(status));
        return WTERMSIG(status);
}

static void put_file(int dir_fd, const char *name, const char *text) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        ASSERT_OK(fd);
        ASSERT_OK(write_all(fd, text, strlen(text)));
}

static int make_directory(char *template) {
        int fd;

        ASSERT_TRUE(mkdtemp(template));
        fd = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_OK(fd);
        return fd;
}

static void remove_directory(const char *path) {
        _cleanup_free_ char *command = strprintf("rm -r '%s'", path);

        ASSERT_EQ(system(command), 0);
}

/* A cgroup below our own; -1 where none can be made. */
static int make_cgroup(char **ret_path) {
        _cleanup_free_ char *mount = NULL, *own = NULL;
        char *path;
        int fd;

        if (cgroup_find_mount(&mount) < 0 || cgroup_path_of_pid(0, &own) < 0)
                return -1;
        path = strprintf("%s%s/test-cgroup-util-%d", mount, own, (int) getpid());
        if (mkdir(path, 0755) < 0) {
                printf("# skipped, cannot make %s: %m\n", path);
                free(path);
                return -1;
        }
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_OK(fd);
        *ret_path = path;
        return fd;
}

static void move_into(int cgroup_fd, const char *file, pid_t pid) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%d", (int) pid);
        ASSERT_OK(write_virtual_file_at(cgroup_fd, file, text));
}

TEST(path_of_pid) {
        _cleanup_free_ char *own = NULL, *by_pid = NULL, *none = NULL;
        int r, status;
        pid_t pid;

        r = cgroup_path_of_pid(0, &own);
        if (r == -ENOENT)
                return;
        ASSERT_OK(r);
        ASSERT_EQ(own[0], '/');
        ASSERT_OK(cgroup_path_of_pid(getpid(), &by_pid));
        ASSERT_STREQ(own, by_pid);

        pid = fork();
        if (pid == 0)
                _exit(0);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(cgroup_path_of_pid(pid, &none), -ESRCH);
        ASSERT_TRUE(!none);
}

TEST(open) {
        _cleanup_free_ char *own = NULL;
        _cleanup_close_ int fd = -EBADF;

        if (cgroup_path_of_pid(0, &own) < 0)
                return;
        fd = cgroup_open(own);
        ASSERT_OK(fd);
        ASSERT_EQ(faccessat(fd, "cgroup.procs", F_OK, 0), 0);
        ASSERT_EQ(cgroup_open("/no such cgroup"), -ENOENT);
        ASSERT_EQ(cgroup_open("/../elsewhere"), -ENOENT);
}

TEST(kill_all) {
        _cleanup_free_ pid_t *pids = NULL;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = make_cgroup(&path);
        ResourceUsage usage;
        pid_t a, b;

        if (fd < 0)
                return;

        ASSERT_EQ(cgroup_is_populated(fd), 0);
        ASSERT_EQ(cgroup_get_pids(fd, &pids), 0);
        ASSERT_EQ(cgroup_signal_all(fd, SIGTERM), 0);

        ASSERT_OK(mkdirat(fd, "below", 0755));
        a = fork_sleeper();
        b = fork_sleeper();
        move_into(fd, "cgroup.procs", a);
        move_into(fd, "below/cgroup.procs", b);

        ASSERT_EQ(cgroup_is_populated(fd), 1);
        pids = mfree(pids);
        ASSERT_EQ(cgroup_get_pids(fd, &pids), 2);
        ASSERT_EQ(pids[0], a);
        ASSERT_EQ(pids[1], b);

        ASSERT_OK(cgroup_read_usage(fd, NULL, &usage));
        ASSERT_TRUE(usage.cpu_usage_nsec != UINT64_MAX); /* even without the controller */

        ASSERT_EQ(cgroup_remove(AT_FDCWD, path), -EBUSY);
        ASSERT_OK(cgroup_kill_all(fd));
        ASSERT_EQ(wait_signal(a), SIGKILL);
        ASSERT_EQ(wait_signal(b), SIGKILL);
        ASSERT_EQ(cgroup_is_populated(fd), 0);

        ASSERT_OK(cgroup_remove(AT_FDCWD, path));
        ASSERT_TRUE(access(path, F_OK) < 0);
        ASSERT_OK(cgroup_remove(AT_FDCWD, path));

        ASSERT_EQ(cgroup_is_populated(fd), 0);
        pids = mfree(pids);
        ASSERT_EQ(cgroup_get_pids(fd, &pids), 0);
        ASSERT_OK(cgroup_kill_all(fd));
}

TEST(signal_all) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = make_cgroup(&path);
        pid_t a, b, outside;

        if (fd < 0)
                return;

        a = fork_sleeper();
        b = fork_sleeper();
        outside = fork_sleeper();
        move_into(fd, "cgroup.procs", a);
        move_into(fd, "cgroup.procs", b);

        ASSERT_EQ(cgroup_signal_all(fd, SIGUSR1), 2);
        ASSERT_EQ(wait_signal(a), SIGUSR1);
        ASSERT_EQ(wait_signal(b), SIGUSR1);
        ASSERT_EQ(cgroup_signal_all(fd, SIGUSR1), 0);
        ASSERT_EQ(waitpid(outside, NULL, WNOHANG), 0);

        ASSERT_OK(kill(outside, SIGKILL));
        ASSERT_EQ(wait_signal(outside), SIGKILL);
        ASSERT_OK(cgroup_remove(AT_FDCWD, path));
}

/* As on a kernel without cgroup.kill: a directory that has only the list. */
TEST(kill_one_by_one) {
        char directory[] = "/tmp/test-cgroup-util-XXXXXX";
        _cleanup_close_ int fd = make_directory(directory);
        _cleanup_free_ char *list = NULL;
        pid_t a = fork_sleeper(), b = fork_sleeper();

        list = strprintf("%d\n0\n%d\n", (int) a, (int) b);
        put_file(fd, "cgroup.procs", list);

        ASSERT_OK(cgroup_kill_all(fd));
        ASSERT_EQ(wait_signal(a), SIGKILL);
        ASSERT_EQ(wait_signal(b), SIGKILL);
        remove_directory(directory);
}

TEST(read_usage) {
        char directory[] = "/tmp/test-cgroup-util-XXXXXX";
        _cleanup_close_ int fd = make_directory(directory);
        ResourceUsage u;

        ASSERT_OK(cgroup_read_usage(fd, NULL, &u));
        ASSERT_EQ(u.memory_current, UINT64_MAX);
        ASSERT_EQ(u.cpu_usage_nsec, UINT64_MAX);
        ASSERT_EQ(u.tasks_current, UINT64_MAX);

        put_file(fd, "memory.current", "123456789012\n");
        put_file(fd, "cpu.stat", "user_usec 1\nusage_usec 5000\nsystem_usec 2\n");
        put_file(fd, "pids.current", "7\n");
        ASSERT_OK(cgroup_read_usage(fd, NULL, &u));
        ASSERT_EQ(u.memory_current, 123456789012);
        ASSERT_EQ(u.cpu_usage_nsec, 5000000);
        ASSERT_EQ(u.tasks_current, 7);

        put_file(fd, "memory.current", "");
        put_file(fd, "cpu.stat", "usage_usecs 3\n");
        put_file(fd, "pids.current", "max\n");
        ASSERT_OK(cgroup_read_usage(fd, NULL, &u));
        ASSERT_EQ(u.memory_current, UINT64_MAX);
        ASSERT_EQ(u.cpu_usage_nsec, UINT64_MAX);
        ASSERT_EQ(u.tasks_current, UINT64_MAX);
        remove_directory(directory);
}

/* What one cgroup has no file for is not looked for in its siblings. */
TEST(read_usage_of_siblings) {
        char directory[] = "/tmp/test-cgroup-util-XXXXXX";
        _cleanup_close_ int fd = make_directory(directory);
        unsigned lacks = 0;
        ResourceUsage u;

        ASSERT_OK(cgroup_read_usage(fd, &lacks, &u));
        ASSERT_EQ(lacks, 0); /* it is gone, which says nothing about others */

        put_file(fd, "cpu.stat", "usage_usec 5000\n");
        put_file(fd, "pids.current", "7\n");
        ASSERT_OK(cgroup_read_usage(fd, &lacks, &u));
        ASSERT_EQ(lacks, CGROUP_LACKS_MEMORY);
        ASSERT_EQ(u.tasks_current, 7);

        put_file(fd, "memory.current", "1\n");
        ASSERT_OK(cgroup_read_usage(fd, &lacks, &u));
        ASSERT_EQ(u.memory_current, UINT64_MAX);
        ASSERT_EQ(u.cpu_usage_nsec, 5000000);
        ASSERT_EQ(u.tasks_current, 7);
        lacks = CGROUP_LACKS_TASKS;
        ASSERT_OK(cgroup_read_usage(fd, &lacks, &u));
        ASSERT_EQ(u.memory_current, 1);
        ASSERT_EQ(u.tasks_current, UINT64_MAX);
        ASSERT_EQ(lacks, CGROUP_LACKS_TASKS);
        remove_directory(directory);
}

TEST(procs_read_usage) {
        ResourceUsage one = RESOURCE_USAGE_UNSET, two;
        pid_t self = getpid(), pids[] = { self, self };

        ASSERT_OK(procs_read_usage(&self, 1, &one));
        ASSERT_TRUE(one.memory_current > 0 && one.memory_current != UINT64_MAX);
        ASSERT_TRUE(one.cpu_usage_nsec != UINT64_MAX);
        ASSERT_EQ(one.tasks_current, 1);

        ASSERT_OK(procs_read_usage(pids, 2, &two));
        ASSERT_EQ(two.tasks_current, 2);
        ASSERT_TRUE(two.memory_current > one.memory_current);

        self = 0;
        ASSERT_EQ(procs_read_usage(&self, 1, &one), -ESRCH);
        ASSERT_EQ(procs_read_usage(NULL, 0, &one), -ESRCH);
}

TEST(fill) {
        ResourceUsage a = { 1, UINT64_MAX, UINT64_MAX }, b = { 4, 5, UINT64_MAX };

        resource_usage_fill(&a, &b);
        ASSERT_EQ(a.memory_current, 1);
        ASSERT_EQ(a.cpu_usage_nsec, 5);
        ASSERT_EQ(a.tasks_current, UINT64_MAX);
}

TEST(oom) {
        char path[] = "/tmp/pmd-oom-XXXXXX";
        _cleanup_close_ int fd = make_directory(path);
        CgroupOom oom;

        ASSERT_EQ(cgroup_read_oom(fd, &oom), -ENODATA);
        put_file(fd, "memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n");
        ASSERT_OK(cgroup_read_oom(fd, &oom));
        ASSERT_EQ(oom.kills, 2U);
        ASSERT_EQ(oom.group_kills, 0U);
        ASSERT_TRUE(oom.limit == UINT64_MAX && oom.peak == UINT64_MAX);

        put_file(fd, "memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 4\noom_group_kill 1\n");
        put_file(fd, "memory.max", "max\n");
        put_file(fd, "memory.peak", "52428800\n");
        ASSERT_OK(cgroup_read_oom(fd, &oom));
        ASSERT_EQ(oom.kills, 4U);
        ASSERT_EQ(oom.group_kills, 1U);
        ASSERT_TRUE(oom.limit == UINT64_MAX);
        ASSERT_EQ(oom.peak, 52428800U);

        put_file(fd, "memory.max", "52428800\n");
        ASSERT_OK(cgroup_read_oom(fd, &oom));
        ASSERT_EQ(oom.limit, 52428800U);
        remove_directory(path);
}
