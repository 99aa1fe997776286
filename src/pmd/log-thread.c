/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <json-c/linkhash.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/log-thread.h"
#include "shared/fd-util.h"
#include "shared/log.h"

/* More than every app of a large machine restarting at once needs, little enough to hold while a disk hangs. */
#define COMMANDS_MAX ((size_t) 64 * 1024)

/* How long the end of pmd waits for lines that cannot be written. */
#define STOP_TIMEOUT_MSEC 5000

struct LogThread {
        pthread_t thread;
        int command_fd, closed_fd; /* eventfds: there is something in the queue */
        int ended_fd;              /* eventfd: the thread has nothing more to do */

        pthread_mutex_t mutex;     /* held for a few instructions only; for what follows up to closed_tail */
        LogCommand *commands, **commands_tail;
        size_t n_commands;
        LogStream *closed, **closed_tail;

        LogThreadContext context;  /* from here on for the log thread alone */
        struct lh_table *streams;  /* id → LogStream */
};

static unsigned long id_hash(const void *k) {
        uint64_t id = *(const uint64_t *) k;

        return (unsigned long) (id * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static int id_equal(const void *a, const void *b) {
        return *(const uint64_t *) a == *(const uint64_t *) b;
}

struct lh_table *log_id_table_new(void) {
        return lh_table_new(16, NULL, id_hash, id_equal);
}

LogCommand *log_command_free(LogCommand *c) {
        if (!c)
                return NULL;

        log_stream_free(c->stream);
        free(c->unit);
        free(c->data);
        return mfree(c);
}

static void wake(int event_fd) {
        const uint64_t one = 1;

        /* It cannot fail: the counter is far from full, and the other side reads it before it looks into the queue. */
        (void) !write(event_fd, &one, sizeof one);
}

static void wake_taken(int event_fd) {
        uint64_t n;

        (void) !read(event_fd, &n, sizeof n);
}

/* ---- main thread ---- */

int log_thread_send(LogThread *t, LogCommand *c) {
        _cleanup_(log_command_freep) LogCommand *owned = c;
        bool full, first;

        (void) pthread_mutex_lock(&t->mutex);
        full = t->n_commands >= COMMANDS_MAX;
        first = !t->commands;
        if (!full) {
                *t->commands_tail = TAKE_PTR(owned);
                t->commands_tail = &c->next;
                t->n_commands++;
        }
        (void) pthread_mutex_unlock(&t->mutex);

        if (full)
                return -ENOBUFS;
        if (first)
                wake(t->command_fd);
        return 0;
}

int log_thread_get_fd(LogThread *t) {
        return t->closed_fd;
}

LogStream *log_thread_take_closed(LogThread *t) {
        LogStream *closed;

        wake_taken(t->closed_fd);

        (void) pthread_mutex_lock(&t->mutex);
        closed = TAKE_PTR(t->closed);
        t->closed_tail = &t->closed;
        (void) pthread_mutex_unlock(&t->mutex);
        return closed;
}

/* ---- log thread ---- */

static void on_stream_closed(LogStream *s, void *userdata) {
        LogThread *t = ASSERT_PTR(userdata);
        bool first;

        (void) lh_table_delete(t->streams, &s->id);

        (void) pthread_mutex_lock(&t->mutex);
        first = !t->closed;
        *t->closed_tail = s;
        t->closed_tail = &s->next;
        (void) pthread_mutex_unlock(&t->mutex);

        if (first)
                wake(t->closed_fd);
}

static LogStream *get_stream(LogThread *t, uint64_t id) {
        void *s;

        return lh_table_lookup_ex(t->streams, &id, &s) ? s : NULL;
}

void log_command_add(LogThread *t, LogCommand *c) {
        LogStream *s = TAKE_PTR(c->stream);

        /* A stream that is not in the table still ends by itself; only commands will not find it. */
        if (lh_table_insert(t->streams, &s->id, s) < 0)
                (void) log_oom();
        log_stream_attach(s, &t->context);
}

void log_command_set_pid(LogThread *t, LogCommand *c) {
        LogStream *s = get_stream(t, c->id);
        int r;

        if (!s || !s->journal)
                return;

        r = log_sink_journal_set_pid(s->journal, c->pid, c->unit);
        if (r < 0)
                log_warning_errno(r, "Failed to note a process for the journal, ignoring: %m");
}

void log_command_give_up(LogThread *t, LogCommand *c) {
        LogStream *s = get_stream(t, c->id);

        if (s)
                log_stream_give_up(s);
}

void log_command_reopen(LogThread *t, LogCommand *c) {
        log_file_set_reopen(t->context.files);
}

void log_command_flush(LogThread *t, LogCommand *c) {
        log_file_set_flush(t->context.files, &(LogFileSpec) { .path = c->data, .uid = c->uid, .gid = c->gid });
}

void log_command_event(LogThread *t, LogCommand *c) {
        log_journal_send_event(t->context.journal, c->data, c->n_data);
}

void log_command_mark(LogThread *t, LogCommand *c) {
        on_stream_closed(TAKE_PTR(c->stream), t);
}

static void command_stop(LogThread *t, LogCommand *c) {
        (void) sd_event_exit(t->context.event, 0);
}

static int on_commands(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogThread *t = ASSERT_PTR(userdata);
        LogCommand *c;

        wake_taken(fd);

        (void) pthread_mutex_lock(&t->mutex);
        c = TAKE_PTR(t->commands);
        t->commands_tail = &t->commands;
        t->n_commands = 0;
        (void) pthread_mutex_unlock(&t->mutex);

        for (LogCommand *next; c; c = next) {
                next = c->next;
                c->run(t, c);
                log_command_free(c);
        }
        return 0;
}

static void give_up_all(LogThread *t) {
        struct lh_entry *e, *next;

        lh_foreach_safe(t->streams, e, next)
                log_stream_give_up((LogStream *) lh_entry_v(e));
}

static void *thread_main(void *arg) {
        LogThread *t = ASSERT_PTR(arg);
        int r;

        (void) pthread_setname_np(pthread_self(), "pmd-log");

        /* Files are opened with an app's uid and gid; groups of ours must not help. libc's setgroups() would drop them
         * for all threads. */
        if (geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) < 0)
                log_debug_errno(errno, "Failed to drop the groups of the log thread, ignoring: %m");

        r = sd_event_loop(t->context.event);
        if (r < 0)
                log_error_errno(r, "The log thread failed: %m");

        give_up_all(t);
        wake(t->ended_fd);
        return NULL;
}

/* ---- making and ending, on the main thread ---- */

static LogThread *log_thread_free(LogThread *t) {
        if (!t)
                return NULL;

        for (LogStream *s = t->closed, *next; s; s = next) {
                next = s->next;
                log_stream_free(s);
        }
        for (LogCommand *c = t->commands, *next; c; c = next) {
                next = c->next;
                log_command_free(c);
        }

        if (t->streams)
                lh_table_free(t->streams);
        log_file_set_free(t->context.files);
        log_journal_free(t->context.journal);
        log_tap_unref(t->context.tap);
        sd_event_unref(t->context.event);
        safe_close_pair(t->context.copy_fds);
        safe_close(t->context.null_fd);
        free(t->context.buffer);
        free(t->context.text.data);
        safe_close(t->command_fd);
        safe_close(t->closed_fd);
        safe_close(t->ended_fd);
        (void) pthread_mutex_destroy(&t->mutex);
        return mfree(t);
}

static void on_room(void *userdata) {
        log_stream_resume_all(ASSERT_PTR(userdata));
}

/* Without them it reads what then is only in its memory. */
static void open_copy_fds(LogThreadContext *c) {
        if (pipe2(c->copy_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
                log_debug_errno(errno, "Failed to make a pipe for copies of lines, ignoring: %m");
                return;
        }
        (void) fcntl(c->copy_fds[0], F_SETPIPE_SZ, (int) LOG_READ_SIZE);
        c->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int thread_allocate(LogThread *t) {
        _cleanup_(sd_event_source_unrefp) sd_event_source *source = NULL;
        int r;

        t->context.closed = on_stream_closed;
        t->context.userdata = t;

        t->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->command_fd < 0)
                return -errno;
        t->closed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->closed_fd < 0)
                return -errno;

        t->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->ended_fd < 0)
                return -errno;

        open_copy_fds(&t->context);
        t->context.buffer = new(char, LOG_READ_SIZE);
        t->streams = log_id_table_new();
        if (!t->context.buffer || !t->streams)
                return -ENOMEM;

        /* The loop is made here, where an error can be returned, and from the thread's start on used by the thread
         * alone. */
        r = sd_event_new(&t->context.event);
        if (r < 0)
                return r;
        r = log_file_set_new(t->context.event, on_room, &t->context, &t->context.files);
        if (r < 0)
                return r;
        r = log_journal_new(t->context.event, on_room, &t->context, &t->context.journal);
        if (r < 0)
                return r;
        r = sd_event_add_io(t->context.event, &source, t->command_fd, EPOLLIN, on_commands, t);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;
        return sd_event_source_set_floating(source, true);
}

static int thread_start(LogThread *t) {
        sigset_t all, saved;
        int r;

        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_BLOCK, &all, &saved);
        r = -pthread_create(&t->thread, NULL, thread_main, t);
        (void) pthread_sigmask(SIG_SETMASK, &saved, NULL);
        return r;
}

int log_thread_new(LogTap *tap, LogThread **ret) {
        LogThread *t;
        int r;

        t = new(LogThread, 1);
        if (!t)
                return -ENOMEM;

        *t = (LogThread) {
                .command_fd = -EBADF,
                .closed_fd = -EBADF,
                .ended_fd = -EBADF,
                .mutex = PTHREAD_MUTEX_INITIALIZER,
                .context.tap = log_tap_ref(tap),
                .context.copy_fds = EBADF_PAIR,
                .context.null_fd = -EBADF,
        };
        t->commands_tail = &t->commands;
        t->closed_tail = &t->closed;

        r = thread_allocate(t);
        if (r >= 0)
                r = thread_start(t);
        if (r < 0) {
                log_thread_free(t);
                return r;
        }

        *ret = t;
        return 0;
}

static int thread_join(LogThread *t) {
        struct pollfd p = { .fd = t->ended_fd, .events = POLLIN };
        int r;

        do
                r = poll(&p, 1, STOP_TIMEOUT_MSEC);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        if (r == 0)
                return -ETIMEDOUT;

        return -pthread_join(t->thread, NULL);
}

static int send_stop(LogThread *t) {
        LogCommand *c = new(LogCommand, 1);

        if (!c)
                return -ENOMEM;

        *c = (LogCommand) { .run = command_stop };
        return log_thread_send(t, c);
}

LogThread *log_thread_stop(LogThread *t) {
        int r;

        if (!t)
                return NULL;

        r = send_stop(t);
        if (r >= 0)
                r = thread_join(t);
        if (r < 0) {
                log_warning_errno(r, "The log thread does not end, leaving it and its lines behind: %m");
                (void) pthread_detach(t->thread);
                return NULL;
        }

        return log_thread_free(t);
}
