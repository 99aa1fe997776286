/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>

#include "pmd/log-relay.h"
#include "pmd/log-tap.h"
#include "pmd/log-thread.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

/* closed() of a stream that is given up does not wait longer for a log thread that hangs in a write. */
#define GIVE_UP_USEC USEC_PER_SEC

/* A write to a disk that hangs cannot be interrupted. So files that users have named get a thread for each of their directories, and what
 * stalls there stalls no other lines; with very many directories some share. */
#define THREADS_MAX 16u

typedef struct Shard {
        LogThread *thread;
        sd_event_source *closed_source;
        char *directory; /* NULL: the first, for the journal and for pmd's own directory */
} Shard;

struct LogRelay {
        sd_event *event;
        LogTap *tap;
        Shard shards[THREADS_MAX];
        unsigned n_shards;
        struct lh_table *subscriptions; /* stream → Subscription */
        uint64_t last_stream;           /* streams have numbers whose remainder by THREADS_MAX is that of their shard */
};

/* Who wants to know of a stream's end. The log thread never sees it, so that forgetting it needs no answer. */
typedef struct Subscription {
        LogRelay *relay;
        uint64_t stream;
        log_stream_closed_t closed;
        void *userdata;
        sd_event_source *deadline;
} Subscription;

static Subscription *subscription_free(Subscription *u) {
        if (!u)
                return NULL;

        if (u->relay)
                (void) lh_table_delete(u->relay->subscriptions, &u->stream);
        sd_event_source_disable_unref(u->deadline);
        return mfree(u);
}
DEFINE_CLEANUP_FUNC(Subscription *, subscription_free);

static int subscription_new(
                LogRelay *l,
                uint64_t stream,
                log_stream_closed_t closed,
                void *userdata,
                Subscription **ret) {

        _cleanup_(subscription_freep) Subscription *u = new(Subscription, 1);

        if (!u)
                return -ENOMEM;

        *u = (Subscription) { .stream = stream, .closed = closed, .userdata = userdata };
        if (lh_table_insert(l->subscriptions, &u->stream, u) < 0)
                return -ENOMEM;
        u->relay = l;

        *ret = TAKE_PTR(u);
        return 0;
}

static Subscription *get_subscription(LogRelay *l, uint64_t stream) {
        void *u;

        return lh_table_lookup_ex(l->subscriptions, &stream, &u) ? u : NULL;
}

static void subscription_tell(Subscription *u) {
        log_stream_closed_t closed = u->closed;
        void *userdata = u->userdata;
        uint64_t stream = u->stream;

        subscription_free(u);
        if (closed)
                closed(stream, userdata);
}

static void take_closed(LogRelay *l, LogThread *t) {
        for (LogStream *s = log_thread_take_closed(t), *next; s; s = next) {
                Subscription *u = get_subscription(l, s->id);

                next = s->next;
                log_stream_free(s);
                if (u)
                        subscription_tell(u);
        }
}

static int on_closed(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogRelay *l = ASSERT_PTR(userdata);

        for (unsigned i = 0; i < l->n_shards; i++)
                if (log_thread_get_fd(l->shards[i].thread) == fd)
                        take_closed(l, l->shards[i].thread);
        return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        log_warning("The log thread hangs, going on without its answer for now.");
        subscription_tell(ASSERT_PTR(userdata));
        return 0;
}

static void shard_done(Shard *s) {
        sd_event_source_disable_unref(s->closed_source);
        log_thread_stop(s->thread);
        free(s->directory);
}

static int add_shard(LogRelay *l, const char *directory) {
        Shard s = {};
        int r;

        r = free_and_strdup(&s.directory, directory);
        if (r >= 0)
                r = log_thread_new(l->tap, &s.thread);
        if (r >= 0)
                r = sd_event_add_io(l->event, &s.closed_source, log_thread_get_fd(s.thread), EPOLLIN, on_closed, l);
        if (r < 0) {
                shard_done(&s);
                return r;
        }

        (void) sd_event_source_set_description(s.closed_source, "log-relay-closed");
        l->shards[l->n_shards] = s;
        return (int) l->n_shards++;
}

/* FNV-1a */
static unsigned hash_directory(const char *directory) {
        uint32_t h = UINT32_C(2166136261);

        for (const char *p = directory; *p; p++)
                h = (h ^ (unsigned char) *p) * UINT32_C(16777619);
        return 1 + h % (THREADS_MAX - 1);
}

/* The index of the shard for a file, NULL: for the journal and our own files. */
static unsigned find_shard(LogRelay *l, const char *path) {
        _cleanup_free_ char *directory = path ? strndup(path, (size_t) (path_basename(path) - path)) : NULL;
        int r;

        if (!directory)
                return 0;
        for (unsigned i = 1; i < l->n_shards; i++)
                if (streq(l->shards[i].directory, directory))
                        return i;
        if (l->n_shards == THREADS_MAX)
                return hash_directory(directory);

        r = add_shard(l, directory);
        if (r < 0)
                log_warning_errno(r, "Failed to make a thread for the log files in %s, doing without: %m", directory);
        return r < 0 ? 0 : (unsigned) r;
}

/* Both streams of an app must come to the same one if they share a file. */
static unsigned shard_of_stream(LogRelay *l, const LogStreamSpec *spec) {
        if (spec->combined_path && !spec->own_combined_path)
                return find_shard(l, spec->combined_path);
        return find_shard(l, spec->own_path ? NULL : spec->path);
}

int log_relay_new(sd_event *event, LogRelay **ret) {
        _cleanup_(log_relay_freep) LogRelay *l = new0(LogRelay, 1);
        int r;

        if (!l)
                return -ENOMEM;

        l->event = sd_event_ref(event);
        l->subscriptions = log_id_table_new();
        if (!l->subscriptions)
                return -ENOMEM;
        r = log_tap_new(event, &l->tap);
        if (r < 0)
                return r;
        r = add_shard(l, NULL);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

/* One mark is under way to each thread. */
typedef struct Sync {
        unsigned n_left;
        void (*done)(void *userdata);
        void *userdata;
} Sync;

static void on_mark(uint64_t stream, void *userdata) {
        Sync *y = ASSERT_PTR(userdata);

        if (--y->n_left > 0)
                return;
        y->done(y->userdata);
        free(y);
}

LogRelay *log_relay_free(LogRelay *l) {
        if (!l)
                return NULL;

        for (unsigned i = 0; i < l->n_shards; i++)
                shard_done(l->shards + i);

        if (l->subscriptions) {
                struct lh_entry *e, *next;

                lh_foreach_safe(l->subscriptions, e, next) {
                        Subscription *u = (Subscription *) lh_entry_v(e);

                        if (u->closed == on_mark)
                                subscription_tell(u);
                        else
                                subscription_free(u);
                }
                lh_table_free(l->subscriptions);
        }
        log_tap_close(l->tap);
        sd_event_unref(l->event);
        return mfree(l);
}

static int send_command(LogThread *t, log_command_run_t run, uint64_t stream, pid_t pid, const char *unit) {
        _cleanup_(log_command_freep) LogCommand *c = new(LogCommand, 1);
        int r;

        if (!c)
                return -ENOMEM;

        *c = (LogCommand) { .run = run, .id = stream, .pid = pid };
        r = free_and_strdup(&c->unit, unit);
        if (r < 0)
                return r;
        return log_thread_send(t, TAKE_PTR(c));
}

static LogThread *thread_of(LogRelay *l, uint64_t stream) {
        return l->shards[stream % THREADS_MAX].thread;
}

int log_relay_add_stream(
                LogRelay *l,
                int fd,
                const LogStreamSpec *spec,
                log_stream_closed_t closed,
                void *userdata,
                uint64_t *ret_stream) {

        _cleanup_(subscription_freep) Subscription *u = NULL;
        _cleanup_(log_command_freep) LogCommand *c = NULL;
        _cleanup_close_ int owned_fd = fd;
        unsigned shard;
        int r;

        c = new(LogCommand, 1);
        if (!c)
                return -ENOMEM;
        *c = (LogCommand) { .run = log_command_add };

        shard = shard_of_stream(l, spec);
        l->last_stream = (l->last_stream / THREADS_MAX + 1) * THREADS_MAX + shard;
        r = log_stream_new(l->last_stream, TAKE_FD(owned_fd), spec, &c->stream);
        if (r < 0)
                return r;
        r = subscription_new(l, l->last_stream, closed, userdata, &u);
        if (r < 0)
                return r;
        r = log_thread_send(l->shards[shard].thread, TAKE_PTR(c));
        if (r < 0)
                return r;

        *ret_stream = TAKE_PTR(u)->stream;
        return 0;
}

int log_relay_set_pid(LogRelay *l, uint64_t stream, pid_t pid, const char *unit) {
        return send_command(thread_of(l, stream), log_command_set_pid, stream, pid, unit);
}

int log_relay_give_up(LogRelay *l, uint64_t stream) {
        Subscription *u = get_subscription(l, stream);
        int r;

        r = send_command(thread_of(l, stream), log_command_give_up, stream, 0, NULL);
        if (!u || u->deadline)
                return r;

        if (r < 0)
                log_warning_errno(r, "Failed to tell the log thread to close a pipe, ignoring: %m");
        return sd_event_add_time_relative(l->event, &u->deadline, CLOCK_MONOTONIC, GIVE_UP_USEC, 0, on_deadline, u);
}

int log_relay_forget(LogRelay *l, uint64_t stream) {
        subscription_free(get_subscription(l, stream));
        return 0;
}

static int send_data(LogThread *t, log_command_run_t run, const char *data, size_t n, uid_t uid, gid_t gid) {
        _cleanup_(log_command_freep) LogCommand *c = new(LogCommand, 1);

        if (!c)
                return -ENOMEM;

        *c = (LogCommand) { .run = run, .uid = uid, .gid = gid, .n_data = n, .data = new(char, n + 1) };
        if (!c->data)
                return -ENOMEM;
        memcpy(c->data, data, n);
        c->data[n] = 0;
        return log_thread_send(t, TAKE_PTR(c));
}

int log_relay_flush_file(LogRelay *l, const char *path, bool own_path, uid_t uid, gid_t gid) {
        return send_data(l->shards[find_shard(l, own_path ? NULL : path)].thread, log_command_flush, path, strlen(path), uid, gid);
}

static int send_mark(LogRelay *l, unsigned shard, Sync *y) {
        _cleanup_(subscription_freep) Subscription *u = NULL;
        _cleanup_(log_command_freep) LogCommand *c = new(LogCommand, 1);
        int r;

        if (!c)
                return -ENOMEM;
        *c = (LogCommand) { .run = log_command_mark };
        l->last_stream = (l->last_stream / THREADS_MAX + 1) * THREADS_MAX + shard;
        r = log_stream_new_mark(l->last_stream, &c->stream);
        if (r < 0)
                return r;
        r = subscription_new(l, l->last_stream, on_mark, y, &u);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(l->event, &u->deadline, CLOCK_MONOTONIC, GIVE_UP_USEC, 0, on_deadline, u);
        if (r < 0)
                return r;
        r = log_thread_send(l->shards[shard].thread, TAKE_PTR(c));
        if (r < 0)
                return r;
        TAKE_PTR(u);
        return 0;
}

int log_relay_sync(LogRelay *l, void (*done)(void *userdata), void *userdata) {
        Sync *y = new(Sync, 1);
        int r;

        if (!y)
                return -ENOMEM;
        *y = (Sync) { 1, done, userdata };
        for (unsigned i = 0; i < l->n_shards; i++) {
                y->n_left++;
                r = send_mark(l, i, y);
                if (r < 0) {
                        log_warning_errno(r, "Failed to ask a log thread for an answer, ignoring: %m");
                        y->n_left--;
                }
        }
        on_mark(0, y);
        return 0;
}

int log_relay_send_event(LogRelay *l, const char *fields, size_t n) {
        return send_data(l->shards[0].thread, log_command_event, fields, n, 0, 0);
}

void log_relay_set_tap(LogRelay *l, bool enabled, log_tap_t callback, void *userdata) {
        log_tap_set_callback(l->tap, enabled ? callback : NULL, userdata);
}

int log_relay_reopen_files(LogRelay *l) {
        int ret = 0;

        for (unsigned i = 0; i < l->n_shards; i++)
                RET_GATHER(ret, send_command(l->shards[i].thread, log_command_reopen, 0, 0, NULL));
        return ret;
}
