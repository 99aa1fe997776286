/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "pmd/log-ring.h"
#include "pmd/log-sink-journal.h"
#include "shared/fd-util.h"
#include "shared/list.h"
#include "shared/log-json.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SEND_BUFFER_SIZE (8 * 1024 * 1024)

/* How often it is looked whether there is a journald again. */
#define CONNECT_RETRY_USEC (USEC_PER_SEC / 4)

/* What one stream may send before the next one that waits gets its turn. */
#define TURN_MAX 64u

static const char *socket_path = JOURNAL_SOCKET;

void log_journal_set_socket(const char *path) {
        socket_path = path ?: JOURNAL_SOCKET;
}

struct LogSinkJournal {
        LogJson fixed;       /* serialised fields of every line */
        size_t n_fixed;      /* without OBJECT_PID and PM_UNIT */
        int default_priority, priority; /* the latter of the line being written, for its further pieces */
        bool parse_json;
        bool serialized;     /* what waits are entries, not lines */
        char *app;

        LogRing ring;
        bool released, was_full;
        LIST_FIELDS(LogSinkJournal, waiting);
        bool is_waiting;
};

/* Entries that belong to no stream wait in one without fields. */
struct LogJournal {
        LogSinkJournal events;
        sd_event *event;
        void (*room)(void *userdata);
        void *userdata;
        int fd;              /* connected, or -EBADF */
        sd_event_source *source; /* it can be written to; enabled while it could not */
        sd_event_source *timer;  /* time to connect again */
        bool stalled;
        int error;           /* of the last try to connect, 0: it went well */
        LIST_HEAD(LogSinkJournal, waiting);
};

static void stall(LogJournal *j);

/* ---- the socket ---- */

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata);
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

static void enlarge_buffer(int fd) {
        const int size = SEND_BUFFER_SIZE;

        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
                (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int journal_connect(LogJournal *j) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (strlen(socket_path) >= sizeof sa.sun_path)
                return -ENAMETOOLONG;
        memcpy(sa.sun_path, socket_path, strlen(socket_path));

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        enlarge_buffer(fd);
        if (connect(fd, (struct sockaddr *) &sa, sizeof sa) < 0)
                return -errno;

        r = sd_event_add_io(j->event, &j->source, fd, EPOLLOUT, on_writable, j);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(j->source, SD_EVENT_OFF);
        j->fd = TAKE_FD(fd);
        return 0;
}

static void journal_disconnect(LogJournal *j) {
        j->source = sd_event_source_disable_unref(j->source);
        j->fd = safe_close(j->fd);
}

static bool ensure_connected(LogJournal *j) {
        int r;

        if (j->fd >= 0)
                return true;

        r = journal_connect(j);
        if (r < 0 && j->error != r)
                log_warning_errno(r, "Failed to connect to the journal, keeping some lines until it is there: %m");
        if (r >= 0 && j->error < 0)
                log_notice("The journal takes lines again.");
        j->error = MIN(r, 0);
        return r >= 0;
}

int log_journal_new(sd_event *event, void (*room)(void *userdata), void *userdata, LogJournal **ret) {
        LogJournal *j = new(LogJournal, 1);

        if (!j)
                return -ENOMEM;

        *j = (LogJournal) { .event = sd_event_ref(event), .room = room, .userdata = userdata, .fd = -EBADF, .events.serialized = true };
        *ret = j;
        return 0;
}

static void stop_waiting(LogJournal *j, LogSinkJournal *s) {
        if (s->is_waiting)
                LIST_REMOVE(waiting, j->waiting, s);
        s->is_waiting = false;
}

LogJournal *log_journal_free(LogJournal *j) {
        if (!j)
                return NULL;

        for (LogSinkJournal *s; (s = j->waiting);) {
                uint64_t n = log_ring_clear(&s->ring);

                if (n > 0)
                        log_warning("%" PRIu64 " lines of %s could not be sent to the journal.", n, s->app ?: "pmd");
                stop_waiting(j, s);
                if (s->released)
                        log_sink_journal_free(s);
        }
        journal_disconnect(j);
        sd_event_source_disable_unref(j->timer);
        sd_event_unref(j->event);
        return mfree(j);
}

/* ---- the fields of a stream ---- */

static int add_field(LogSinkJournal *s, const char *name, const char *value) {
        return log_json_add_field(&s->fixed, name, value, strlen(value));
}

static int add_number(LogSinkJournal *s, const char *name, uint64_t value) {
        char buf[24];

        (void) snprintf(buf, sizeof buf, "%" PRIu64, value);
        return add_field(s, name, buf);
}

int log_sink_journal_new(const LogStreamSpec *spec, LogSinkJournal **ret) {
        _cleanup_(log_sink_journal_freep) LogSinkJournal *s = new0(LogSinkJournal, 1);
        int r = 0;

        if (!s)
                return -ENOMEM;

        s->default_priority = spec->kind == LOG_STREAM_ERR ? LOG_ERR : LOG_INFO;
        if (spec->kind == LOG_STREAM_ERR && spec->stderr_priority > 0)
                s->default_priority = spec->stderr_priority;
        s->priority = s->default_priority;
        s->parse_json = spec->parse_json;
        s->app = strdup(spec->app);
        if (!s->app)
                return -ENOMEM;

        RET_GATHER(r, add_field(s, "SYSLOG_IDENTIFIER", spec->app));
        RET_GATHER(r, add_field(s, "PM_APP", spec->app));
        RET_GATHER(r, add_number(s, "PM_ID", spec->id));
        RET_GATHER(r, add_number(s, "PM_INSTANCE", spec->instance));
        RET_GATHER(r, add_field(s, "PM_NAMESPACE", strempty(spec->name_space)));
        RET_GATHER(r, add_field(s, "PM_STREAM", log_stream_kind_to_string(spec->kind)));
        s->n_fixed = s->fixed.n_fields;
        RET_GATHER(r, log_sink_journal_set_pid(s, spec->pid, spec->unit));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

LogSinkJournal *log_sink_journal_free(LogSinkJournal *s) {
        if (!s)
                return NULL;

        assert(!s->is_waiting);
        (void) log_ring_clear(&s->ring);
        log_json_done(&s->fixed);
        free(s->app);
        return mfree(s);
}

int log_sink_journal_set_pid(LogSinkJournal *s, pid_t pid, const char *unit) {
        int r = 0;

        s->fixed.n_fields = s->n_fixed;
        if (pid > 0 && geteuid() == 0)
                RET_GATHER(r, add_number(s, "OBJECT_PID", (uint64_t) pid));
        if (unit)
                RET_GATHER(r, add_field(s, "PM_UNIT", unit));
        if (r < 0)
                s->fixed.n_fields = s->n_fixed;
        return r;
}

/* ---- sending ---- */

/* An entry that is too large for a datagram goes as a file that can no longer be changed. */
static int make_file(const struct iovec *iov, size_t n_iov) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_create("pmd-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < n_iov; i++) {
                r = write_all(fd, iov[i].iov_base, iov[i].iov_len);
                if (r < 0)
                        return r;
        }
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int send_as_file(int socket_fd, const struct iovec *iov, size_t n_iov) {
        union {
                struct cmsghdr header;
                char buf[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr mh = { .msg_control = &control, .msg_controllen = sizeof control };
        _cleanup_close_ int fd = -EBADF;

        fd = make_file(iov, n_iov);
        if (fd < 0)
                return fd;

        control.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        return sendmsg(socket_fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_once(LogJournal *j, const struct iovec *iov, size_t n_iov) {
        struct msghdr mh = { .msg_iov = (struct iovec *) iov, .msg_iovlen = n_iov };
        int r;

        if (!ensure_connected(j))
                return -EAGAIN;

        do
                r = sendmsg(j->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
        while (r == -EINTR);
        if (IN_SET(r, -EMSGSIZE, -ENOBUFS))
                r = send_as_file(j->fd, iov, n_iov);
        return r;
}

/* 0, or -EAGAIN if it is to be tried again when there is room. */
static int send_entry(LogJournal *j, const struct iovec *iov, size_t n_iov) {
        int r;

        r = send_once(j, iov, n_iov);
        if (IN_SET(r, -ECONNREFUSED, -ECONNRESET, -ENOTCONN, -EPIPE)) { /* journald was restarted */
                journal_disconnect(j);
                r = send_once(j, iov, n_iov);
        }
        if (r >= 0)
                return 0;
        if (r != -EAGAIN) {
                if (j->error != r)
                        log_warning_errno(r, "Failed to send lines to the journal, keeping some: %m");
                j->error = r;
                journal_disconnect(j);
        }
        stall(j);
        return -EAGAIN;
}

static void stall(LogJournal *j) {
        int r = 0;

        j->stalled = true;
        if (j->fd >= 0)
                r = sd_event_source_set_enabled(j->source, SD_EVENT_ON);
        else if (j->timer) {
                (void) sd_event_source_set_time_relative(j->timer, CONNECT_RETRY_USEC);
                r = sd_event_source_set_enabled(j->timer, SD_EVENT_ONESHOT);
        } else
                r = sd_event_add_time_relative(j->event, &j->timer, CLOCK_MONOTONIC, CONNECT_RETRY_USEC, 0, on_retry, j);
        if (r < 0)
                log_error_errno(r, "Failed to wait for the journal: %m");
}

static struct iovec iovec_of(const char *s) {
        return (struct iovec) { (char *) s, strlen(s) };
}

/* False: it is to be tried again when there is room. */
static bool send_line(LogJournal *j, LogSinkJournal *s, LogLine *line) {
        _cleanup_(log_json_done) LogJson json = { .priority = -1 };
        struct iovec iov[6];
        char priority[] = "\nPRIORITY=0\n";
        int given = log_line_take_priority(line);
        size_t n = 0;

        if (given >= 0)
                s->priority = given;
        else if (!line->continued)
                s->priority = s->default_priority;

        if (s->parse_json && line->end == LOG_LINE_END_NEWLINE && !line->continued)
                (void) log_json_parse(line->data, line->size, &json);

        priority[STRLEN("\nPRIORITY=")] = (char) ('0' + (json.priority >= 0 ? json.priority : s->priority));
        iov[n++] = iovec_of("MESSAGE=");
        iov[n++] = json.message ? (struct iovec) { json.message, json.n_message } : (struct iovec) { (char *) line->data, line->size };
        iov[n++] = iovec_of(priority);
        if (line->end == LOG_LINE_END_SPLIT)
                iov[n++] = iovec_of("PM_LINE_BREAK=line-max\n");
        else if (line->end == LOG_LINE_END_EOF)
                iov[n++] = iovec_of("PM_LINE_BREAK=eof\n");
        iov[n++] = (struct iovec) { s->fixed.fields, s->fixed.n_fields };
        if (json.n_fields > 0)
                iov[n++] = (struct iovec) { json.fields, json.n_fields };

        return send_entry(j, iov, n) >= 0;
}

static bool send_gap(LogJournal *j, LogSinkJournal *s) {
        uint64_t n = log_ring_get_gap(&s->ring);
        char text[256];
        int k;

        if (n == 0)
                return true;

        k = snprintf(text, sizeof text, "MESSAGE=[pmd] %" PRIu64 " lines were dropped here\nPRIORITY=%d\nPM_DROPPED=%" PRIu64 "\n", n, LOG_WARNING, n);
        if (send_entry(j, (struct iovec[]) { { text, (size_t) k }, { s->fixed.fields, s->fixed.n_fields } }, 2) < 0)
                return false;
        log_ring_close_gap(&s->ring);
        return true;
}

/* One entry, or one of the lines, of what waits. False if the journal takes no more. */
static bool send_first(LogJournal *j, LogSinkJournal *s) {
        LogRecord *x = s->ring.first;
        size_t offset = x->n_done;
        LogLine line;

        if (s->serialized) {
                if (send_entry(j, &(struct iovec) { x->data, x->size }, 1) < 0)
                        return false;
                log_ring_pop(&s->ring);
                return true;
        }

        if (log_block_next(&(LogBlock) { x->data, x->size, x->end, x->continued }, &offset, &line)) {
                if (!send_line(j, s, &line))
                        return false;
                x->n_done = offset;
                x->n_lines -= MIN(x->n_lines, UINT64_C(1));
        }
        if (x->n_done == x->size)
                log_ring_pop(&s->ring);
        return true;
}

/* One turn of a stream. */
static bool send_waiting(LogJournal *j, LogSinkJournal *s) {
        for (unsigned i = 0; i < TURN_MAX && !log_ring_is_empty(&s->ring); i++) {
                if (!send_gap(j, s) || (s->ring.first && !send_first(j, s)))
                        return false;
                s->ring.progress = now(CLOCK_MONOTONIC);
        }
        return true;
}

static void flush(LogJournal *j) {
        bool room = false;

        j->stalled = false;
        while (j->waiting && !j->stalled) {
                LogSinkJournal *s = j->waiting;
                bool taken = send_waiting(j, s);

                room = room || (s->was_full && s->ring.size <= LOG_RING_FULL);
                stop_waiting(j, s);
                if (!log_ring_is_empty(&s->ring)) {
                        if (taken)
                                LIST_APPEND(waiting, j->waiting, s);
                        else
                                LIST_PREPEND(waiting, j->waiting, s);
                        s->is_waiting = true;
                } else if (s->released)
                        log_sink_journal_free(s);
        }
        if (!j->stalled && j->source)
                (void) sd_event_source_set_enabled(j->source, SD_EVENT_OFF);
        if (room)
                j->room(j->userdata);
}

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogJournal *j = ASSERT_PTR(userdata);

        if (revents & (EPOLLERR | EPOLLHUP))
                journal_disconnect(j);
        flush(j);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        flush(ASSERT_PTR(userdata));
        return 0;
}

static LogRecord *keep(LogSinkJournal *s, LogJournal *j, const LogWriter *w, const char *data, size_t n, uint64_t n_lines, bool joins) {
        if (!s->is_waiting) {
                s->ring.progress = now(CLOCK_MONOTONIC);
                LIST_APPEND(waiting, j->waiting, s);
                s->is_waiting = true;
        }
        log_counter_set_error(w->dropped, &s->ring, j->error);
        return log_ring_push(&s->ring, &(struct iovec) { (char *) data, n }, 1, 0, n_lines, w->dropped, w->may_drop, joins);
}

static void keep_block(LogSinkJournal *s, LogJournal *j, const LogWriter *w, const LogBlock *block) {
        bool joins = !block->continued && (!s->ring.last || s->ring.last->end == LOG_LINE_END_NEWLINE);
        LogRecord *x = keep(s, j, w, block->data, block->size, log_block_count_lines(block), joins);

        if (!x)
                return;
        x->end = block->end;
        if (x->size == block->size) /* it was not joined */
                x->continued = block->continued;
}

void log_sink_journal_write(LogSinkJournal *s, LogJournal *j, const LogWriter *w, const LogBlock *block) {
        size_t offset = 0, sent = 0;

        if (log_ring_is_empty(&s->ring) && !j->stalled)
                for (LogLine line; log_block_next(block, &offset, &line) && send_line(j, s, &line);)
                        sent = offset;
        if (sent < block->size)
                keep_block(s, j, w, &(LogBlock) { block->data + sent, block->size - sent, block->end, block->continued && sent == 0 });
}

bool log_sink_journal_is_full(LogSinkJournal *s, bool may_drop) {
        s->was_full = log_ring_is_full(&s->ring, may_drop, now(CLOCK_MONOTONIC));
        return s->was_full;
}

void log_journal_send_event(LogJournal *j, const char *fields, size_t n) {
        const LogWriter w = { .may_drop = true };
        const struct iovec iov = { (char *) fields, n };

        if (!log_ring_is_empty(&j->events.ring) || j->stalled || send_entry(j, &iov, 1) < 0)
                (void) keep(&j->events, j, &w, fields, n, 1, false);
}

LogSinkJournal *log_journal_release(LogJournal *j, LogSinkJournal *s) {
        if (!s)
                return NULL;
        if (!s->is_waiting)
                return log_sink_journal_free(s);
        s->released = true;
        return NULL;
}
