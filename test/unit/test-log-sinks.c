/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "log-fixture.h"

TEST(file_is_byte_exact) {
        static const char text[] = "one\n<3>two\n\0nul\0\n\xff\xfe\xc3(\r\n\nlast";
        _cleanup_free_ char *path = NULL, *got = NULL;
        uint64_t stream;
        size_t size;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, &stream);
        ASSERT_OK(write_all(fd, text, sizeof text - 1));
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_EQ(f.closed[0], stream);

        got = content(path, &size);
        ASSERT_TRUE(got);
        ASSERT_EQ(size, sizeof text);
        ASSERT_EQ(memcmp(got, text, sizeof text - 1), 0);
        ASSERT_EQ(got[size - 1], '\n');
        fixture_done(&f);
}

TEST(file_mode_and_directories) {
        _cleanup_free_ char *path = NULL, *dir = NULL, *got = NULL;
        mode_t mask = umask(0);
        struct stat st;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "a/b/out.log");
        dir = in_dir(&f, "a/b");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        umask(mask);

        got = content(path, NULL);
        ASSERT_STREQ(got, "x\n");
        ASSERT_OK(stat(path, &st));
        ASSERT_EQ(st.st_mode & 07777, 0640);
        ASSERT_OK(stat(dir, &st));
        ASSERT_EQ(st.st_mode & 07777, 0750);
        fixture_done(&f);
}

TEST(file_is_appended_to) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        for (size_t i = 1; i <= 2; i++) {
                int fd = add(&f, &spec, NULL);

                put(fd, i == 1 ? "first\n" : "second\n");
                safe_close(fd);
                ASSERT_TRUE(run_until_closed(&f, i));
        }

        got = content(path, NULL);
        ASSERT_STREQ(got, "first\nsecond\n");
        fixture_done(&f);
}

TEST(symlink_is_refused) {
        _cleanup_free_ char *path = NULL, *target = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "out.log");
        target = in_dir(&f, "target");
        ASSERT_OK(symlink(target, path));
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(access(target, F_OK) < 0);
        fixture_done(&f);
}

/* A FIFO that nobody reads holds nobody up. */
TEST(fifo_does_not_hang) {
        _cleanup_free_ char *path = NULL;
        Fixture f;
        int fd;

        fixture_init(&f);
        path = in_dir(&f, "fifo");
        ASSERT_OK(mkfifo(path, 0600));
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.journal = true;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(journal_wait(1));
        ASSERT_TRUE(entry_has(0, "MESSAGE=x"));
        fixture_done(&f);
}

TEST(user_cannot_write_where_he_may_not) {
        _cleanup_free_ char *dir = NULL, *theirs = NULL, *mine = NULL, *got = NULL;
        struct stat st;
        Fixture f;
        int fds[2];

        if (geteuid() != 0)
                return;

        fixture_init(&f);
        ASSERT_OK(chmod(f.dir, 0755));
        mine = in_dir(&f, "root.log");
        dir = in_dir(&f, "theirs");
        theirs = in_dir(&f, "theirs/out.log");
        ASSERT_OK(mkdir(dir, 0700));
        ASSERT_OK(chown(dir, 65534, 65534));

        LogStreamSpec own = spec_of(LOG_STREAM_OUT), other = own;
        own.path = mine;
        other.path = mine; /* open already, by root */
        other.combined_path = theirs;
        other.uid = other.gid = 65534;

        fds[0] = add(&f, &own, NULL);
        fds[1] = add(&f, &other, NULL);
        put(fds[0], "root\n");
        put(fds[1], "nobody\n");
        safe_close_pair(fds);
        ASSERT_TRUE(run_until_closed(&f, 2));

        got = content(mine, NULL);
        ASSERT_STREQ(got, "root\n");
        free(got);
        got = content(theirs, NULL);
        ASSERT_STREQ(got, "nobody\n");
        ASSERT_OK(stat(theirs, &st));
        ASSERT_EQ(st.st_uid, 65534);
        ASSERT_EQ(st.st_gid, 65534);
        ASSERT_OK(stat(mine, &st));
        ASSERT_EQ(st.st_uid, 0);
        fixture_done(&f);
}

/* The default log file of another user's app lies where that user cannot go. */
TEST(own_path_is_opened_with_own_rights) {
        _cleanup_free_ char *path = NULL, *got = NULL;
        Fixture f;
        int fd;

        if (geteuid() != 0)
                return;

        fixture_init(&f); /* its directory has mode 0700 */
        path = in_dir(&f, "out.log");
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = path;
        spec.own_path = true;
        spec.uid = spec.gid = 65534;

        fd = add(&f, &spec, NULL);
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        got = content(path, NULL);
        ASSERT_STREQ(got, "x\n");
        fixture_done(&f);
}

/* A disk that is full loses lines, and nothing else. */
TEST(write_errors_are_survived) {
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.path = "/dev/full";
        spec.journal = true;

        fd = add(&f, &spec, NULL);
        for (size_t i = 0; i < 100; i++)
                put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));
        ASSERT_TRUE(journal_wait(100));
        fixture_done(&f);
}

TEST(journal_fields) {
        static const char *const fields[] = {
                "MESSAGE=hello", "PRIORITY=6", "SYSLOG_IDENTIFIER=api", "PM_APP=api", "PM_ID=7", "PM_INSTANCE=2",
                "PM_NAMESPACE=default", "PM_STREAM=out",
        };
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        fd = add(&f, &spec, NULL);
        put(fd, "hello\n<4>warn\nplain\n\n<3>end");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_TRUE(journal_wait(5));
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                ASSERT_TRUE(entry_has(0, fields[i]));
        ASSERT_TRUE(!strstr(journal.entries[0], "OBJECT_PID="));
        ASSERT_TRUE(!strstr(journal.entries[0], "PM_LINE_BREAK="));
        ASSERT_TRUE(entry_has(1, "MESSAGE=warn") && entry_has(1, "PRIORITY=4"));
        ASSERT_TRUE(entry_has(2, "MESSAGE=plain") && entry_has(2, "PRIORITY=6"));
        ASSERT_TRUE(entry_has(3, "MESSAGE="));
        ASSERT_TRUE(entry_has(4, "MESSAGE=end") && entry_has(4, "PRIORITY=3") && entry_has(4, "PM_LINE_BREAK=eof"));
        fixture_done(&f);
}

TEST(journal_is_byte_exact) {
        static const char message[] = "MESSAGE=a\0b\xff\n";
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_ERR);
        spec.journal = true;
        fd = add(&f, &spec, NULL);
        ASSERT_OK(write_all(fd, "a\0b\xff\n", 5));
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_TRUE(journal_wait(1));
        ASSERT_EQ(memcmp(journal.entries[0], message, sizeof message - 1), 0);
        ASSERT_TRUE(memmem(journal.entries[0], journal.sizes[0], "\nPRIORITY=3\n", 12));
        ASSERT_TRUE(memmem(journal.entries[0], journal.sizes[0], "\nPM_STREAM=err\n", 15));
        fixture_done(&f);
}

TEST(pid_is_known_after_the_fork) {
        uint64_t stream;
        Fixture f;
        int fd;

        fixture_init(&f);
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;
        fd = add(&f, &spec, &stream);
        ASSERT_OK(log_relay_set_pid(f.relay, stream, 4711, "pm-api-7-1.scope"));
        put(fd, "x\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        ASSERT_TRUE(journal_wait(1));
        ASSERT_TRUE(entry_has(0, "PM_UNIT=pm-api-7-1.scope"));
        ASSERT_EQ(entry_has(0, "OBJECT_PID=4711"), geteuid() == 0);
        fixture_done(&f);
}

TEST(journal_that_comes_later) {
        Fixture f;
        int fd;

        fixture_init(&f);
        journal_unbind();
        LogStreamSpec spec = spec_of(LOG_STREAM_OUT);
        spec.journal = true;

        fd = add(&f, &spec, NULL);
        put(fd, "kept\n");
        safe_close(fd);
        ASSERT_TRUE(run_until_closed(&f, 1));

        journal_bind();
        journal_read();
        ASSERT_TRUE(journal_wait(1));
        ASSERT_TRUE(entry_has(0, "MESSAGE=kept"));
        fixture_done(&f);
}
