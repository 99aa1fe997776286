/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/raw-syscall.h"
#include "pmd/spawn-memory.h"
#include "pmd/spawn-restrict.h"
#include "pmd/spawner.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "spawn-fixture.h"
#include "test.h"

/* What a child shares with pmd, and what not. */

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

TEST(preloaded) {
        check_in_child(check_preloaded);
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
