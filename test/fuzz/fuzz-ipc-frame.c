/* SPDX-License-Identifier: MIT */
#include "shared/ipc-frame.h"

/* The first byte chooses the limit, the second the pieces; the rest is the stream. In pieces it must give the messages that splitting it at its
 * newlines gives. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

/* The next message of the whole stream that is not empty and not too large; counts those that are. */
static bool next_expected(const char **at, const char *end, size_t max, const char **ret, size_t *ret_size, uint64_t *n_skipped) {
        const char *newline;

        while ((newline = memchr(*at, '\n', (size_t) (end - *at)))) {
                const char *begin = *at;

                *at = newline + 1;
                *ret = begin;
                *ret_size = (size_t) (newline - begin);
                if (*ret_size > max)
                        (*n_skipped)++;
                else if (*ret_size > 0)
                        return true;
        }
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data + 2, *at = text, *end, *expected;
        size_t max, step, n;
        uint64_t n_skipped = 0;
        IpcFrameReader r;

        if (size < 2)
                return 0;
        max = data[0] + 1U;
        step = data[1] + 1U;
        end = text + size - 2;

        ipc_frame_reader_init(&r, max);
        for (const char *p = text; p < end; p += n) {
                char piece[256], *in = piece;
                size_t left, length, expected_length;
                const char *frame;

                n = MIN(step, (size_t) (end - p));
                left = n;
                memcpy(piece, p, n);
                while (ipc_frame_next(&r, &in, &left, &frame, &length) > 0) {
                        check(length > 0 && length <= max && frame[length] == 0);
                        check(next_expected(&at, end, max, &expected, &expected_length, &n_skipped));
                        check(length == expected_length && memcmp(frame, expected, length) == 0);
                }
                check(left == 0 && r.n_partial <= max);
        }

        check(!next_expected(&at, end, max, &expected, &n, &n_skipped));
        n_skipped += (size_t) (end - at) > max; /* known though its end is missing */
        check(r.n_skipped == n_skipped);
        ipc_frame_reader_done(&r);
        return 0;
}
