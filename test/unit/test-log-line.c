/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "shared/log-line.h"

typedef struct Seen {
        LogLine lines[64];
        char *texts[64];
        size_t n, n_blocks;
} Seen;

static void on_block(const LogBlock *b, void *userdata) {
        Seen *s = userdata;
        size_t offset = 0;

        s->n_blocks++;
        for (LogLine line; s->n < ELEMENTSOF(s->lines) && log_block_next(b, &offset, &line); s->n++) {
                s->lines[s->n] = line;
                s->texts[s->n] = malloc(line.size + 1);
                assert(s->texts[s->n]);
                memcpy(s->texts[s->n], line.data, line.size);
                s->texts[s->n][line.size] = 0;
        }
}

static void seen_done(Seen *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->texts[i]);
        *s = (Seen) {};
}

static void feed(LogSplitter *s, Seen *seen, const char *text) {
        log_splitter_feed(s, text, strlen(text), on_block, seen);
}

TEST(line_end_names) {
        ASSERT_STRING_TABLE(log_line_end, _LOG_LINE_END_MAX);
}

TEST(whole_lines_are_one_block) {
        LogSplitter s;
        Seen seen = {};

        log_splitter_init(&s, LOG_LINE_MAX);
        feed(&s, &seen, "one\ntwo\n\nfour\n");
        ASSERT_EQ(seen.n_blocks, 1);
        ASSERT_EQ(seen.n, 4);
        ASSERT_STREQ(seen.texts[0], "one");
        ASSERT_STREQ(seen.texts[1], "two");
        ASSERT_STREQ(seen.texts[2], "");
        ASSERT_STREQ(seen.texts[3], "four");
        ASSERT_TRUE(!s.partial);

        log_splitter_finish(&s, on_block, &seen);
        ASSERT_EQ(seen.n, 4);
        log_splitter_done(&s);
        seen_done(&seen);
}

TEST(incomplete_line_waits) {
        LogSplitter s;
        Seen seen = {};

        log_splitter_init(&s, LOG_LINE_MAX);
        feed(&s, &seen, "one\nt");
        ASSERT_EQ(seen.n, 1);
        feed(&s, &seen, "w");
        ASSERT_EQ(seen.n, 1);
        feed(&s, &seen, "o\nthree");
        ASSERT_EQ(seen.n, 2);
        ASSERT_STREQ(seen.texts[1], "two");

        log_splitter_finish(&s, on_block, &seen);
        ASSERT_EQ(seen.n, 3);
        ASSERT_STREQ(seen.texts[2], "three");
        ASSERT_EQ(seen.lines[1].end, LOG_LINE_END_NEWLINE);
        ASSERT_EQ(seen.lines[2].end, LOG_LINE_END_EOF);
        ASSERT_TRUE(!s.partial);
        log_splitter_done(&s);
        seen_done(&seen);
}

TEST(bytes_stay) {
        static const char text[] = "a\0b\xff\xfe\n\0\n";
        LogSplitter s;
        Seen seen = {};

        log_splitter_init(&s, LOG_LINE_MAX);
        for (size_t i = 0; i < sizeof text - 1; i++)
                log_splitter_feed(&s, text + i, 1, on_block, &seen);
        ASSERT_EQ(seen.n, 2);
        ASSERT_EQ(seen.lines[0].size, 5);
        ASSERT_EQ(memcmp(seen.texts[0], "a\0b\xff\xfe", 5), 0);
        ASSERT_EQ(seen.lines[1].size, 1);
        ASSERT_EQ(seen.texts[1][0], 0);
        log_splitter_done(&s);
        seen_done(&seen);
}

/* A line as long as the limit is whole, one byte more splits it, however the bytes arrive. */
TEST(limit) {
        for (size_t piece = 1; piece <= 16; piece++) {
                static const char text[] = "1234\n12345\n1234567890\nend";
                LogSplitter s;
                Seen seen = {};

                log_splitter_init(&s, 4);
                for (size_t i = 0; i < sizeof text - 1; i += piece)
                        log_splitter_feed(&s, text + i, MIN(piece, sizeof text - 1 - i), on_block, &seen);
                log_splitter_finish(&s, on_block, &seen);

                ASSERT_EQ(seen.n, 7);
                ASSERT_STREQ(seen.texts[0], "1234");
                ASSERT_EQ(seen.lines[0].end, LOG_LINE_END_NEWLINE);
                ASSERT_STREQ(seen.texts[1], "1234");
                ASSERT_EQ(seen.lines[1].end, LOG_LINE_END_SPLIT);
                ASSERT_TRUE(!seen.lines[1].continued);
                ASSERT_STREQ(seen.texts[2], "5");
                ASSERT_EQ(seen.lines[2].end, LOG_LINE_END_NEWLINE);
                ASSERT_TRUE(seen.lines[2].continued);
                ASSERT_STREQ(seen.texts[4], "5678");
                ASSERT_EQ(seen.lines[4].end, LOG_LINE_END_SPLIT);
                ASSERT_TRUE(seen.lines[4].continued);
                ASSERT_STREQ(seen.texts[5], "90");
                ASSERT_STREQ(seen.texts[6], "end");
                ASSERT_TRUE(!seen.lines[6].continued);
                ASSERT_EQ(seen.lines[6].end, LOG_LINE_END_EOF);
                log_splitter_done(&s);
                seen_done(&seen);
        }
}

static int priority_of(const char *text, bool continued, const char **ret_rest) {
        LogLine line = { .data = text, .size = strlen(text), .continued = continued };
        int priority = log_line_take_priority(&line);

        *ret_rest = line.data;
        assert(line.data + line.size == text + strlen(text));
        return priority;
}

TEST(priority_prefix) {
        const char *rest;

        ASSERT_EQ(priority_of("<3>text", false, &rest), 3);
        ASSERT_STREQ(rest, "text");
        ASSERT_EQ(priority_of("<0>", false, &rest), 0);
        ASSERT_STREQ(rest, "");
        ASSERT_EQ(priority_of("<7><1>x", false, &rest), 7);
        ASSERT_STREQ(rest, "<1>x");

        ASSERT_EQ(priority_of("<3>text", true, &rest), -1);
        ASSERT_STREQ(rest, "<3>text");
        ASSERT_EQ(priority_of("<8>x", false, &rest), -1);
        ASSERT_EQ(priority_of("<3", false, &rest), -1);
        ASSERT_EQ(priority_of("<13>x", false, &rest), -1);
        ASSERT_EQ(priority_of(" <3>x", false, &rest), -1);
        ASSERT_EQ(priority_of("", false, &rest), -1);
}

/* A read may end anywhere; it must not tell whether "<3" is a prefix before it has seen the rest. */
TEST(priority_prefix_in_two_reads) {
        LogSplitter s;
        Seen seen = {};

        log_splitter_init(&s, LOG_LINE_MAX);
        feed(&s, &seen, "<");
        feed(&s, &seen, "3>x\n");
        ASSERT_EQ(seen.n, 1);
        ASSERT_STREQ(seen.texts[0], "<3>x");
        log_splitter_done(&s);
        seen_done(&seen);
}
