/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/env-util.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/instance.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/signal-util.h"
#include "shared/strv.h"
#include "test.h"

TEST(strings) {
        _cleanup_free_ char *joined = strjoin("a", "", "bc"), *printed = strprintf("%d%%", 7);

        ASSERT_STREQ(joined, "abc");
        ASSERT_STREQ(printed, "7%");
        ASSERT_STREQ(startswith("foobar", "foo"), "bar");
        ASSERT_TRUE(!startswith("fo", "foo"));
        ASSERT_STREQ(endswith("app.log", ".log"), ".log");
        ASSERT_TRUE(!endswith("log", ".log"));
}

TEST(utf8) {
        static const struct {
                const char *text;
                bool valid;
        } cases[] = {
                { "", true }, { "plain", true }, { "gr\xc3\xbc\xc3\x9f", true }, { "\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true },
                { "\xc3", false }, { "\x80", false }, { "\xc0\xaf", false }, { "\xe0\x80\xaf", false }, { "\xed\xa0\x80", false },
                { "\xf4\x90\x80\x80", false }, { "\xff", false }, { "ok\xfe", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_EQ(utf8_is_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

TEST(control_characters_are_escaped) {
        static const struct {
                const char *in, *out;
        } cases[] = {
                { "plain", "plain" }, { "a\x1b[31mb", "a\\x1b[31mb" }, { "tab\there", "tab\\x09here" }, { "\x7f", "\\x7f" },
                { "\xc3\xbc", "\xc3\xbc" }, { "\xc2\x9b" "1m", "\\xc2\\x9b1m" }, { "bad\xff", "bad\\xff" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *escaped = string_escape_cc(cases[i].in);

                ASSERT_STREQ(escaped, cases[i].out);
        }
}

TEST(numbers) {
        unsigned u = 1;
        int i = 1;

        ASSERT_OK(safe_atou("4294967295", &u));
        ASSERT_EQ(u, 4294967295U);
        ASSERT_EQ(safe_atou("4294967296", &u), -ERANGE);
        ASSERT_EQ(safe_atou("", &u), -EINVAL);
        ASSERT_EQ(safe_atou(" 1", &u), -EINVAL);
        ASSERT_EQ(safe_atou("1x", &u), -EINVAL);
        ASSERT_EQ(safe_atou("-1", &u), -EINVAL);
        ASSERT_EQ(u, 4294967295U);
        ASSERT_OK(safe_atoi("-2147483648", &i));
        ASSERT_EQ(i, INT_MIN);
        ASSERT_EQ(safe_atoi("2147483648", &i), -ERANGE);
        ASSERT_EQ(safe_atoi("-", &i), -EINVAL);
}

TEST(sizes) {
        static const struct {
                const char *text;
                int result;
                uint64_t value;
        } cases[] = {
                { "0", 0, 0 }, { "100", 0, 100 }, { "1K", 0, 1024 }, { "150m", 0, 150ULL << 20 }, { "2G", 0, 2ULL << 30 }, { "1T", 0, 1ULL << 40 },
                { "12Q", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "M", -EINVAL, 0 }, { "1MB", -EINVAL, 0 }, { "-1", -EINVAL, 0 },
                { "99999999999999999999", -ERANGE, 0 }, { "99999999999T", -ERANGE, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t v = 0;

                ASSERT_EQ(parse_size(cases[i].text, &v), cases[i].result);
                ASSERT_EQ(v, cases[i].value);
        }
}

/* How a child that tries to lock the file fares, on a description of its own. */
static int lock_in_child(const char *path) {
        int status;
        pid_t pid;

        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                int fd = open(path, O_RDWR | O_CLOEXEC);

                _exit(fd < 0 ? 1 : -fd_lock(fd));
        }
        assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        return -WEXITSTATUS(status);
}

TEST(a_lock_is_not_inherited) {
        char path[] = "/tmp/test-lock-XXXXXX";
        int gate[2], fd, status;
        pid_t owner, child;

        fd = mkostemp(path, O_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        ASSERT_TRUE(pipe2(gate, O_CLOEXEC) >= 0);

        /* It locks, forks a child that holds the same descriptor, and is killed. */
        owner = fork();
        ASSERT_TRUE(owner >= 0);
        if (owner == 0) {
                if (fd_lock(fd) < 0)
                        _exit(1);
                child = fork();
                if (child == 0) {
                        for (;;)
                                (void) pause();
                }
                (void) !write(gate[1], &child, sizeof child);
                for (;;)
                        (void) pause();
        }
        ASSERT_EQ(read(gate[0], &child, sizeof child), (ssize_t) sizeof child);
        ASSERT_EQ(lock_in_child(path), -EBUSY);
        ASSERT_EQ(fd_lock(fd), -EBUSY);

        ASSERT_TRUE(kill(owner, SIGKILL) >= 0);
        ASSERT_EQ(waitpid(owner, &status, 0), owner);
        ASSERT_EQ(kill(child, 0), 0);
        ASSERT_EQ(lock_in_child(path), 0);

        (void) kill(child, SIGKILL);
        (void) unlink(path);
        safe_close(fd);
        safe_close_pair(gate);
}

TEST(signals) {
        ASSERT_EQ(signal_from_string("SIGTERM"), SIGTERM);
        ASSERT_EQ(signal_from_string("usr2"), SIGUSR2);
        ASSERT_EQ(signal_from_string("9"), SIGKILL);
        ASSERT_EQ(signal_from_string("RTMIN+1"), SIGRTMIN + 1);
        ASSERT_TRUE(signal_from_string("0") < 0);
        ASSERT_TRUE(signal_from_string("999") < 0);
        ASSERT_TRUE(signal_from_string("SIGNOPE") < 0);
        ASSERT_STREQ(signal_to_string(SIGINT), "SIGINT");
        ASSERT_TRUE(!signal_to_string(0));
}

TEST(paths) {
        static const struct {
                const char *base, *path, *resolved;
        } cases[] = {
                { "/srv", "app.js", "/srv/app.js" }, { "/srv", "./a//b/../c", "/srv/a/c" }, { "/srv", "/abs", "/abs" },
                { "/srv", "../../..", "/" }, { "/", ".", "/" }, { "/a/b", "..", "/a" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *p = path_resolve(cases[i].base, cases[i].path);

                ASSERT_STREQ(p, cases[i].resolved);
        }
        ASSERT_STREQ(path_basename("/a/b.js"), "b.js");
        ASSERT_STREQ(path_basename("b.js"), "b.js");
}

TEST(executables_are_found_in_path_order) {
        char dir[] = "/tmp/pmd-test-XXXXXX";
        _cleanup_free_ char *file = NULL, *search = NULL, *found = NULL;

        ASSERT_TRUE(mkdtemp(dir));
        file = strjoin(dir, "/sh");
        search = strjoin("/nonexistent:", dir, ":/bin");
        ASSERT_OK(write_file_atomic(file, "", 0, 0644));

        ASSERT_OK(find_executable("sh", search, &found));
        ASSERT_STREQ(found, "/bin/sh"); /* the first one may not be executed */
        found = mfree(found);
        ASSERT_EQ(find_executable("sh", dir, &found), -EACCES);
        ASSERT_EQ(find_executable("no-such-command", search, &found), -ENOENT);
        ASSERT_EQ(find_executable(dir, NULL, &found), -EACCES);

        ASSERT_OK(unlink(file));
        ASSERT_OK(rmdir(dir));
}

TEST(environments) {
        _cleanup_strv_free_ char **env = NULL, **more = strv_split("B=2 C=3", " ");

        ASSERT_OK(strv_env_set(&env, "A", "1"));
        ASSERT_OK(strv_env_set(&env, "B", ""));
        ASSERT_OK(strv_env_set(&env, "A", "x=y"));
        ASSERT_EQ(strv_env_set(&env, "A=B", "1"), -EINVAL);
        ASSERT_EQ(strv_env_set(&env, "", "1"), -EINVAL);
        ASSERT_STREQ(strv_env_get(env, "A"), "x=y");
        ASSERT_TRUE(!strv_env_get(env, "AA"));
        ASSERT_OK(strv_env_merge(&env, more));
        ASSERT_EQ(strv_length(env), 3);
        ASSERT_STREQ(strv_env_get(env, "B"), "2");
        strv_env_unset(env, "A");
        ASSERT_EQ(strv_length(env), 2);
        ASSERT_TRUE(!strv_env_get(env, "A"));
}

TEST(files_are_replaced_whole) {
        char dir[] = "/tmp/pmd-test-XXXXXX";
        _cleanup_free_ char *file = NULL, *content = NULL;
        struct stat st;
        size_t n;

        ASSERT_TRUE(mkdtemp(dir));
        file = strjoin(dir, "/state");
        ASSERT_OK(write_file_atomic(file, "old", 3, 0600));
        ASSERT_OK(write_file_atomic(file, "new\0er", 6, 0600));
        ASSERT_OK(read_full_file(file, &content, &n));
        ASSERT_EQ(n, 6);
        ASSERT_TRUE(memcmp(content, "new\0er", 7) == 0);
        ASSERT_OK(stat(file, &st));
        ASSERT_EQ(st.st_mode & 07777, 0600);
        ASSERT_EQ(read_full_file_at(AT_FDCWD, file, 5, &content, &n), -E2BIG);
        ASSERT_OK(unlink(file));
        ASSERT_OK(rmdir(dir)); /* no temporary file was left */
}

TEST(instances_know_their_paths) {
        _cleanup_(instance_freep) Instance *system = NULL, *private = NULL, *user = NULL;

        ASSERT_OK(instance_new(INSTANCE_SYSTEM, NULL, &system));
        ASSERT_STREQ(system->socket_path, "/run/pmd/pmd.sock");

        setenv("PM2_HOME", "/srv/pm2", 1);
        unsetenv("PMD_HOME");
        ASSERT_OK(instance_new(INSTANCE_PRIVATE, NULL, &private));
        ASSERT_STREQ(private->home, "/srv/pm2");
        private = instance_free(private);
        setenv("PMD_HOME", "/srv/pmd/", 1);
        ASSERT_OK(instance_new(INSTANCE_PRIVATE, NULL, &private));
        ASSERT_STREQ(private->socket_path, "/srv/pmd/run/pmd.sock");
        ASSERT_EQ(instance_scope_default(), INSTANCE_PRIVATE);

        unsetenv("XDG_RUNTIME_DIR");
        ASSERT_EQ(instance_new(INSTANCE_USER, NULL, &user), -ENXIO);
        setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
        ASSERT_OK(instance_new(INSTANCE_USER, NULL, &user));
        ASSERT_STREQ(user->socket_path, "/run/user/7/pmd/pmd.sock");
        ASSERT_STRING_TABLE(instance_scope, _INSTANCE_SCOPE_MAX);
}

TEST(string_distance) {
        static const struct {
                const char *a, *b;
                size_t distance;
        } cases[] = {
                { "", "", 0 }, { "", "abc", 3 }, { "abc", "", 3 }, { "start", "start", 0 }, { "START", "start", 0 }, { "strat", "start", 1 },
                { "statr", "start", 1 }, { "stat", "start", 1 }, { "startt", "start", 1 }, { "stert", "start", 1 }, { "kitten", "sitting", 3 },
                { "ba", "abc", 2 },
        };
        char longest[STRING_DISTANCE_MAX + 2];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_EQ(string_distance(cases[i].a, cases[i].b, strlen(cases[i].b)), cases[i].distance);
        ASSERT_EQ(string_distance("list", "listless", 4), 0);

        memset(longest, 'x', sizeof longest - 1);
        longest[sizeof longest - 1] = 0;
        ASSERT_TRUE(string_distance(longest, "x", 1) == SIZE_MAX);
        ASSERT_TRUE(string_distance("x", longest, strlen(longest)) == SIZE_MAX);
        ASSERT_EQ(string_distance(longest + 1, "x", 1), STRING_DISTANCE_MAX - 1);
}
