/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pmd/node-channel.h"

#include "pmd/fd-closer.h"

#include "shared/fd-util.h"
#include "shared/ipc-frame.h"
#include "shared/json-util.h"
#include "shared/list.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define MESSAGE_SIZE_MAX (16U << 20)
#define READ_SIZE (16U * 1024) /* in a turn of the loop */
#define FLUSH_SIZE_MAX (1U << 20) /* more than a socket holds */
#define QUEUE_SIZE_MAX (4U << 20)
#define QUEUE_RESERVE (256U * 1024) /* for messages of Node itself, so that those of the program cannot keep them out */
#define QUEUED_FDS_MAX 256U
#define NESTING_MAX 1000
#define RETRANSMISSIONS_MAX 3U
#define HANDLE_ACK "{\"cmd\":\"NODE_HANDLE_ACK\"}"

typedef struct Outgoing Outgoing;
struct Outgoing {
        LIST_FIELDS(Outgoing, queue);
        int fd;           /* our own copy; -EBADF: none */
        unsigned n_tries;
        size_t size, n_sent;
        char text[];      /* with its newline */
};

struct NodeChannel {
        int fd;           /* -EBADF: closed */
        sd_event_source *source;
        const NodeChannelHandler *handler;
        void *userdata;
        FdCloser *closer; /* of what came with messages; no more are read before that is done */

        IpcFrameReader reader;

        LIST_HEAD(Outgoing, queue);
        Outgoing *last;   /* of the queue */
        size_t queue_size, n_queued_fds;
        bool awaits_ack;  /* the first of the queue is sent, its handle not acknowledged */

        NodeChannelCounts counts;
};

int node_channel_make_pair(int ret[static 2]) {
        int fds[2], r;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        r = fd_nonblock(fds[0], true);
        if (r < 0) {
                safe_close_pair(fds);
                return r;
        }
        ret[0] = fds[0];
        ret[1] = fds[1];
        return 0;
}

/* ---- the queue ---- */

static void drop_first(NodeChannel *c) {
        Outgoing *o = c->queue;

        if (c->last == o)
                c->last = NULL;
        LIST_REMOVE(queue, c->queue, o);
        c->queue_size -= o->size;
        c->n_queued_fds -= o->fd >= 0;
        safe_close(o->fd);
        free(o);
}

static void append(NodeChannel *c, Outgoing *o) {
        if (c->last) {
                c->last->queue_next = o;
                o->queue_prev = c->last;
        } else
                c->queue = o;
        c->last = o;
        c->queue_size += o->size;
        c->n_queued_fds += o->fd >= 0;
}

/* The descriptor goes with the first byte. A message of up to 32 KiB is taken wholly or not at all, so that a pmd that is killed leaves
 * no half of it. */
static ssize_t send_some(int fd, Outgoing *o) {
        struct iovec iovec = { o->text + o->n_sent, o->size - o->n_sent };
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1 };
        ssize_t n;

        if (o->fd >= 0 && o->n_sent == 0) {
                struct cmsghdr *h = &control.header;

                m.msg_control = &control;
                m.msg_controllen = sizeof(control);
                h->cmsg_level = SOL_SOCKET;
                h->cmsg_type = SCM_RIGHTS;
                h->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(h), &o->fd, sizeof(int));
        }

        n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n < 0 ? -errno : n;
}

static int write_queue(NodeChannel *c) {
        while (c->queue && !c->awaits_ack) {
                Outgoing *o = c->queue;
                ssize_t n;

                n = send_some(c->fd, o);
                if (n < 0)
                        return (int) n;
                o->n_sent += (size_t) n;
                if (o->n_sent < o->size)
                        continue;
                if (o->fd >= 0)
                        c->awaits_ack = true;
                else
                        drop_first(c);
        }
        return 0;
}

static void flush_queue(NodeChannel *c) {
        bool wait;
        int r;

        if (c->fd < 0)
                return;
        r = write_queue(c);
        wait = IN_SET(r, -EAGAIN, -EINTR, -ENOBUFS, -ETOOMANYREFS);
        if (r < 0 && !wait)
                log_debug_errno(r, "Failed to write to a channel, waiting for its end: %m");
        (void) sd_event_source_set_io_events(c->source, wait ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int enqueue(NodeChannel *c, const char *json, size_t n, int fd, size_t limit) {
        Outgoing *o;

        if (c->fd < 0)
                return -ENOTCONN;
        if (n >= limit || c->queue_size > limit - n - 1 || (fd >= 0 && c->n_queued_fds >= QUEUED_FDS_MAX)) {
                c->counts.n_refused++;
                return -ENOBUFS;
        }

        o = malloc(sizeof(Outgoing) + n + 1);
        if (!o)
                return -ENOMEM;
        *o = (Outgoing) { .fd = -EBADF, .size = n + 1 };
        memcpy(o->text, json, n);
        o->text[n] = '\n';
        if (fd >= 0) {
                o->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                if (o->fd < 0) {
                        free(o);
                        return -errno;
                }
        }

        append(c, o);
        flush_queue(c);
        return 0;
}

int node_channel_send(NodeChannel *c, const char *json, size_t n) {
        return enqueue(c, json, n, -EBADF, QUEUE_SIZE_MAX);
}

static int enqueue_object(NodeChannel *c, json_object *o, int fd) {
        size_t n;
        const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

        return text ? enqueue(c, text, n, fd, QUEUE_SIZE_MAX + QUEUE_RESERVE) : -ENOMEM;
}

int node_channel_send_internal(NodeChannel *c, json_object *message) {
        return enqueue_object(c, message, -EBADF);
}

int node_channel_send_handle(NodeChannel *c, json_object *message, const char *type, int fd) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();

        if (!o ||
            json_object_object_add(o, "cmd", json_object_new_string("NODE_HANDLE")) < 0 ||
            json_object_object_add(o, "type", json_object_new_string(type)) < 0 ||
            json_object_object_add(o, "msg", json_object_get(message)) < 0)
                return -ENOMEM;
        return enqueue_object(c, o, fd);
}

/* An answer to what the dead pmd sent finds nothing that waits. */
static void on_handle_ack(NodeChannel *c) {
        if (!TAKE_GENERIC(c->awaits_ack, false))
                return;
        drop_first(c);
        flush_queue(c);
}

static void on_handle_nack(NodeChannel *c) {
        if (!TAKE_GENERIC(c->awaits_ack, false))
                return;
        if (c->queue->n_tries++ < RETRANSMISSIONS_MAX)
                c->queue->n_sent = 0;
        else {
                c->counts.n_lost++;
                drop_first(c);
        }
        flush_queue(c);
}

/* ---- messages that came ---- */

/* The NUL behind the text ends numbers; one within it does not count as the end. */
static int parse(const char *text, size_t n, json_object **ret) {
        _cleanup_(json_tokener_freep) json_tokener *t = json_tokener_new_ex(NESTING_MAX);
        json_object *o;

        if (!t)
                return -ENOMEM;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(t, text, (int) n + 1);
        if (json_tokener_get_error(t) != json_tokener_success || json_tokener_get_parse_end(t) < n) {
                json_object_put(o);
                return -EBADMSG;
        }
        *ret = o;
        return 0;
}

/* What a program sent along with a handle. The handle is of no use here, but unless it is acknowledged nothing more comes. */
static void on_handle(NodeChannel *c, json_object *message) {
        json_object *inner = NULL;
        const char *text;
        size_t n;

        (void) enqueue(c, HANDLE_ACK, STRLEN(HANDLE_ACK), -EBADF, QUEUE_SIZE_MAX + QUEUE_RESERVE);
        (void) json_object_object_get_ex(message, "msg", &inner);
        text = json_object_to_json_string_length(inner, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
        if (text)
                c->handler->user(inner, text, n, c->userdata);
}

static void dispatch(NodeChannel *c, json_object *message, const char *text, size_t n) {
        const char *cmd = json_object_is_type(message, json_type_object) ? json_get_string(message, "cmd") : NULL;

        if (!cmd || !startswith(cmd, "NODE_"))
                c->handler->user(message, text, n, c->userdata);
        else if (streq(cmd, "NODE_HANDLE_ACK"))
                on_handle_ack(c);
        else if (streq(cmd, "NODE_HANDLE_NACK"))
                on_handle_nack(c);
        else if (streq(cmd, "NODE_HANDLE"))
                on_handle(c, message);
        else if (streq(cmd, "NODE_CLUSTER"))
                c->handler->internal(message, json_get_string(message, "act"), c->userdata);
}

static void handle_frame(NodeChannel *c, const char *text, size_t n) {
        _cleanup_(json_object_putp) json_object *message = NULL;

        if (parse(text, n, &message) < 0) {
                c->counts.n_invalid++;
                return;
        }
        c->counts.n_received++;
        dispatch(c, message, text, n);
}

static void handle_data(NodeChannel *c, char *data, size_t n) {
        const char *frame;
        size_t size;
        int r;

        while ((r = ipc_frame_next(&c->reader, &data, &n, &frame, &size)) != 0)
                if (r > 0)
                        handle_frame(c, frame, size);
        c->counts.n_too_large = c->reader.n_skipped;
}

static void on_closed(void *userdata) {
        NodeChannel *c = ASSERT_PTR(userdata);

        c->closer = fd_closer_free(c->closer);
        if (c->source)
                (void) sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

/* A channel may be read on to its end while the loop is not to read from it: then those before are closed still, of which nobody needs to hear. */
static void close_fds(NodeChannel *c, const int *fds, size_t n) {
        fd_closer_free(c->closer);
        fd_closer_new(sd_event_source_get_event(c->source), fds, n, on_closed, c, &c->closer);
        if (c->closer)
                (void) sd_event_source_set_enabled(c->source, SD_EVENT_OFF);
}

/* How much there is to read, which stays in the socket, up to a message with descriptors; 0: the end. */
static ssize_t peek_some(const NodeChannel *c, char buffer[static READ_SIZE]) {
        ssize_t n = recv(c->fd, buffer, READ_SIZE, MSG_DONTWAIT | MSG_PEEK);

        if (n < 0)
                return errno == ECONNRESET ? 0 : -errno;
        return n;
}

/* Descriptors that came along are of no use here. */
static void discard(NodeChannel *c, char buffer[static READ_SIZE], size_t n) {
        while (n > 0) {
                union {
                        struct cmsghdr header;
                        char bytes[CMSG_SPACE(sizeof(int) * FD_CLOSER_FDS_MAX)];
                } control;
                struct iovec iovec = { buffer, n };
                struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
                int fds[FD_CLOSER_FDS_MAX];
                ssize_t k = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                size_t n_fds;

                if (k <= 0)
                        return;
                n_fds = fd_closer_take_rights(&m, fds);
                if (n_fds > 0)
                        close_fds(c, fds, n_fds);
                n -= (size_t) k;
        }
}

/* What is read leaves the socket when it has been handled: a worker whose request was lost with a pmd that is killed would wait for ever,
 * while it does not mind a second answer. */
static ssize_t handle_some(NodeChannel *c) {
        char buffer[READ_SIZE];
        int fd = c->fd;
        ssize_t n;

        n = peek_some(c, buffer);
        if (n <= 0)
                return n;
        handle_data(c, buffer, (size_t) n);
        if (c->fd == fd)
                discard(c, buffer, (size_t) n);
        return n;
}

static void close_channel(NodeChannel *c) {
        c->source = sd_event_source_disable_unref(c->source);
        c->fd = fd_closer_close_socket(c->fd);
        while (c->queue)
                drop_first(c);
        ipc_frame_reader_done(&c->reader);
        c->handler->closed(c->userdata);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        NodeChannel *c = ASSERT_PTR(userdata);
        ssize_t n;

        if (revents & EPOLLOUT)
                flush_queue(c);

        n = handle_some(c);
        if (n == 0)
                close_channel(c);
        else if (n < 0 && !IN_SET(n, -EAGAIN, -EINTR)) {
                log_debug_errno((int) n, "Failed to read from a channel, closing it: %m");
                close_channel(c);
        }
        return 0;
}

void node_channel_flush(NodeChannel *c) {
        ssize_t n;

        for (size_t total = 0; c->fd >= 0 && total < FLUSH_SIZE_MAX; total += (size_t) n) {
                n = handle_some(c);
                if (n <= 0)
                        return;
        }
}

/* ---- */

int node_channel_new(sd_event *event, int fd, const NodeChannelHandler *handler, void *userdata, NodeChannel **ret) {
        _cleanup_(node_channel_freep) NodeChannel *c = new0(NodeChannel, 1);
        int r;

        if (!c) {
                safe_close(fd);
                return -ENOMEM;
        }
        c->fd = fd;
        c->handler = handler;
        c->userdata = userdata;
        ipc_frame_reader_init(&c->reader, MESSAGE_SIZE_MAX);

        r = fd_nonblock(fd, true);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &c->source, fd, EPOLLIN, on_io, c);
        if (r < 0)
                return r;
        /* Behind everything else that is waiting: whoever floods makes nobody wait but itself. */
        r = sd_event_source_set_priority(c->source, SD_EVENT_PRIORITY_NORMAL + 10);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}

NodeChannel *node_channel_free(NodeChannel *c) {
        if (!c)
                return NULL;

        sd_event_source_disable_unref(c->source);
        fd_closer_free(c->closer);
        fd_closer_close_socket(c->fd);
        while (c->queue)
                drop_first(c);
        ipc_frame_reader_done(&c->reader);
        return mfree(c);
}

bool node_channel_is_open(const NodeChannel *c) {
        return c && c->fd >= 0;
}

NodeChannelCounts node_channel_get_counts(const NodeChannel *c) {
        return c->counts;
}
