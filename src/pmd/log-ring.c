/* SPDX-License-Identifier: MIT */
#include "pmd/log-ring.h"

static LogRecord *record_free(LogRecord *r) {
        log_counter_unref(r->counter);
        return mfree(r);
}

static size_t footprint(const LogRecord *r) {
        return sizeof *r + r->size;
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

LogRecord *log_ring_push(LogRing *r, const struct iovec *iov, size_t n_iov, size_t n_done, uint64_t n_lines, LogCounter *counter, bool may_drop) {
        size_t size = 0;
        LogRecord *x;
        char *p;

        for (size_t i = 0; i < n_iov; i++)
                size += iov[i].iov_len;

        if (may_drop && n_done == 0)
                make_room(r, sizeof *x + size);

        x = malloc(sizeof *x + size);
        if (!x) {
                note_dropped(r, n_lines, counter);
                return NULL;
        }

        *x = (LogRecord) { .counter = log_counter_ref(counter), .n_lines = n_lines, .size = size, .n_done = n_done };
        p = x->data;
        for (size_t i = 0; i < n_iov; i++)
                p = mempcpy(p, iov[i].iov_base, iov[i].iov_len);

        if (r->last)
                r->last->next = x;
        else
                r->first = x;
        r->last = x;
        r->size += footprint(x);
        return x;
}

uint64_t log_ring_get_gap(const LogRing *r) {
        return r->first && r->first->n_done > 0 ? 0 : r->n_dropped;
}

void log_ring_close_gap(LogRing *r) {
        r->n_dropped = 0;
}

void log_ring_pop(LogRing *r) {
        unlink_record(r, &r->first);
}

uint64_t log_ring_clear(LogRing *r) {
        while (r->first) {
                note_dropped(r, r->first->n_lines, r->first->counter);
                unlink_record(r, &r->first);
        }
        return TAKE_GENERIC(r->n_dropped, 0);
}
