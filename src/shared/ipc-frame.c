/* SPDX-License-Identifier: MIT */
#include "shared/ipc-frame.h"

/* A reader that once had a large message does not keep its memory. */
#define KEEP_MAX (64U * 1024)

void ipc_frame_reader_init(IpcFrameReader *r, size_t max) {
        *r = (IpcFrameReader) { .max = max };
}

void ipc_frame_reader_done(IpcFrameReader *r) {
        r->partial = mfree(r->partial);
        r->n_partial = r->n_allocated = 0;
}

static void skip(IpcFrameReader *r) {
        if (!r->skipping)
                r->n_skipped++;
        r->skipping = true;
        r->n_partial = 0;
}

/* With room for the NUL. */
static int append(IpcFrameReader *r, const char *data, size_t n) {
        if (r->skipping)
                return 0;
        if (n > r->max - r->n_partial) {
                skip(r);
                return 0;
        }
        if (!GREEDY_REALLOC(r->partial, r->n_allocated, r->n_partial + n + 1)) {
                skip(r);
                return -ENOMEM;
        }
        memcpy(r->partial + r->n_partial, data, n);
        r->n_partial += n;
        return 0;
}

/* A whole message that came in one piece is not copied. */
static int end_message(IpcFrameReader *r, char *data, size_t n, const char **ret, size_t *ret_size) {
        int k;

        if (r->n_partial == 0 && !r->skipping && n <= r->max) {
                data[n] = 0;
                *ret = data;
                *ret_size = n;
                return n > 0;
        }

        k = append(r, data, n);
        if (r->skipping) {
                r->skipping = false;
                return k;
        }
        r->partial[r->n_partial] = 0;
        *ret = r->partial;
        *ret_size = TAKE_GENERIC(r->n_partial, 0);
        return 1;
}

int ipc_frame_next(IpcFrameReader *r, char **data, size_t *size, const char **ret, size_t *ret_size) {
        if (r->n_partial == 0 && r->n_allocated > KEEP_MAX)
                ipc_frame_reader_done(r);

        while (*size > 0) {
                char *begin = *data, *newline = memchr(begin, '\n', *size);
                size_t n = newline ? (size_t) (newline - begin) : *size, taken = n + (newline != NULL);
                int k;

                *data += taken;
                *size -= taken;
                if (!newline)
                        return append(r, begin, n);

                k = end_message(r, begin, n, ret, ret_size);
                if (k != 0)
                        return k;
        }
        return 0;
}
