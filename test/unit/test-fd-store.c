/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/fd-store.h"
#include "shared/fd-util.h"
#include "shared/notify-util.h"
#include "byte-pipe.h"

#define LISTEN_FDS_START 3

/* Who keeps the descriptors: a socket that the store is told of. */
typedef struct Fixture {
        sd_event *event;
        FdStore *store;
        int socket;
} Fixture;

static void fixture_done(Fixture *f) {
        fd_store_free(f->store);
        sd_event_unref(f->event);
        safe_close(f->socket);
        unsetenv("NOTIFY_SOCKET");
}

#define _cleanup_fixture_ _cleanup_(fixture_done)

static void fixture_init(Fixture *f, bool kept) {
        _cleanup_free_ char *address = NULL;

        *f = (Fixture) { .socket = -EBADF };
        unsetenv("NOTIFY_SOCKET");
        if (kept) {
                ASSERT_OK(notify_listen(&f->socket, &address));
                ASSERT_OK(setenv("NOTIFY_SOCKET", address, true));
        }
        ASSERT_OK(sd_event_new(&f->event));
        ASSERT_OK(fd_store_new(f->event, &f->store));
        ASSERT_EQ(fd_store_is_kept(f->store), kept);
}

/* The next message, and the descriptor that came along or -EBADF. False: there is none. */
static bool receive(int fd, char *text, size_t size, int *ret_fd) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = { text, size - 1 };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
        ssize_t n;

        *ret_fd = -EBADF;
        n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return false;
        text[n] = 0;
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h))
                if (h->cmsg_type == SCM_RIGHTS)
                        memcpy(ret_fd, CMSG_DATA(h), sizeof(int));
        return true;
}

static void expect(Fixture *f, const char *expected, int *ret_fd) {
        char text[4096];

        ASSERT_TRUE(receive(f->socket, text, sizeof(text), ret_fd));
        ASSERT_STREQ(text, expected);
}

static bool is_cloexec(int fd) {
        return fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

static bool is_pipe(int fd) {
        struct stat st;

        return fstat(fd, &st) >= 0 && S_ISFIFO(st.st_mode);
}

TEST(valid_names) {
        char name[FD_NAME_MAX + 2];

        ASSERT_TRUE(fd_name_is_valid("p3.out"));
        ASSERT_TRUE(fd_name_is_valid("a b\\x3a~"));
        ASSERT_TRUE(!fd_name_is_valid(""));
        ASSERT_TRUE(!fd_name_is_valid("a:b"));
        ASSERT_TRUE(!fd_name_is_valid("a\nb"));
        ASSERT_TRUE(!fd_name_is_valid("a\x7f"));
        ASSERT_TRUE(!fd_name_is_valid("\xc3\xa4"));

        memset(name, 'x', sizeof(name));
        name[FD_NAME_MAX] = 0;
        ASSERT_TRUE(fd_name_is_valid(name));
        name[FD_NAME_MAX] = 'x';
        name[FD_NAME_MAX + 1] = 0;
        ASSERT_TRUE(!fd_name_is_valid(name));
}

TEST(escaped_names) {
        static const struct {
                const char *text, *escaped;
        } rows[] = {
                { "", "" },
                { "plain 0.0~", "plain 0.0~" },
                { "[::1]:80", "[\\x3a\\x3a1]\\x3a80" },
                { "a\\b", "a\\x5cb" },
                { "\n\x7f\xc3\xa4", "\\x0a\\x7f\\xc3\\xa4" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *escaped = fd_name_escape(rows[i].text);

                ASSERT_STREQ(escaped, rows[i].escaped);
                ASSERT_EQ(fd_name_is_valid(escaped), i > 0);
        }
}

TEST(addresses) {
        char path[sizeof(((struct sockaddr_un *) NULL)->sun_path) + 2];

        memset(path, '/', sizeof(path) - 1);
        path[sizeof(path) - 1] = 0;
        ASSERT_EQ(notify_connect("vsock:2:1"), -EAFNOSUPPORT);
        ASSERT_EQ(notify_connect("relative"), -EAFNOSUPPORT);
        ASSERT_EQ(notify_connect("@"), -EAFNOSUPPORT);
        ASSERT_EQ(notify_connect(path), -ENAMETOOLONG);
        ASSERT_EQ(notify_connect("/no/such/socket"), -ENOENT);
        ASSERT_EQ(notify_connect("@nobody listens here"), -ECONNREFUSED);
}

TEST(socket_with_a_path) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int listening = -EBADF, connected = -EBADF;
        char text[16];
        int fd;

        (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "/tmp/pmd-test-notify.%d", (int) getpid());
        ASSERT_OK(listening = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ASSERT_OK(bind(listening, (const struct sockaddr *) &sa, sizeof(sa)));
        connected = notify_connect(sa.sun_path);
        (void) unlink(sa.sun_path);
        ASSERT_OK(connected);
        ASSERT_EQ(notify_send(connected, "READY=1", -EBADF), 0);
        ASSERT_TRUE(receive(listening, text, sizeof(text), &fd));
        ASSERT_STREQ(text, "READY=1");
        ASSERT_EQ(fd, -EBADF);
}

TEST(nobody_keeps) {
        _cleanup_fixture_ Fixture f;

        fixture_init(&f, false);
        ASSERT_EQ(fd_store_push(f.store, "a", STDIN_FILENO), 0);
        ASSERT_EQ(fd_store_remove(f.store, "a"), 0);
        ASSERT_EQ(fd_store_push(f.store, "a:b", STDIN_FILENO), -EINVAL);
        ASSERT_EQ(fd_store_remove(f.store, ""), -EINVAL);
        ASSERT_EQ(fd_store_take(f.store, "a"), -ENOENT);
        ASSERT_TRUE(!fd_store_get_name(f.store, 0));
        ASSERT_EQ(fd_store_drop_rest(f.store), 0);
        ASSERT_EQ(fd_store_get_pending(f.store), 0);

        ASSERT_EQ(fd_store_push(NULL, "a", STDIN_FILENO), 0);
        ASSERT_EQ(fd_store_take(NULL, "a"), -ENOENT);
        ASSERT_EQ(fd_store_drop_rest(NULL), 0);
}

TEST(nobody_is_there) {
        _cleanup_fixture_ Fixture f = { .socket = -EBADF };

        ASSERT_OK(setenv("NOTIFY_SOCKET", "/no/such/socket", true));
        ASSERT_OK(sd_event_new(&f.event));
        ASSERT_OK(fd_store_new(f.event, &f.store));
        ASSERT_TRUE(!fd_store_is_kept(f.store));
        ASSERT_EQ(fd_store_push(f.store, "a", STDIN_FILENO), 0);
}

TEST(push_and_remove) {
        _cleanup_close_ int fd = pipe_with('1'), got = -EBADF;
        _cleanup_fixture_ Fixture f;
        char text[64];
        int none;

        fixture_init(&f, true);
        ASSERT_EQ(fd_store_push(f.store, "p1.out", fd), 1);
        ASSERT_EQ(fd_store_remove(f.store, "p1.out"), 1);
        ASSERT_EQ(fd_store_push(f.store, "a\nREADY=1", fd), -EINVAL);
        ASSERT_EQ(fd_store_push(f.store, "closed", 1000), -EBADF);
        ASSERT_EQ(fd_store_get_pending(f.store), 0);

        expect(&f, "FDSTORE=1\nFDNAME=p1.out\nFDPOLL=0", &got);
        ASSERT_EQ(read_byte(got), '1');
        expect(&f, "FDSTOREREMOVE=1\nFDNAME=p1.out", &none);
        ASSERT_EQ(none, -EBADF);
        ASSERT_TRUE(!receive(f.socket, text, sizeof(text), &none));
}

static void count(void *userdata) {
        (*(unsigned *) userdata)++;
}

/* Nothing blocks, nothing is lost, nothing changes places, and the caller may close what is still on its way. */
TEST(a_reader_that_is_slow) {
        enum { N = 2000 };
        _cleanup_fixture_ Fixture f;
        unsigned n_turns = 0, n_sent = 0;
        char name[16];

        fixture_init(&f, true);
        ASSERT_OK(fd_store_set_sent(f.store, count, &n_sent));
        for (unsigned i = 0; i < N; i++) {
                _cleanup_close_ int fd = i % 2 ? -EBADF : pipe_with((char) ('a' + i % 26));

                (void) snprintf(name, sizeof(name), "%u", i);
                ASSERT_EQ(i % 2 ? fd_store_remove(f.store, name) : fd_store_push(f.store, name, fd), 1);
        }
        ASSERT_TRUE(fd_store_get_pending(f.store) > 0);
        ASSERT_EQ(n_sent, 0U);

        for (unsigned i = 0; i < N;) {
                _cleanup_close_ int got = -EBADF;
                char text[64], expected[64];

                if (!receive(f.socket, text, sizeof(text), &got)) {
                        ASSERT_TRUE(sd_event_run(f.event, 10 * 1000 * 1000) > 0);
                        n_turns++;
                        continue;
                }
                (void) snprintf(expected, sizeof(expected),
                                i % 2 ? "FDSTOREREMOVE=1\nFDNAME=%u" : "FDSTORE=1\nFDNAME=%u\nFDPOLL=0", i);
                ASSERT_STREQ(text, expected);
                if (i % 2 == 0)
                        ASSERT_EQ(read_byte(got), 'a' + i % 26);
                i++;
        }
        ASSERT_TRUE(n_turns > 0);
        ASSERT_EQ(fd_store_get_pending(f.store), 0);
        for (unsigned i = 0; i < 3; i++)
                (void) sd_event_run(f.event, 0);
        ASSERT_EQ(sd_event_run(f.event, 0), 0); /* at rest */
        ASSERT_EQ(n_sent, 1U);
}

TEST(a_reader_that_hangs) {
        _cleanup_fixture_ Fixture f;
        unsigned n = 0, n_sent = 0;
        int r;

        fixture_init(&f, true);
        ASSERT_OK(fd_store_set_sent(f.store, count, &n_sent));
        while ((r = fd_store_remove(f.store, "name")) == 1 && n < 100000)
                n++;
        ASSERT_EQ(r, -ENOBUFS);
        ASSERT_EQ(fd_store_get_pending(f.store), 4096);
        ASSERT_TRUE(fd_store_is_behind(f.store));

        ASSERT_TRUE(sd_event_run(f.event, 60 * 1000 * 1000) > 0); /* nobody waits for it for ever */
        ASSERT_EQ(n_sent, 1U);
        ASSERT_TRUE(!fd_store_is_behind(f.store));
}

TEST(a_reader_that_dies) {
        _cleanup_close_ int fd = pipe_with('1');
        _cleanup_fixture_ Fixture f;
        unsigned n_sent = 0;

        fixture_init(&f, true);
        ASSERT_OK(fd_store_set_sent(f.store, count, &n_sent));
        while (fd_store_get_pending(f.store) < 3)
                ASSERT_EQ(fd_store_push(f.store, "name", fd), 1);
        f.socket = safe_close(f.socket);

        ASSERT_OK(sd_event_run(f.event, 10 * 1000 * 1000));
        ASSERT_EQ(fd_store_get_pending(f.store), 0);
        ASSERT_TRUE(!fd_store_is_kept(f.store));
        ASSERT_EQ(fd_store_push(f.store, "name", fd), 0);
        ASSERT_TRUE(sd_event_run(f.event, 0) > 0);
        ASSERT_EQ(n_sent, 1U); /* who waited for it goes on */
        ASSERT_EQ(sd_event_run(f.event, 0), 0);
}

/* What the parent hands over has fixed numbers, which are in use in the test program: a child takes its place. */
#define CHECK(expr)                                                                     \
        do {                                                                            \
                if (!(expr)) {                                                          \
                        printf("# %s:%d: %s is false\n", __FILE__, __LINE__, #expr);    \
                        (void) fflush(stdout);                                          \
                        _exit(1);                                                       \
                }                                                                       \
        } while (false)

static unsigned count_pipes(int first, int last) {
        unsigned n = 0;

        for (int fd = first; fd <= last; fd++)
                n += is_pipe(fd);
        return n;
}

static void take_in_child(int notify, const char *address) {
        static const char data[] = "abcde";
        char number[16], text[64];
        int fds[5], last, none;
        FdStore *s = NULL;
        sd_event *event;

        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                int fd = pipe_with(data[i]);

                CHECK((fds[i] = fcntl(fd, F_DUPFD, 100)) >= 0);
                (void) close(fd);
        }
        CHECK(notify >= 100);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                CHECK(dup2(fds[i], LISTEN_FDS_START + (int) i) >= 0);

        (void) snprintf(number, sizeof(number), "%d", (int) getpid());
        CHECK(setenv("LISTEN_PID", number, true) == 0);
        CHECK(setenv("LISTEN_FDS", "5", true) == 0);
        CHECK(setenv("LISTEN_FDNAMES", "zeta:twice:alpha:twice:unknown", true) == 0);
        CHECK(setenv("NOTIFY_SOCKET", address, true) == 0);

        CHECK(sd_event_new(&event) >= 0);
        CHECK(fd_store_new(event, &s) >= 0);
        CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));

        CHECK(fd_store_take(s, "none") == -ENOENT);
        CHECK((last = fd_store_take(s, "zeta")) >= 0);
        CHECK(is_cloexec(last) && read_byte(last) == 'a');
        CHECK(fd_store_take(s, "zeta") == -ENOENT);
        CHECK((last = fd_store_take(s, "alpha")) >= 0 && read_byte(last) == 'c');
        CHECK((last = fd_store_take(s, "twice")) >= 0 && IN_SET(read_byte(last), 'b', 'd'));
        CHECK(fd_store_take(s, "twice") == -ENOENT);
        /* The second of that name has been closed. */
        CHECK(count_pipes(LISTEN_FDS_START, 99) == 4);
        /* Low numbers are left to what children have there. */
        CHECK(count_pipes(LISTEN_FDS_START, LISTEN_FDS_START + 4) == 0);

        CHECK(streq_ptr(fd_store_get_name(s, 0), "unknown") && !fd_store_get_name(s, 1));
        CHECK(fd_store_drop_rest(s) == 1);
        CHECK(!fd_store_get_name(s, 0) && count_pipes(LISTEN_FDS_START, 99) == 3);
        CHECK(receive(notify, text, sizeof(text), &none) && streq(text, "FDSTOREREMOVE=1\nFDNAME=unknown"));
        CHECK(!receive(notify, text, sizeof(text), &none));

        fd_store_free(s);
        sd_event_unref(event);
        _exit(0);
}

TEST(take) {
        _cleanup_close_ int low = -EBADF, notify = -EBADF;
        _cleanup_free_ char *address = NULL;
        int status;
        pid_t pid;

        ASSERT_OK(notify_listen(&low, &address));
        ASSERT_OK(notify = fcntl(low, F_DUPFD_CLOEXEC, 100));
        (void) fflush(stdout);
        ASSERT_OK(pid = fork());
        if (pid == 0)
                take_in_child(notify, address);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
}

/* Of another process: not for us. */
TEST(handed_to_another) {
        _cleanup_fixture_ Fixture f;

        ASSERT_OK(setenv("LISTEN_PID", "1", true));
        ASSERT_OK(setenv("LISTEN_FDS", "1", true));
        fixture_init(&f, false);
        ASSERT_TRUE(!fd_store_get_name(f.store, 0));
        ASSERT_TRUE(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID"));
}
