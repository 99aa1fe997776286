/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "pmd/watch.h"
#include "shared/fd-util.h"
#include "test.h"
#include "tree.h"

/* Watches a temporary directory for real. What must not be seen is tested by what is seen next. */

#define PATIENCE (20 * USEC_PER_SEC)

typedef struct Fixture {
        char *dir;
        sd_event *event;
        Watcher *watcher;
        Watch *watch;
        unsigned n_changes, n_faults;
        char *path; /* of the last change */
} Fixture;

static void on_changed(const char *path, void *userdata) {
        Fixture *f = userdata;

        f->n_changes++;
        free(f->path);
        f->path = strdup(path);
}

static void on_faulty(void *userdata) {
        ((Fixture *) userdata)->n_faults++;
}

static void setup(Fixture *f) {
        *f = (Fixture) { .dir = tree_new() };
        assert(sd_event_new(&f->event) >= 0);
        assert(watcher_new(f->event, &f->watcher) >= 0);
}

static void done(Fixture *f) {
        watch_free(f->watch);
        watcher_free(f->watcher);
        sd_event_unref(f->event);
        tree_remove(&f->dir);
        free(f->path);
}

/* Runs the event loop until the condition holds. */
#define RUN_UNTIL(f, condition)                                                         \
        do {                                                                            \
                usec_t _end = now(CLOCK_MONOTONIC) + PATIENCE;                          \
                while (!(condition)) {                                                  \
                        if (now(CLOCK_MONOTONIC) > _end)                                \
                                TEST_FAIL("%s does not come true", #condition);         \
                        ASSERT_OK(sd_event_run((f)->event, 100 * USEC_PER_MSEC));       \
                }                                                                       \
        } while (false)

#define ASSERT_CHANGE(f, n, what)                                                       \
        do {                                                                            \
                RUN_UNTIL((f), (f)->n_changes >= (n));                                  \
                ASSERT_EQ((f)->n_changes, (n));                                         \
                ASSERT_STREQ((f)->path, (what));                                        \
        } while (false)

static int start_watch(Fixture *f, WatchSpec spec) {
        const char *bad;

        spec.base = f->dir;
        return watch_new(f->watcher, &spec, on_changed, on_faulty, f, &f->watch, &bad);
}

static void touch(const Fixture *f, const char *name) {
        free(tree_write(f->dir, name, "x", 1, 0644));
}

static void append(const Fixture *f, const char *name) {
        _cleanup_free_ char *path = strjoin(f->dir, "/", name);
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

        assert(fd >= 0 && write(fd, "x", 1) == 1);
        safe_close(fd);
}

static void make_dir(const Fixture *f, const char *name) {
        _cleanup_free_ char *path = strjoin(f->dir, "/", name);

        assert(mkdir_p(path, 0755) >= 0);
}

static void move(const Fixture *f, const char *from, const char *to) {
        _cleanup_free_ char *a = strjoin(f->dir, "/", from), *b = strjoin(f->dir, "/", to);

        assert(rename(a, b) >= 0);
}

static void remove_file(const Fixture *f, const char *name) {
        _cleanup_free_ char *path = strjoin(f->dir, "/", name);

        assert(remove(path) >= 0);
}

TEST(burst_counts_once) {
        Fixture f;

        setup(&f);
        make_dir(&f, "src");
        touch(&f, "src/app.js");
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        ASSERT_EQ(watch_n_directories(f.watch), 2);

        for (unsigned i = 0; i < 100; i++)
                append(&f, i % 2 ? "src/app.js" : "src/b.js");
        ASSERT_CHANGE(&f, 1, "src/b.js");

        append(&f, "src/app.js");
        ASSERT_CHANGE(&f, 2, "src/app.js");
        remove_file(&f, "src/app.js");
        ASSERT_CHANGE(&f, 3, "src/app.js");
        move(&f, "src/b.js", "src/c.js");
        ASSERT_CHANGE(&f, 4, "src/b.js");
        done(&f);
}

TEST(what_was_there_is_no_change) {
        Fixture f;

        setup(&f);
        touch(&f, "a");
        make_dir(&f, "b/c/d");
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        append(&f, "b/c/d/e");
        ASSERT_CHANGE(&f, 1, "b/c/d/e");
        done(&f);
}

TEST(levels) {
        Fixture f;

        setup(&f);
        make_dir(&f, "a/b/c");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .levels = 2 }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        ASSERT_EQ(watch_n_directories(f.watch), 2);

        append(&f, "a/b/x");
        make_dir(&f, "a/new");
        ASSERT_CHANGE(&f, 1, "a/new");
        append(&f, "a/new/x");
        append(&f, "a/x");
        ASSERT_CHANGE(&f, 2, "a/x");
        done(&f);
}

TEST(links_are_not_followed) {
        _cleanup_free_ char *here = NULL, *late = NULL;
        Fixture f;

        setup(&f);
        make_dir(&f, ".elsewhere");
        make_dir(&f, "src");
        here = strjoin(f.dir, "/link");
        late = strjoin(f.dir, "/src/late");
        ASSERT_OK(symlink(".elsewhere", here));
        ASSERT_OK(start_watch(&f, (WatchSpec) { .no_links = true }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        ASSERT_EQ(watch_n_directories(f.watch), 2);

        ASSERT_OK(symlink("../.elsewhere", late));
        ASSERT_CHANGE(&f, 1, "src/late");
        append(&f, ".elsewhere/x");
        append(&f, "seen");
        ASSERT_CHANGE(&f, 2, "seen");
        ASSERT_EQ(watch_n_directories(f.watch), 2);
        done(&f);
}

TEST(dot_files_and_node_modules_are_ignored) {
        Fixture f;

        setup(&f);
        make_dir(&f, "node_modules/x");
        make_dir(&f, ".git");
        make_dir(&f, "lib");
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        ASSERT_EQ(watch_n_directories(f.watch), 2);

        append(&f, "node_modules/x/y");
        append(&f, ".git/HEAD");
        append(&f, ".swp");
        make_dir(&f, "lib/node_modules");
        append(&f, "lib/node_modules/z");
        append(&f, "seen");
        ASSERT_CHANGE(&f, 1, "seen");
        done(&f);
}

TEST(own_rules_take_the_place_of_the_standard_ones) {
        char *ignore[] = { (char *) "*.log", (char *) "gen/out", NULL };
        Fixture f;

        setup(&f);
        make_dir(&f, "gen/out");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .ignore = ignore }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));

        append(&f, "x.log");
        append(&f, "gen/out/y");
        append(&f, "gen/.z");
        ASSERT_CHANGE(&f, 1, "gen/.z");
        done(&f);
}

TEST(bad_rule) {
        char *ignore[] = { (char *) "/(/", NULL };
        WatchSpec spec = { .ignore = ignore };
        const char *bad = NULL;
        Fixture f;

        setup(&f);
        spec.base = f.dir;
        ASSERT_EQ(watch_new(f.watcher, &spec, on_changed, on_faulty, &f, &f.watch, &bad), -EINVAL);
        ASSERT_STREQ(bad, "/(/");
        ASSERT_TRUE(!f.watch);
        done(&f);
}

TEST(own_files_do_not_count) {
        char *own[3] = {};
        Fixture f;

        setup(&f);
        own[0] = strjoin(f.dir, "/logs/api-out.log");
        own[1] = strjoin(f.dir, "/state");
        make_dir(&f, "logs");
        make_dir(&f, "state");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .own_files = own }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));

        append(&f, "logs/api-out.log");
        append(&f, "logs/api-out.log.1");
        append(&f, "logs/api-out__2024-01-31_00-00-00.log");
        append(&f, "state/list.json");
        append(&f, "logs/api.js");
        ASSERT_CHANGE(&f, 1, "logs/api.js");
        done(&f);
        free(own[0]);
        free(own[1]);
}

TEST(directories_come_and_go) {
        Fixture f;

        setup(&f);
        make_dir(&f, "aside/deep");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .paths = (char *[]) { (char *) "src", NULL } }));
        make_dir(&f, "src/a/b");
        ASSERT_CHANGE(&f, 1, "src");
        RUN_UNTIL(&f, !watch_is_scanning(f.watch) && watch_n_directories(f.watch) == 3);

        append(&f, "src/a/b/x");
        ASSERT_CHANGE(&f, 2, "src/a/b/x");

        move(&f, "src/a", "src/z");
        ASSERT_CHANGE(&f, 3, "src/a");
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        append(&f, "src/z/b/x");
        ASSERT_CHANGE(&f, 4, "src/z/b/x");

        move(&f, "src/z", "gone");
        ASSERT_CHANGE(&f, 5, "src/z");
        ASSERT_EQ(watch_n_directories(f.watch), 1);
        append(&f, "gone/b/x");
        append(&f, "src/y");
        ASSERT_CHANGE(&f, 6, "src/y");

        move(&f, "aside", "src/aside");
        ASSERT_CHANGE(&f, 7, "src/aside");
        RUN_UNTIL(&f, watch_n_directories(f.watch) == 3);
        remove_file(&f, "src/aside/deep");
        ASSERT_CHANGE(&f, 8, "src/aside/deep");
        ASSERT_EQ(watch_n_directories(f.watch), 2);
        done(&f);
}

TEST(root_that_goes_and_comes_back) {
        Fixture f;

        setup(&f);
        make_dir(&f, "a/src");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .paths = (char *[]) { (char *) "a/src", NULL } }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));

        move(&f, "a", "old");
        move(&f, "old/src", "old/other");
        ASSERT_CHANGE(&f, 1, "a/src");
        append(&f, "old/other/x");
        make_dir(&f, "a/src");
        ASSERT_CHANGE(&f, 2, "a/src");
        append(&f, "a/src/x");
        ASSERT_CHANGE(&f, 3, "a/src/x");
        done(&f);
}

TEST(files_by_name) {
        char *paths[] = { (char *) "server.js", (char *) "lib.js", NULL };
        Fixture f;

        setup(&f);
        append(&f, "server.js");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .paths = paths }));
        append(&f, "other.js");
        touch(&f, "server.js"); /* by a rename, as editors do */
        ASSERT_CHANGE(&f, 1, "server.js");
        append(&f, "other.js");
        append(&f, "lib.js"); /* that was not there before */
        ASSERT_CHANGE(&f, 2, "lib.js");
        done(&f);
}

TEST(globs) {
        char *paths[] = { (char *) "src/**/*.js", (char *) "*.json", NULL };
        Fixture f;

        setup(&f);
        make_dir(&f, "src/a");
        ASSERT_OK(start_watch(&f, (WatchSpec) { .paths = paths }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        append(&f, "src/a/x.css");
        append(&f, "src/a/x.json");
        append(&f, "x.js");
        append(&f, "src/a/x.js");
        ASSERT_CHANGE(&f, 1, "src/a/x.js");
        append(&f, "src/x.js");
        ASSERT_CHANGE(&f, 2, "src/x.js");
        append(&f, "x.json");
        ASSERT_CHANGE(&f, 3, "x.json");
        done(&f);
}

TEST(links_are_followed_once) {
        _cleanup_free_ char *loop = NULL, *link = NULL, *target = NULL;
        Fixture f;

        setup(&f);
        make_dir(&f, "src");
        make_dir(&f, "elsewhere");
        loop = strjoin(f.dir, "/src/loop");
        link = strjoin(f.dir, "/src/link");
        target = strjoin(f.dir, "/elsewhere");
        ASSERT_OK(symlink(".", loop));
        ASSERT_OK(symlink(target, link));
        ASSERT_OK(start_watch(&f, (WatchSpec) { .paths = (char *[]) { (char *) "src", NULL } }));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));
        ASSERT_EQ(watch_n_directories(f.watch), 2);

        append(&f, "elsewhere/x");
        ASSERT_CHANGE(&f, 1, "src/link/x");
        remove_file(&f, "src/link");
        ASSERT_CHANGE(&f, 2, "src/link");
        ASSERT_EQ(watch_n_directories(f.watch), 1);
        done(&f);
}

TEST(two_watches_of_one_tree) {
        WatchSpec spec = {};
        const char *bad;
        Fixture f, g = {};
        Watch *other;

        setup(&f);
        make_dir(&f, "src");
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        spec.base = f.dir;
        ASSERT_OK(watch_new(f.watcher, &spec, on_changed, on_faulty, &g, &other, &bad));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch) && !watch_is_scanning(other));

        append(&f, "src/x");
        RUN_UNTIL(&f, f.n_changes == 1 && g.n_changes == 1);

        f.watch = watch_free(f.watch);
        append(&f, "src/y");
        RUN_UNTIL(&f, g.n_changes == 2);
        ASSERT_STREQ(g.path, "src/y");
        ASSERT_EQ(f.n_changes, 1);
        watch_free(other);
        free(g.path);
        done(&f);
}

/* Reads ahead what the tree has, one slice a turn. */
TEST(large_tree_is_read_in_slices) {
        unsigned turns = 0;
        usec_t longest = 0;
        Fixture f;

        setup(&f);
        for (unsigned i = 0; i < 40; i++)
                for (unsigned k = 0; k < 50; k++) {
                        char name[32];

                        (void) snprintf(name, sizeof name, "d%u/e%u", i, k);
                        make_dir(&f, name);
                }
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        while (watch_is_scanning(f.watch)) {
                usec_t t = now(CLOCK_MONOTONIC);

                ASSERT_OK(sd_event_run(f.event, 0));
                longest = MAX(longest, now(CLOCK_MONOTONIC) - t);
                turns++;
        }
        printf("# %u turns, the longest of %llu us\n", turns, (unsigned long long) longest);
        ASSERT_TRUE(turns > 1);
        ASSERT_EQ(watch_n_directories(f.watch), 1 + 40 + 40 * 50);

        /* At rest: nothing to do at all. */
        ASSERT_EQ(sd_event_run(f.event, 0), 0);

        f.watch = watch_free(f.watch);
        done(&f);
}

TEST(held_back) {
        Fixture f;
        usec_t t;

        setup(&f);
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        t = now(CLOCK_MONOTONIC);
        watch_hold(f.watch, 500 * USEC_PER_MSEC);
        append(&f, "a");
        append(&f, "b");
        ASSERT_CHANGE(&f, 1, "a");
        ASSERT_TRUE(now(CLOCK_MONOTONIC) - t >= 500 * USEC_PER_MSEC);
        append(&f, "b");
        ASSERT_CHANGE(&f, 2, "b");
        done(&f);
}

TEST(lost_events) {
        Fixture f;

        setup(&f);
        make_dir(&f, "a");
        make_dir(&f, "b");
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        RUN_UNTIL(&f, !watch_is_scanning(f.watch));

        for (unsigned i = 0; i < 9000; i++) {
                append(&f, "a/x");
                remove_file(&f, "a/x");
        }
        /* Nobody hears of these. */
        make_dir(&f, "a/new");
        move(&f, "b", "c");
        make_dir(&f, "b/c");

        RUN_UNTIL(&f, watch_n_directories(f.watch) == 6 && !watch_is_scanning(f.watch));
        RUN_UNTIL(&f, f.n_changes > 0);
        f.n_changes = 0;
        append(&f, "a/new/x");
        ASSERT_CHANGE(&f, 1, "a/new/x");
        append(&f, "b/c/x");
        ASSERT_CHANGE(&f, 2, "b/c/x");
        append(&f, "c/x");
        ASSERT_CHANGE(&f, 3, "c/x");
        done(&f);
}

TEST(no_descriptors_left) {
        sd_event_source *timer = NULL;
        struct rlimit old, none = {};
        Fixture f;

        setup(&f);
        ASSERT_OK(sd_event_add_time(f.event, &timer, CLOCK_MONOTONIC, UINT64_MAX, 0, NULL, NULL));
        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &old));
        none.rlim_max = old.rlim_max;
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
        int r = start_watch(&f, (WatchSpec) {});
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &old));
        ASSERT_OK(r);
        ASSERT_TRUE(strstr(strempty(watch_fault(f.watch)), "max_user_instances"));
        ASSERT_TRUE(!watch_is_scanning(f.watch));

        /* The next one finds it as it is then. */
        watch_free(f.watch);
        ASSERT_OK(start_watch(&f, (WatchSpec) {}));
        ASSERT_STREQ(watch_fault(f.watch), NULL);
        append(&f, "x");
        ASSERT_CHANGE(&f, 1, "x");
        sd_event_source_unref(timer);
        done(&f);
}

/* In a user namespace of its own, which has limits of its own. 0: as expected, 77: cannot be had here. */
static int check_watch_limit(void) {
        Fixture f;

        if (unshare(CLONE_NEWUSER) < 0 || write_virtual_file_at(AT_FDCWD, "/proc/sys/user/max_inotify_watches", "3") < 0)
                return 77;

        setup(&f);
        for (unsigned i = 0; i < 8; i++) {
                char name[8];

                (void) snprintf(name, sizeof name, "d%u", i);
                make_dir(&f, name);
        }
        if (start_watch(&f, (WatchSpec) {}) < 0)
                return 1;
        while (watch_is_scanning(f.watch))
                if (sd_event_run(f.event, 0) < 0)
                        return 2;
        if (f.n_faults != 1 || !strstr(strempty(watch_fault(f.watch)), "max_user_watches"))
                return 3;
        if (watch_n_directories(f.watch) != 3)
                return 4;
        if (sd_event_run(f.event, 0) != 0) /* not a busy loop */
                return 5;

        append(&f, "x");
        while (f.n_changes == 0)
                if (sd_event_run(f.event, PATIENCE) <= 0)
                        return 6;
        done(&f);
        return 0;
}

TEST(watch_limit) {
        int status;
        pid_t pid = fork();

        ASSERT_OK(pid);
        if (pid == 0)
                _exit(check_watch_limit());
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
                printf("# no user namespace with limits of its own here\n");
                return;
        }
        ASSERT_EQ(WEXITSTATUS(status), 0);
}
