/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/node-channel.h"
#include "linger.h"
#include "test.h"

#include "shared/fd-util.h"

typedef struct World {
        sd_event *event;
        NodeChannel *channel;
        int child; /* its end */
        char heard[4096];
        unsigned n_internal, n_user, n_closed;
} World;

static void note(World *w, const char *text) {
        size_t n = strlen(w->heard);

        (void) snprintf(w->heard + n, sizeof w->heard - n, "%.200s;", text);
}

static void on_internal(json_object *message, const char *act, void *userdata) {
        World *w = userdata;

        w->n_internal++;
        note(w, act ?: "-");
}

static void on_user(json_object *message, const char *json, size_t n, void *userdata) {
        World *w = userdata;

        if (strlen(json) != n)
                abort();
        w->n_user++;
        note(w, json);
}

static void on_closed(void *userdata) {
        World *w = userdata;

        w->n_closed++;
}

static const NodeChannelHandler handler = { on_internal, on_user, on_closed };

static void set_up(World *w) {
        int fds[2];

        *w = (World) {};
        ASSERT_OK(sd_event_new(&w->event));
        ASSERT_OK(node_channel_make_pair(fds));
        w->child = fds[1];
        ASSERT_OK(node_channel_new(w->event, fds[0], &handler, w, &w->channel));
}

static void tear_down(World *w) {
        w->channel = node_channel_free(w->channel);
        w->event = sd_event_unref(w->event);
        w->child = safe_close(w->child);
}

static void pump(World *w) {
        int r;

        while ((r = sd_event_run(w->event, 0)) > 0)
                ;
        ASSERT_OK(r);
}

static void say(World *w, const char *text) {
        ASSERT_EQ(send(w->child, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t) strlen(text));
        pump(w);
}

/* What the child can read now, and a descriptor that came along. */
static char *hear(World *w, int *ret_fd) {
        static char text[65536];
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iovec = { text, sizeof text - 1 };
        struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        struct cmsghdr *h;
        ssize_t n;

        n = recvmsg(w->child, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        text[MAX(n, 0)] = 0;
        *ret_fd = -EBADF;
        h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (h)
                memcpy(ret_fd, CMSG_DATA(h), sizeof(int));
        return text;
}

static const struct {
        const char *text, *heard;
        uint64_t n_received, n_invalid;
} messages[] = {
        { "\"ready\"\n", "\"ready\";", 1, 0 },
        { "null\n", "null;", 1, 0 },
        { "12\n-3.5e2\ntrue\n[]\n", "12;-3.5e2;true;[];", 4, 0 },
        { "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}\n", "online;", 1, 0 },
        { "{\"cmd\":\"NODE_CLUSTER\",\"ack\":1,\"accepted\":true,\"seq\":3}\n", "-;", 1, 0 },
        { "{\"cmd\":\"NODE_CLUSTER\",\"act\":7}\n", "-;", 1, 0 },
        { "{\"cmd\":\"NODE_SOMETHING\"}\n", "", 1, 0 },
        { "{\"cmd\":\"NODE_HANDLE_ACK\"}\n{\"cmd\":\"NODE_HANDLE_NACK\"}\n", "", 2, 0 },
        { "{\"cmd\":\"node_x\"}\n{\"cmd\":[\"NODE_\"]}\n{\"cmd\":null}\n", "{\"cmd\":\"node_x\"};{\"cmd\":[\"NODE_\"]};{\"cmd\":null};", 3, 0 },
        { "{\"a\":{\"cmd\":\"NODE_CLUSTER\"}}\n", "{\"a\":{\"cmd\":\"NODE_CLUSTER\"}};", 1, 0 },
        { "{\"cmd\":\n1\n", "1;", 1, 1 },
        { "{\n", "", 0, 1 },
        { "{} {}\n", "", 0, 1 },
        { "hello\nnope\n'x'\n/* */ 1\n[1,]\n", "", 0, 5 },
        { "\"\xff\"\n", "", 0, 1 },
        { "\n\n", "", 0, 0 },
        { "half of it", "", 0, 0 },
};

TEST(messages) {
        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                NodeChannelCounts counts;
                World w;

                set_up(&w);
                say(&w, messages[i].text);
                counts = node_channel_get_counts(w.channel);
                ASSERT_STREQ(w.heard, messages[i].heard);
                ASSERT_EQ(counts.n_received, messages[i].n_received);
                ASSERT_EQ(counts.n_invalid, messages[i].n_invalid);
                tear_down(&w);
        }
}

TEST(a_nul_is_no_end) {
        World w;

        set_up(&w);
        ASSERT_EQ(send(w.child, "1\0002\n3\n", 6, 0), 6);
        pump(&w);
        ASSERT_STREQ(w.heard, "3;");
        ASSERT_EQ(node_channel_get_counts(w.channel).n_invalid, 1);
        tear_down(&w);
}

TEST(nested_deeply) {
        char text[4002];
        World w;

        set_up(&w);
        memset(text, '[', 900);
        memset(text + 900, ']', 900);
        (void) strcpy(text + 1800, "\n");
        say(&w, text);
        ASSERT_EQ(w.n_user, 1);

        memset(text, '[', 2000);
        memset(text + 2000, ']', 2000);
        (void) strcpy(text + 4000, "\n");
        say(&w, text);
        ASSERT_EQ(w.n_user, 1);
        ASSERT_EQ(node_channel_get_counts(w.channel).n_invalid, 1);
        say(&w, "1\n");
        ASSERT_EQ(w.n_user, 2);
        tear_down(&w);
}

TEST(sending) {
        World w;
        int fd;

        set_up(&w);
        ASSERT_OK(node_channel_send(w.channel, "{\"a\":1}", 7));
        ASSERT_OK(node_channel_send(w.channel, "\"shutdown\"", 10));
        pump(&w);
        ASSERT_STREQ(hear(&w, &fd), "{\"a\":1}\n\"shutdown\"\n");
        ASSERT_EQ(fd, -EBADF);
        tear_down(&w);
}

static json_object *make_message(int n) {
        json_object *o = json_object_new_object();

        (void) json_object_object_add(o, "n", json_object_new_int(n));
        return o;
}

static void send_handle(World *w, int n) {
        json_object *o = make_message(n);

        ASSERT_OK(node_channel_send_handle(w->channel, o, "net.Native", w->child));
        json_object_put(o);
}

#define HANDLE(n) "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"n\":" #n "}}\n"
#define ACK "{\"cmd\":\"NODE_HANDLE_ACK\"}\n"
#define NACK "{\"cmd\":\"NODE_HANDLE_NACK\"}\n"

static void expect(World *w, const char *text, bool with_fd) {
        _cleanup_close_ int fd = -EBADF;
        struct stat a, b;

        pump(w);
        ASSERT_STREQ(hear(w, &fd), text);
        ASSERT_EQ(fd >= 0, with_fd);
        if (!with_fd)
                return;
        ASSERT_OK(fstat(fd, &a));
        ASSERT_OK(fstat(w->child, &b));
        ASSERT_EQ(a.st_ino, b.st_ino);
}

TEST(one_handle_at_a_time) {
        World w;

        set_up(&w);
        send_handle(&w, 1);
        send_handle(&w, 2);
        ASSERT_OK(node_channel_send(w.channel, "3", 1));
        expect(&w, HANDLE(1), true);
        expect(&w, "", false);
        say(&w, ACK);
        expect(&w, HANDLE(2), true);
        expect(&w, "", false);
        say(&w, ACK);
        expect(&w, "3\n", false);
        say(&w, ACK);
        tear_down(&w);
}

TEST(a_handle_that_does_not_arrive) {
        World w;

        set_up(&w);
        send_handle(&w, 1);
        ASSERT_OK(node_channel_send(w.channel, "2", 1));
        for (int i = 0; i < 3; i++) {
                expect(&w, HANDLE(1), true);
                say(&w, NACK);
        }
        expect(&w, HANDLE(1), true);
        say(&w, NACK);
        expect(&w, "2\n", false);
        ASSERT_EQ(node_channel_get_counts(w.channel).n_lost, 1);
        say(&w, NACK);
        expect(&w, "", false);
        tear_down(&w);
}

/* A handle of a program is acknowledged, or its Node would send nothing more, and closed. */
TEST(a_handle_that_comes) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        char text[] = "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{\"x\":[1]},\"key\":\"a\"}\n1\n";
        struct iovec iovec = { text, sizeof text - 1 };
        struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        int pipe_fds[2];
        struct pollfd p;
        World w;

        set_up(&w);
        ASSERT_OK(pipe2(pipe_fds, O_CLOEXEC));
        control.header = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), &pipe_fds[1], sizeof(int));
        ASSERT_OK(sendmsg(w.child, &m, 0));
        safe_close(pipe_fds[1]);
        pump(&w);
        expect(&w, ACK, false);
        ASSERT_STREQ(w.heard, "{\"x\":[1]};1;");

        p = (struct pollfd) { .fd = pipe_fds[0] };
        ASSERT_EQ(poll(&p, 1, 10000), 1); /* a thread closes it */
        ASSERT_TRUE(p.revents & POLLHUP);
        safe_close(pipe_fds[0]);
        tear_down(&w);
}

/* Nobody waits for it but who sent it, neither while the channel is read nor when it is closed with that unread. */
TEST(a_handle_that_takes_long_to_close) {
        usec_t begin = now(CLOCK_MONOTONIC);
        int peers[2];
        World w;

        set_up(&w);
        linger_send(w.child, "1\n", linger_new(&peers[0]));
        ASSERT_EQ(send(w.child, "2\n", 2, MSG_NOSIGNAL), 2);
        while (w.n_user < 2)
                ASSERT_OK(sd_event_run(w.event, LINGER_USEC));
        ASSERT_STREQ(w.heard, "1;2;");
        linger_send(w.child, "3\n", linger_new(&peers[1]));
        tear_down(&w);
        ASSERT_TRUE(now(CLOCK_MONOTONIC) - begin < LINGER_USEC / 2);
        safe_close(peers[0]);
        safe_close(peers[1]);
}

TEST(a_child_that_does_not_read) {
        static char text[100000];
        int r = 0, fd;
        size_t n = 0, heard = 0;
        World w;

        set_up(&w);
        memset(text, '1', sizeof text);
        for (; n < 1000 && (r = node_channel_send(w.channel, text, sizeof text)) >= 0; n++)
                pump(&w);
        ASSERT_EQ(r, -ENOBUFS);
        ASSERT_TRUE(n >= 40 && n < 50);
        ASSERT_EQ(node_channel_get_counts(w.channel).n_refused, 1);
        send_handle(&w, 1); /* for this there still is room */

        /* When it reads again it gets all that was not refused, in order. */
        for (const char *s; pump(&w), *(s = hear(&w, &fd)); safe_close(fd))
                heard += strlen(s);
        ASSERT_EQ(heard, n * (sizeof text + 1) + STRLEN(HANDLE(1)));
        tear_down(&w);
}

TEST(handles_are_limited) {
        json_object *o = make_message(1);
        int r = 0, n = 0;
        World w;

        set_up(&w);
        for (; n < 1000 && (r = node_channel_send_handle(w.channel, o, "net.Native", w.child)) >= 0; n++)
                ;
        ASSERT_EQ(r, -ENOBUFS);
        ASSERT_EQ(n, 256);
        json_object_put(o);
        tear_down(&w);
}

/* Little is done in a turn of the loop, so that others get theirs. */
TEST(a_flood) {
        static char text[150000];
        unsigned n_runs = 0;
        World w;

        set_up(&w);
        for (size_t i = 0; i < sizeof text; i += 2)
                memcpy(text + i, "1\n", 2);
        ASSERT_EQ(send(w.child, text, sizeof text, MSG_DONTWAIT), (ssize_t) sizeof text);

        while (w.n_user < sizeof text / 2 && n_runs++ < 1000) {
                unsigned before = w.n_user;

                ASSERT_OK(sd_event_run(w.event, 0));
                ASSERT_TRUE(w.n_user - before <= 8192);
        }
        ASSERT_EQ(w.n_user, sizeof text / 2);
        tear_down(&w);
}

TEST(the_end) {
        World w;

        set_up(&w);
        ASSERT_TRUE(node_channel_is_open(w.channel));
        ASSERT_EQ(send(w.child, "1\n\"cut", 6, 0), 6);
        w.child = safe_close(w.child);
        pump(&w);
        ASSERT_STREQ(w.heard, "1;");
        ASSERT_EQ(w.n_closed, 1);
        ASSERT_TRUE(!node_channel_is_open(w.channel));
        ASSERT_EQ(node_channel_send(w.channel, "1", 1), -ENOTCONN);
        tear_down(&w);
        ASSERT_TRUE(!node_channel_is_open(NULL));
}

/* Its last words are read though nobody runs the loop any more. */
TEST(flush) {
        World w;

        set_up(&w);
        ASSERT_EQ(send(w.child, "1\n2\n", 4, 0), 4);
        w.child = safe_close(w.child);
        node_channel_flush(w.channel);
        ASSERT_STREQ(w.heard, "1;2;");
        tear_down(&w);
}
