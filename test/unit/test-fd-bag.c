/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/fd-bag.h"
#include "shared/fd-util.h"
#include "byte-pipe.h"

enum { A, B, C, N };

static const char *const kinds[N] = { "a", "b", "c" };

static void close_all(int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                fds[i] = safe_close(fds[i]);
}

static int bag_of(int a, int b, int c) {
        int fds[N] = { a, b, c }, bag;

        bag = fd_bag_new(kinds, fds, N);
        close_all(fds, N);
        return bag;
}

static unsigned n_open(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 1000; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

TEST(look) {
        _cleanup_close_ int bag = bag_of(pipe_with('a'), -EBADF, pipe_with('c'));
        int fds[N];

        ASSERT_OK(bag);
        ASSERT_EQ(fcntl(bag, F_GETFD), FD_CLOEXEC);
        ASSERT_EQ(fd_bag_look(bag, kinds, fds, N), 0);
        ASSERT_EQ(fds[B], -EBADF);
        ASSERT_EQ(fcntl(fds[A], F_GETFD), FD_CLOEXEC);
        ASSERT_EQ(read_byte(fds[A]), 'a');
        ASSERT_EQ(read_byte(fds[C]), 'c');
        close_all(fds, N);
}

/* Each pmd looks into it, and whoever looks may close what was there. */
TEST(look_again) {
        _cleanup_close_ int bag = bag_of(pipe_with('a'), pipe_with('b'), pipe_with('c'));
        unsigned n_before = n_open();
        int fds[N];

        for (unsigned i = 0; i < 3; i++) {
                ASSERT_EQ(fd_bag_look(bag, kinds, fds, N), 0);
                close_all(fds, N);
        }
        ASSERT_EQ(fd_bag_look(bag, kinds, fds, N), 0);
        ASSERT_EQ(read_byte(fds[B]), 'b');
        close_all(fds, N);
        ASSERT_EQ(n_open(), n_before);
}

/* A pmd of another version has other kinds, in another order. */
TEST(other_kinds) {
        static const char *const other[] = { "new", "c", "a" };
        _cleanup_close_ int bag = bag_of(pipe_with('a'), pipe_with('b'), pipe_with('c'));
        unsigned n_before = n_open();
        int fds[ELEMENTSOF(other)];

        ASSERT_EQ(fd_bag_look(bag, other, fds, ELEMENTSOF(other)), 0);
        ASSERT_EQ(n_open(), n_before + 2);
        ASSERT_EQ(fds[0], -EBADF);
        ASSERT_EQ(read_byte(fds[1]), 'c');
        ASSERT_EQ(read_byte(fds[2]), 'a');
        close_all(fds, ELEMENTSOF(other));
}

/* The copy in the bag counts, and no other once ours is closed. */
TEST(end_of_the_bag) {
        int fds[2], bag;

        (void) signal(SIGPIPE, SIG_IGN);
        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        bag = bag_of(fds[0], -EBADF, -EBADF);
        ASSERT_OK(bag);
        ASSERT_EQ(write(fds[1], "x", 1), 1);
        bag = safe_close(bag);
        ASSERT_EQ(write(fds[1], "x", 1), -1);
        ASSERT_EQ(errno, EPIPE);
        (void) close(fds[1]);
}

/* Of a root without privileges, and with a limit of its own. */
static int pass_as_hardened_service(void) {
        const cap_value_t needed[] = { CAP_SYS_RESOURCE, CAP_SYS_ADMIN };
        _cleanup_close_pair_ int pair[2] = EBADF_PAIR;
        struct rlimit limit = { 64, 64 };
        int fds[] = { STDIN_FILENO };
        char data = 'x', control[CMSG_SPACE(sizeof(fds))] = "";
        struct iovec iov = { .iov_base = &data, .iov_len = 1 };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
        struct cmsghdr *h = CMSG_FIRSTHDR(&mh);
        cap_t caps = cap_get_proc();

        *h = (struct cmsghdr) { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fds)) };
        memcpy(CMSG_DATA(h), fds, sizeof(fds));
        if (!caps || cap_set_flag(caps, CAP_EFFECTIVE, ELEMENTSOF(needed), needed, CAP_CLEAR) < 0 || cap_set_proc(caps) < 0 ||
            setrlimit(RLIMIT_NOFILE, &limit) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        (void) cap_free(caps);
        return sendmsg(pair[0], &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

TEST(counts_for_nobody) {
        int bags[100], status;
        pid_t pid;

        if (!fd_bag_is_harmless())
                return;
        for (size_t i = 0; i < ELEMENTSOF(bags); i++)
                ASSERT_OK(bags[i] = bag_of(pipe_with('a'), pipe_with('b'), pipe_with('c')));
        ASSERT_EQ(getuid(), 0U);

        ASSERT_OK(pid = fork());
        if (pid == 0)
                _exit(-pass_as_hardened_service());
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        ASSERT_EQ(WEXITSTATUS(status), 0);
        close_all(bags, ELEMENTSOF(bags));
}

TEST(no_bag) {
        _cleanup_close_pair_ int pair[2] = EBADF_PAIR;
        _cleanup_close_ int fd = pipe_with('1');
        int fds[N] = { -EBADF, -EBADF, -EBADF };

        ASSERT_EQ(fd_bag_new(kinds, fds, N), -EINVAL);
        ASSERT_EQ(fd_bag_look(fd, kinds, fds, N), -EBADMSG);
        ASSERT_EQ(fd_bag_look(-EBADF, kinds, fds, N), -EBADF);

        ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        ASSERT_EQ(fd_bag_look(pair[0], kinds, fds, N), -EBADMSG);
        ASSERT_EQ(write(pair[1], "a\nb\n", 4), 4);
        ASSERT_EQ(fd_bag_look(pair[0], kinds, fds, N), -EBADMSG);
        ASSERT_EQ(fds[A], -EBADF);
        pair[1] = safe_close(pair[1]);
}

TEST(too_much) {
        static const char long_kind[300] = { [0 ... 298] = 'x' };
        const char *many[FD_BAG_MAX + 1];
        int fds[FD_BAG_MAX + 1];

        for (size_t i = 0; i < ELEMENTSOF(many); i++) {
                many[i] = "k";
                fds[i] = STDIN_FILENO;
        }
        ASSERT_EQ(fd_bag_new(many, fds, ELEMENTSOF(many)), -E2BIG);
        ASSERT_EQ(fd_bag_new((const char *const []) { long_kind }, fds, 1), -E2BIG);
}

/* All or nothing. */
TEST(no_room_for_all) {
        _cleanup_close_ int bag = bag_of(pipe_with('a'), pipe_with('b'), pipe_with('c'));
        struct rlimit before, limit;
        unsigned n_before = n_open();
        int fds[N], next;

        ASSERT_OK(next = dup(STDIN_FILENO));
        (void) close(next);
        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &before));
        limit = (struct rlimit) { (rlim_t) next + 2, before.rlim_max };
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
        ASSERT_EQ(fd_bag_look(bag, kinds, fds, N), -EMFILE);
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &before));
        for (size_t i = 0; i < N; i++)
                ASSERT_EQ(fds[i], -EBADF);
        ASSERT_EQ(n_open(), n_before);
}
