/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmd/notify-socket.h"
#include "linger.h"
#include "test.h"

#include "shared/fd-util.h"
#include "tree.h"

typedef struct World {
        char *dir, *path;
        sd_event *event;
        NotifySocket *socket;
        pid_t member; /* whose messages count; 0: everybody's */
        unsigned n_ready, n_alive, n_failed;
        char status[64];
} World;

static bool may_send(pid_t pid, void *userdata) {
        World *w = userdata;

        return w->member == 0 || pid == w->member;
}

static void on_status(const char *text, void *userdata) {
        World *w = userdata;

        (void) snprintf(w->status, sizeof w->status, "%s", text);
}

static void on_watchdog(bool failed, void *userdata) {
        World *w = userdata;

        (*(failed ? &w->n_failed : &w->n_alive))++;
}

static void on_ready(void *userdata) {
        World *w = userdata;

        w->n_ready++;
}

static const NotifyHandler handler = { may_send, on_status, on_watchdog, on_ready };

static void set_up(World *w) {
        *w = (World) { .dir = tree_new() };
        w->path = strjoin(w->dir, "/1.sock");
        ASSERT_TRUE(w->path);
        ASSERT_OK(sd_event_new(&w->event));
        ASSERT_OK(notify_socket_new(w->event, w->path, geteuid(), &handler, w, &w->socket));
}

static void tear_down(World *w) {
        notify_socket_free(w->socket);
        sd_event_unref(w->event);
        free(w->path);
        tree_remove(&w->dir);
}

static void pump(World *w) {
        int r;

        while ((r = sd_event_run(w->event, 0)) > 0)
                ;
        ASSERT_OK(r);
}

static void send_bytes(const World *w, const void *data, size_t size) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        ASSERT_OK(fd);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", w->path);
        ASSERT_EQ(sendto(fd, data, size, 0, (struct sockaddr *) &address, sizeof address), (ssize_t) size);
}

static void send_text(const World *w, const char *text) {
        send_bytes(w, text, strlen(text));
}

static const struct {
        const char *text;
        unsigned n_ready, n_alive, n_failed;
        const char *status;
} messages[] = {
        { "READY=1", 1, 0, 0, "" },
        { "READY=1\n", 1, 0, 0, "" },
        { "READY=1\nSTATUS=Serving 3 clients\nWATCHDOG=1\n", 1, 1, 0, "Serving 3 clients" },
        { "STATUS=a\nSTATUS=b", 0, 0, 0, "b" },
        { "STATUS=", 0, 0, 0, "" },
        { "STATUS=\xff", 0, 0, 0, "" },
        { "WATCHDOG=trigger", 0, 0, 1, "" },
        { "READY=0\nREADY=11\n READY=1\nready=1\nXREADY=1", 0, 0, 0, "" },
        { "MAINPID=1\nFDSTORE=1\nRELOADING=1\nSTOPPING=1\nERRNO=2", 0, 0, 0, "" },
        { "", 0, 0, 0, "" },
        { "\n\n", 0, 0, 0, "" },
};

TEST(messages) {
        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                World w;

                printf("# %zu\n", i);
                set_up(&w);
                send_text(&w, messages[i].text);
                pump(&w);
                ASSERT_EQ(w.n_ready, messages[i].n_ready);
                ASSERT_EQ(w.n_alive, messages[i].n_alive);
                ASSERT_EQ(w.n_failed, messages[i].n_failed);
                ASSERT_STREQ(w.status, messages[i].status);
                ASSERT_EQ(notify_socket_get_dropped(w.socket), 0);
                tear_down(&w);
        }
}

TEST(malformed) {
        static const char nul[] = "READY=1\0\nREADY=1";
        _cleanup_free_ char *large = NULL;
        World w;

        set_up(&w);
        send_bytes(&w, nul, sizeof nul);
        pump(&w);
        ASSERT_EQ(notify_socket_get_dropped(w.socket), 1);

        large = calloc(1, 5000);
        ASSERT_TRUE(large);
        memset(large, '\n', 4999);
        memcpy(large, "READY=1", 7);
        send_bytes(&w, large, 4999);
        pump(&w);
        ASSERT_EQ(notify_socket_get_dropped(w.socket), 2);
        ASSERT_EQ(w.n_ready, 0);

        send_text(&w, "READY=1");
        pump(&w);
        ASSERT_EQ(w.n_ready, 1);
        tear_down(&w);
}

/* A child's message is its own, whatever it says, and even if it has been reaped. */
TEST(strangers) {
        World w;
        pid_t pid;

        set_up(&w);
        w.member = getpid();

        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                send_text(&w, "READY=1\nMAINPID=1");
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        pump(&w);
        ASSERT_EQ(w.n_ready, 0);
        ASSERT_EQ(notify_socket_get_dropped(w.socket), 1);

        send_text(&w, "READY=1");
        pump(&w);
        ASSERT_EQ(w.n_ready, 1);
        ASSERT_EQ(notify_socket_get_dropped(w.socket), 1);
        tear_down(&w);
}

/* sd_notify_barrier() waits until what it sent along has been closed. */
TEST(barrier) {
        World w;
        int status;
        pid_t pid;

        set_up(&w);
        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0)
                _exit(setenv("NOTIFY_SOCKET", w.path, 1) < 0 || sd_notify(0, "STATUS=hello") <= 0 ||
                      sd_notify_barrier(0, 20 * UINT64_C(1000000)) <= 0);

        while (waitpid(pid, &status, WNOHANG) == 0)
                ASSERT_OK(sd_event_run(w.event, 10000));
        ASSERT_EQ(status, 0);
        ASSERT_STREQ(w.status, "hello");
        tear_down(&w);
}

/* Nobody waits for it but who sent it, neither while the socket is read nor when it is closed with that unread. */
TEST(descriptors_that_take_long_to_close) {
        usec_t begin = now(CLOCK_MONOTONIC);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), peers[2];
        World w;

        set_up(&w);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", w.path);
        ASSERT_OK(connect(fd, (struct sockaddr *) &address, sizeof address));
        linger_send(fd, "STATUS=one", linger_new(&peers[0]));
        send_text(&w, "READY=1");
        while (w.n_ready == 0)
                ASSERT_OK(sd_event_run(w.event, LINGER_USEC));
        ASSERT_STREQ(w.status, "one");
        linger_send(fd, "STATUS=two", linger_new(&peers[1]));
        tear_down(&w);
        ASSERT_TRUE(now(CLOCK_MONOTONIC) - begin < LINGER_USEC / 2);
        safe_close(peers[0]);
        safe_close(peers[1]);
        safe_close(fd);
}

TEST(file) {
        _cleanup_free_ char *deep = NULL;
        NotifySocket *other;
        struct stat st;
        World w;
        int fd;

        set_up(&w);
        ASSERT_OK(lstat(w.path, &st));
        ASSERT_TRUE(S_ISSOCK(st.st_mode));
        ASSERT_EQ(st.st_mode & 07777, 0600);
        ASSERT_EQ(st.st_uid, geteuid());
        ASSERT_STREQ(notify_socket_get_path(w.socket), w.path);

        /* One that a pmd has left is in nobody's way; its socket goes on with the next. */
        fd = fcntl(notify_socket_get_fd(w.socket), F_DUPFD_CLOEXEC, 3);
        ASSERT_OK(fd);
        w.socket = notify_socket_free(w.socket);
        send_text(&w, "READY=1");
        ASSERT_OK(notify_socket_adopt(w.event, fd, w.path, &handler, &w, &w.socket));
        pump(&w);
        ASSERT_EQ(w.n_ready, 1);
        w.socket = notify_socket_free(w.socket);
        ASSERT_OK(notify_socket_new(w.event, w.path, geteuid(), &handler, &w, &w.socket));
        send_text(&w, "READY=1");
        pump(&w);
        ASSERT_EQ(w.n_ready, 2);

        deep = strprintf("%s/%0120d.sock", w.dir, 1);
        ASSERT_TRUE(deep);
        ASSERT_EQ(notify_socket_new(w.event, deep, geteuid(), &handler, &w, &other), -ENAMETOOLONG);
        tear_down(&w);
}
