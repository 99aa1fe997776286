/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pmd/log-ring.h"
#include "pmd/log-stream.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-table.h"
#include "shared/string-util.h"

static const char *const log_stream_kind_table[_LOG_STREAM_KIND_MAX] = {
        [LOG_STREAM_OUT] = "out",
        [LOG_STREAM_ERR] = "err",
};

DEFINE_STRING_TABLE(LogStreamKind, log_stream_kind);

static const char *const log_overflow_table[_LOG_OVERFLOW_MAX] = {
        [LOG_OVERFLOW_AUTO] = "auto",
        [LOG_OVERFLOW_BLOCK] = "block",
        [LOG_OVERFLOW_DROP] = "drop",
};

DEFINE_STRING_TABLE(LogOverflow, log_overflow);

static int copy_spec(LogStream *s, const LogStreamSpec *spec) {
        int r;

        r = free_and_strdup(&s->path, spec->path);
        if (r < 0)
                return r;
        if (!streq_ptr(spec->path, spec->combined_path)) {
                r = free_and_strdup(&s->combined_path, spec->combined_path);
                if (r < 0)
                        return r;
        }
        if (spec->rotation) {
                r = log_rotation_copy(&s->rotation, spec->rotation);
                if (r < 0)
                        return r;
                s->rotates = true;
        }
        if (spec->journal) {
                r = log_sink_journal_new(spec, &s->journal);
                if (r < 0)
                        return r;
        }

        log_counter_forget_error(spec->dropped);
        s->file_writer = (LogWriter) { s, log_counter_ref(spec->dropped), spec->overflow == LOG_OVERFLOW_DROP };
        s->journal_writer = (LogWriter) { s, s->file_writer.dropped, spec->overflow != LOG_OVERFLOW_BLOCK };
        return log_format_init(&s->format, spec->date_format, spec->json, log_stream_kind_to_string(spec->kind), spec->id, spec->app);
}

int log_stream_new(uint64_t id, int fd, const LogStreamSpec *spec, LogStream **ret) {
        _cleanup_(log_stream_freep) LogStream *s = NULL;
        _cleanup_close_ int owned_fd = fd;
        int r;

        s = new(LogStream, 1);
        if (!s)
                return -ENOMEM;

        *s = (LogStream) {
                .id = id,
                .fd = TAKE_FD(owned_fd),
                .kind = spec->kind,
                .process_id = spec->id,
                .own_path = spec->own_path,
                .own_combined_path = spec->own_combined_path,
                .uid = spec->uid,
                .gid = spec->gid,
        };
        log_splitter_init(&s->splitter, LOG_LINE_MAX);

        r = fd_nonblock(s->fd, true);
        if (r < 0)
                return r;
        r = copy_spec(s, spec);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

int log_stream_new_mark(uint64_t id, LogStream **ret) {
        LogStream *s = new(LogStream, 1);

        if (!s)
                return -ENOMEM;
        *s = (LogStream) { .id = id, .fd = -EBADF };
        log_splitter_init(&s->splitter, LOG_LINE_MAX);
        *ret = s;
        return 0;
}

LogStream *log_stream_free(LogStream *s) {
        if (!s)
                return NULL;

        assert(!s->context);
        log_sink_journal_free(s->journal);
        log_counter_unref(s->file_writer.dropped);
        log_rotation_done(&s->rotation);
        log_format_done(&s->format);
        log_splitter_done(&s->splitter);
        safe_close(s->fd);
        free(s->path);
        free(s->combined_path);
        return mfree(s);
}

/* ---- lines ---- */

static void write_to_files(const LogBlock *block, void *userdata) {
        LogStream *s = ASSERT_PTR(userdata);

        if (s->file)
                log_file_write(s->file, &s->file_writer, block);
        if (s->combined)
                log_file_write(s->combined, &s->file_writer, block);
}

static void write_block(const LogBlock *block, void *userdata) {
        LogStream *s = ASSERT_PTR(userdata);

        if (log_format_is_plain(&s->format))
                write_to_files(block, s);
        else if (s->file || s->combined)
                log_format_block(&s->format, block, now(CLOCK_REALTIME), &s->context->text, write_to_files, s);
        if (s->journal)
                log_sink_journal_write(s->journal, s->context->journal, &s->journal_writer, block);
        log_tap_push(s->context->tap, s->process_id, s->kind, block);
}

/* ---- pauses ---- */

static void resume(LogStream *s) {
        if (!s->is_paused)
                return;

        LIST_REMOVE(paused, s->context->paused, s);
        s->is_paused = false;
        s->pause_timer = sd_event_source_disable_unref(s->pause_timer);
        (void) sd_event_source_set_io_events(s->source, EPOLLIN);
}

void log_stream_resume_all(LogThreadContext *context) {
        LIST_FOREACH_SAFE(paused, s, context->paused)
                resume(s);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        resume(ASSERT_PTR(userdata));
        return 0;
}

/* Lets the app wait; that it has ended is still seen. */
static void pause_reading(LogStream *s) {
        int r;

        r = sd_event_source_set_io_events(s->source, 0);
        if (r >= 0 && (s->file_writer.may_drop || s->journal_writer.may_drop))
                r = sd_event_add_time_relative(s->context->event, &s->pause_timer, CLOCK_MONOTONIC, LOG_STUCK_USEC, 0, on_pause_over, s);
        if (r < 0) {
                log_warning_errno(r, "Failed to let an app wait for its log, going on: %m");
                (void) sd_event_source_set_io_events(s->source, EPOLLIN);
                return;
        }

        LIST_PREPEND(paused, s->context->paused, s);
        s->is_paused = true;
}

static bool must_wait(const LogStream *s) {
        return (s->file && log_file_is_full(s->file, s->file_writer.may_drop)) ||
                (s->combined && log_file_is_full(s->combined, s->file_writer.may_drop)) ||
                (s->journal && log_sink_journal_is_full(s->journal, s->journal_writer.may_drop));
}

/* ---- the pipe ---- */

static void stream_close(LogStream *s) {
        LogThreadContext *context;

        resume(s);
        context = TAKE_PTR(s->context);
        s->source = sd_event_source_disable_unref(s->source);
        s->file = log_file_unref(s->file);
        s->combined = log_file_unref(s->combined);
        s->journal = log_journal_release(context->journal, s->journal);
        s->fd = safe_close(s->fd);
        context->closed(s, context->userdata);
}

static void stream_finish(LogStream *s) {
        log_splitter_finish(&s->splitter, write_block, s);
        stream_close(s);
}

/* What tee() has copied leaves the pipe at once. */
static void discard(LogStream *s, size_t n) {
        while (n > 0) {
                ssize_t k = splice(s->fd, NULL, s->context->null_fd, NULL, n, SPLICE_F_NONBLOCK);

                if (k <= 0)
                        return;
                n -= (size_t) k;
        }
}

/* The number of bytes, or a negative errno; -EOPNOTSUPP: only read() can tell what is there. */
static ssize_t copy_to_buffer(LogStream *s) {
        LogThreadContext *c = s->context;
        ssize_t n;

        if (c->null_fd < 0)
                return -EOPNOTSUPP;
        n = tee(s->fd, c->copy_fds[1], LOG_READ_SIZE, SPLICE_F_NONBLOCK);
        if (n < 0)
                return errno == EINVAL ? -EOPNOTSUPP : -errno;
        for (ssize_t done = 0; done < n;) {
                ssize_t k = read(c->copy_fds[0], c->buffer + done, (size_t) (n - done));

                if (k <= 0)
                        return k < 0 ? -errno : -EIO;
                done += k;
        }
        return n;
}

/* One read. The number of bytes, 0 at EOF, or a negative errno. Lines stay in the pipe, which outlives pmd, until they are in their files: of a
 * pmd that is killed in between the next one may write some again, but none is lost. */
static ssize_t stream_read(LogStream *s) {
        bool copied;
        ssize_t n;

        n = copy_to_buffer(s);
        copied = n > 0;
        if (n == -EOPNOTSUPP) {
                n = read(s->fd, s->context->buffer, LOG_READ_SIZE);
                if (n < 0)
                        return -errno;
        }
        if (n < 0)
                return n;

        log_splitter_feed(&s->splitter, s->context->buffer, (size_t) n, write_block, s);
        if (copied)
                discard(s, (size_t) n);
        return n;
}

/* Room costs the kernel something, so that only a writer who has filled the pipe gets more. Where a user has had his
 * share, the pipe stays as it is. */
static void enlarge_pipe(LogStream *s) {
        if (s->pipe_enlarged)
                return;

        (void) fcntl(s->fd, F_SETPIPE_SZ, (int) LOG_READ_SIZE);
        s->pipe_enlarged = true;
}

#define DEFAULT_PIPE_SIZE (64 * 1024)

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogStream *s = ASSERT_PTR(userdata);
        ssize_t n;

        /* What is left of an app that has ended is little, and holds up its restart. */
        if (!(revents & EPOLLHUP) && must_wait(s)) {
                if (!s->is_paused)
                        pause_reading(s);
                return 0;
        }

        n = stream_read(s);
        if (n > 0) {
                if (n >= DEFAULT_PIPE_SIZE)
                        enlarge_pipe(s);
                return 0;
        }
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n < 0)
                log_warning_errno((int) n, "Failed to read the output of an app, closing the pipe: %m");

        stream_finish(s);
        return 0;
}

static LogFile *get_file(LogStream *s, const char *path, bool own) {
        LogFile *f = NULL;
        int r;

        if (!path)
                return NULL;

        r = log_file_set_get(s->context->files, &(LogFileSpec) {
                        .path = path,
                        .uid = own ? geteuid() : s->uid,
                        .gid = own ? getegid() : s->gid,
                        .rotation = s->rotates ? &s->rotation : NULL,
                }, &f);
        if (r < 0)
                log_warning_errno(r, "Failed to set up log file %s, dropping its lines: %m", path);
        return f;
}

void log_stream_attach(LogStream *s, LogThreadContext *context) {
        int r;

        s->context = context;
        s->file = get_file(s, s->path, s->own_path);
        s->combined = get_file(s, s->combined_path, s->own_combined_path);

        r = sd_event_add_io(context->event, &s->source, s->fd, EPOLLIN, on_readable, s);
        if (r >= 0)
                return;

        log_error_errno(r, "Failed to watch the output of an app, closing the pipe: %m");
        stream_finish(s);
}

void log_stream_give_up(LogStream *s) {
        int left;

        /* Somebody may write faster than we read: what comes from now on is no longer waited for. */
        if (ioctl(s->fd, FIONREAD, &left) < 0)
                left = 0;
        while (left > 0) {
                ssize_t n = stream_read(s);

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        break;
                left -= (int) MIN(n, (ssize_t) left);
        }

        stream_finish(s);
}
