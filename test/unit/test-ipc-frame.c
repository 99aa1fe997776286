/* SPDX-License-Identifier: MIT */
#include "shared/ipc-frame.h"
#include "test.h"

/* What a worker of Node 20 wrote while it came up and was disconnected. */
static const char recorded[] =
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}\n"
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"index\":0,\"data\":null,\"address\":null,\"port\":18123,\"addressType\":4,\"backlog\":0,\"seq\":1}\n"
        "\"ready\"\n"
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"listening\",\"index\":0,\"data\":null,\"address\":null,\"port\":18123,\"addressType\":4,\"backlog\":0,\"seq\":2}\n"
        "{\"cmd\":\"NODE_HANDLE_ACK\"}\n"
        "{\"cmd\":\"NODE_CLUSTER\",\"ack\":1,\"accepted\":true,\"seq\":3}\n"
        "{\"got\":{\"hello\":1}}\n"
        "null\n"
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":\"null:18123:4:undefined:0\",\"seq\":4}\n";

/* Feeds pieces of n bytes, and writes what comes out as it went in. */
static char *feed(IpcFrameReader *r, const char *text, size_t size, size_t n) {
        char *out = calloc(1, size + 1), *end = out, piece[4096];

        ASSERT_TRUE(out);
        for (size_t i = 0; i < size; i += n) {
                size_t left = MIN(n, size - i), length;
                char *data = piece;
                const char *frame;

                memcpy(piece, text + i, left);
                while (ipc_frame_next(r, &data, &left, &frame, &length) > 0) {
                        ASSERT_EQ(frame[length], 0);
                        memcpy(end, frame, length);
                        end += length;
                        *end++ = '\n';
                }
                ASSERT_EQ(left, 0);
        }
        return out;
}

static void check(const char *text, size_t max, size_t n, const char *expected, uint64_t n_skipped) {
        _cleanup_free_ char *out = NULL;
        IpcFrameReader r;

        ipc_frame_reader_init(&r, max);
        out = feed(&r, text, strlen(text), n);
        ASSERT_STREQ(out, expected);
        ASSERT_EQ(r.n_skipped, n_skipped);
        ipc_frame_reader_done(&r);
}

TEST(recorded_frames_in_pieces_of_any_size) {
        for (size_t n = 1; n <= sizeof recorded; n++)
                check(recorded, 1000, n, recorded, 0);
}

static const struct {
        const char *text, *expected;
        uint64_t n_skipped;
} limited[] = {
        { "12345678\n", "12345678\n", 0 },
        { "123456789\n", "", 1 },
        { "123456789\nok\n", "ok\n", 1 },
        { "123456789012345678901234567890\n1\n123456789\n2\n", "1\n2\n", 2 },
        { "\n\n\nok\n\n", "ok\n", 0 },
        { "not at its end", "", 1 },
        { "half", "", 0 },
        { "", "", 0 },
};

TEST(too_large_ones_are_skipped) {
        for (size_t i = 0; i < ELEMENTSOF(limited); i++)
                for (size_t n = 1; n < 40; n++)
                        check(limited[i].text, 8, n, limited[i].expected, limited[i].n_skipped);
}

/* What a message of a few MiB needed is given back. */
TEST(memory_is_given_back) {
        size_t size = 3U << 20, left = size + 1, length;
        char *text = malloc(size + 1), *data = text, small[] = "1\n";
        const char *frame;
        IpcFrameReader r;

        ASSERT_TRUE(text);
        memset(text, 'x', size);
        text[size] = '\n';
        ipc_frame_reader_init(&r, 4U << 20);
        left = 10;
        ASSERT_EQ(ipc_frame_next(&r, &data, &left, &frame, &length), 0);
        left = size + 1 - 10;
        ASSERT_EQ(ipc_frame_next(&r, &data, &left, &frame, &length), 1);
        ASSERT_EQ(length, size);
        ASSERT_TRUE(r.n_allocated > size);
        data = small;
        left = 2;
        ASSERT_EQ(ipc_frame_next(&r, &data, &left, &frame, &length), 1);
        ASSERT_STREQ(frame, "1");
        ASSERT_EQ(r.n_allocated, 0);
        ipc_frame_reader_done(&r);
        free(text);
}
