/* SPDX-License-Identifier: MIT */
#include "pmd/log-ring.h"

#define RECORD_MIN ((size_t) 4096)

static LogRecord *record_free(LogRecord *r) {
        log_counter_unref(r->counter);
        return mfree(r);
}

static size_t footprint(const LogRecord *r) {
        return sizeof *r + r->n_allocated;
}

bool log_ring_is_full(const LogRing *r, bool may_drop, usec_t now) {
        if (r->size <= LOG_RING_FULL)
                return false;
        return !may_drop || usec_sub(now, r->progress) < LOG_STUCK_USEC;
}

/* Takes the record behind *p out of the list. */
static void unlink_record(LogRing *r, LogRecord **p) {
        LogRecord *x = *p;

        *p = x->next;
        r->size -= footprint(x);
        if (r->last == x)
                r->last = p == &r->first ? NULL : CONTAINER_OF(p, LogRecord, next);
        log_counter_unkeep(x->counter);
        record_free(x);
}

static void note_dropped(LogRing *r, uint64_t n_lines, LogCounter *counter) {
        r->n_dropped += n_lines;
        log_counter_add(counter, n_lines);
}

static void make_room(LogRing *r, size_t size) {
        while (r->size + size > LOG_RING_MAX) {
                LogRecord **p = r->first && r->first->n_done > 0 ? &r->first->next : &r->first;

                if (!*p)
                        return;
                note_dropped(r, (*p)->n_lines, (*p)->counter);
                unlink_record(r, p);
        }
}

static void append(LogRecord *x, const struct iovec *iov, size_t n_iov) {
        for (size_t i = 0; i < n_iov; i++) {
                memcpy(x->data + x->size, iov[i].iov_base, iov[i].iov_len);
                x->size += iov[i].iov_len;
        }
}

/* Short lines that come one by one share a record. The mark for those that were dropped stands between one that is being written and the next. */
static bool join(LogRing *r, const struct iovec *iov, size_t n_iov, size_t size, uint64_t n_lines, const LogCounter *counter) {
        LogRecord *x = r->last;

        if (!x || x->counter != counter || size > x->n_allocated - x->size || (x->n_done > 0 && r->n_dropped > 0))
                return false;
        append(x, iov, n_iov);
        x->n_lines += n_lines;
        return true;
}

LogRecord *log_ring_push(LogRing *r, const struct iovec *iov, size_t n_iov, size_t n_done, uint64_t n_lines, LogCounter *counter, bool may_drop,
                         bool joins) {
        size_t size = 0, n_allocated;
        LogRecord *x;

        for (size_t i = 0; i < n_iov; i++)
                size += iov[i].iov_len;
        if (joins && n_done == 0 && join(r, iov, n_iov, size, n_lines, counter))
                return r->last;

        n_allocated = joins ? MAX(size, RECORD_MIN) : size;
        if (may_drop && n_done == 0)
                make_room(r, sizeof *x + n_allocated);

        x = malloc(sizeof *x + n_allocated);
        if (!x) {
                note_dropped(r, n_lines, counter);
                return NULL;
        }

        *x = (LogRecord) { .counter = log_counter_ref(counter), .n_lines = n_lines, .n_allocated = n_allocated, .n_done = n_done };
        append(x, iov, n_iov);

        if (r->last)
                r->last->next = x;
        else
                r->first = x;
        r->last = x;
        r->size += footprint(x);
        log_counter_keep(counter);
        return x;
}

uint64_t log_ring_get_gap(const LogRing *r) {
        return r->first && r->first->n_done > 0 ? 0 : r->n_dropped;
}

void log_ring_close_gap(LogRing *r) {
        r->n_dropped = 0;
}

void log_ring_pop(LogRing *r) {
        log_counter_progress(r->first->counter, r);
        unlink_record(r, &r->first);
}

uint64_t log_ring_clear(LogRing *r) {
        while (r->first) {
                note_dropped(r, r->first->n_lines, r->first->counter);
                unlink_record(r, &r->first);
        }
        return TAKE_GENERIC(r->n_dropped, 0);
}
