/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd-util.h"
#include "spawn-fixture.h"
#include "test.h"

TEST(steps) {
        ASSERT_STRING_TABLE(spawn_step, _SPAWN_STEP_MAX);
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
