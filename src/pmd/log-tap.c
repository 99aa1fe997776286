/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "pmd/log-tap.h"
#include "shared/fd-util.h"

#define QUEUE_MAX ((size_t) 1024 * 1024)

/* Whatever else the main loop has to do comes before more lines than this. */
#define LINES_PER_TURN 64u

typedef struct Record {
        struct Record *next;
        unsigned id;
        LogStreamKind kind;
        uint64_t n_skipped; /* before it */
        LogBlock block;
        char data[];
} Record;

struct LogTap {
        atomic_uint n_ref;
        atomic_bool enabled; /* so that nobody takes the lock while nobody listens */
        int fd;              /* eventfd, readable until the queue was found empty */

        pthread_mutex_t mutex; /* for what follows up to n_skipped */
        Record *first, **tail;
        size_t size;
        uint64_t n_skipped;  /* behind the last one */

        sd_event_source *source; /* from here on for the main thread alone */
        log_tap_t callback;
        void *userdata;
        bool telling;
        Record *current;
        size_t offset;
};

static size_t footprint(const Record *x) {
        return sizeof *x + x->block.size;
}

/* ---- log threads ---- */

static Record *record_new(unsigned id, LogStreamKind kind, const LogBlock *block) {
        Record *x = malloc(sizeof *x + block->size);

        if (!x)
                return NULL;

        *x = (Record) { .id = id, .kind = kind, .block = *block };
        x->block.data = memcpy(x->data, block->data, block->size);
        return x;
}

static void add_block(LogTap *t, unsigned id, LogStreamKind kind, const LogBlock *block) {
        Record *x = t->size + block->size <= QUEUE_MAX ? record_new(id, kind, block) : NULL;

        if (!t->first)
                (void) eventfd_write(t->fd, 1);
        if (!x) {
                t->n_skipped += log_block_count_lines(block);
                return;
        }

        x->n_skipped = TAKE_GENERIC(t->n_skipped, 0);
        t->size += footprint(x);
        *t->tail = x;
        t->tail = &x->next;
}

void log_tap_push(LogTap *t, unsigned id, LogStreamKind kind, const LogBlock *block) {
        if (!atomic_load_explicit(&t->enabled, memory_order_relaxed))
                return;

        (void) pthread_mutex_lock(&t->mutex);
        if (atomic_load_explicit(&t->enabled, memory_order_relaxed))
                add_block(t, id, kind, block);
        (void) pthread_mutex_unlock(&t->mutex);
}

/* ---- the main thread ---- */

static void set_current(LogTap *t, Record *x) {
        free(t->current);
        t->current = x;
        t->offset = 0;
}

/* The next one, or NULL and the number of lines that are missing at the end. */
static Record *take_next(LogTap *t, uint64_t *ret_skipped) {
        eventfd_t n;
        Record *x;

        *ret_skipped = 0;

        (void) pthread_mutex_lock(&t->mutex);
        x = t->first;
        if (x) {
                t->first = x->next;
                if (!x->next)
                        t->tail = &t->first;
                t->size -= footprint(x);
        } else {
                *ret_skipped = TAKE_GENERIC(t->n_skipped, 0);
                (void) eventfd_read(t->fd, &n);
        }
        (void) pthread_mutex_unlock(&t->mutex);
        return x;
}

/* False: there is nothing more to tell. */
static bool tell_one(LogTap *t) {
        LogTapLine l = {};

        while (!t->current || !log_block_next(&t->current->block, &t->offset, &l.line)) {
                set_current(t, take_next(t, &l.n_skipped));
                if (l.n_skipped > 0)
                        break;
                if (!t->current)
                        return false;
        }

        if (t->current) {
                l.id = t->current->id;
                l.kind = t->current->kind;
                l.n_skipped = TAKE_GENERIC(t->current->n_skipped, 0);
        }
        t->callback(&l, t->userdata);
        return true;
}

static int on_lines(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogTap *t = ASSERT_PTR(userdata);

        t->telling = true;
        for (unsigned i = 0; i < LINES_PER_TURN && t->callback && tell_one(t); i++)
                ;
        t->telling = false;
        if (!t->callback)
                set_current(t, NULL);
        return 0;
}

static void clear(LogTap *t) {
        uint64_t n_skipped;

        for (Record *x; (x = take_next(t, &n_skipped));)
                free(x);
        if (!t->telling) /* the callback may still look at it */
                set_current(t, NULL);
}

void log_tap_set_callback(LogTap *t, log_tap_t callback, void *userdata) {
        (void) pthread_mutex_lock(&t->mutex);
        atomic_store_explicit(&t->enabled, callback, memory_order_relaxed);
        (void) pthread_mutex_unlock(&t->mutex);

        t->callback = callback;
        t->userdata = userdata;
        if (!callback)
                clear(t);
        (void) sd_event_source_set_enabled(t->source, callback ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* ---- making and ending ---- */

int log_tap_new(sd_event *event, LogTap **ret) {
        _cleanup_(log_tap_closep) LogTap *t = new(LogTap, 1);
        int r;

        if (!t)
                return -ENOMEM;

        *t = (LogTap) { .n_ref = 1, .fd = -EBADF, .mutex = PTHREAD_MUTEX_INITIALIZER };
        t->tail = &t->first;
        t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->fd < 0)
                return -errno;

        r = sd_event_add_io(event, &t->source, t->fd, EPOLLIN, on_lines, t);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(t->source, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(t->source, "log-tap");
        (void) sd_event_source_set_enabled(t->source, SD_EVENT_OFF);

        *ret = TAKE_PTR(t);
        return 0;
}

LogTap *log_tap_ref(LogTap *t) {
        if (t)
                atomic_fetch_add(&t->n_ref, 1);
        return t;
}

LogTap *log_tap_unref(LogTap *t) {
        if (!t || atomic_fetch_sub(&t->n_ref, 1) > 1)
                return NULL;

        clear(t);
        safe_close(t->fd);
        (void) pthread_mutex_destroy(&t->mutex);
        return mfree(t);
}

LogTap *log_tap_close(LogTap *t) {
        if (!t)
                return NULL;

        if (t->source)
                log_tap_set_callback(t, NULL, NULL);
        t->source = sd_event_source_disable_unref(t->source);
        return log_tap_unref(t);
}
