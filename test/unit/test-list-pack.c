/* SPDX-License-Identifier: MIT */
#include "shared/list-pack.h"
#include "shared/string-util.h"
#include "test.h"

#define WORDS(...) ((const uint32_t[]) { __VA_ARGS__ }), ELEMENTSOF(((const uint32_t[]) { __VA_ARGS__ }))

TEST(round_trip) {
        ListPacker p = LIST_PACKER_INIT;
        ListPackHead head;
        ListUnpacker u;
        const uint32_t *words;
        size_t n;

        list_pack_word(&p, UINT32_MAX);
        list_pack_long(&p, UINT64_MAX - 1);
        list_pack_double(&p, -0.5);
        list_pack_text(&p, "text");
        list_pack_text(&p, NULL);
        list_pack_text(&p, "a\xffz");
        list_pack_strv(&p, (char *const[]) { (char *) "x", (char *) "ä", NULL });
        list_pack_strv(&p, NULL);
        p.head.n_rows = 1;
        words = list_pack_finish(&p, &n);
        ASSERT_TRUE(words);

        ASSERT_OK(list_unpack_init(&u, words, n, p.text, p.size, &head));
        ASSERT_EQ(head.n_rows, 1);
        ASSERT_EQ(head.n_pointers, 4);
        ASSERT_EQ(list_unpack_word(&u), UINT32_MAX);
        ASSERT_TRUE(list_unpack_long(&u) == UINT64_MAX - 1);
        ASSERT_TRUE(list_unpack_double(&u) == -0.5);
        ASSERT_STREQ(list_unpack_text(&u), "text");
        ASSERT_STREQ(list_unpack_text(&u), "");
        ASSERT_STREQ(list_unpack_text(&u), "a\\xffz"); /* the bus does not take it, and JSON neither */
        ASSERT_EQ(list_unpack_word(&u), 2);
        ASSERT_STREQ(list_unpack_text(&u), "x");
        ASSERT_STREQ(list_unpack_text(&u), "ä");
        ASSERT_EQ(list_unpack_word(&u), 0);
        ASSERT_EQ(u.error, 0);
        ASSERT_EQ(u.n_words, 0);

        ASSERT_EQ(list_unpack_word(&u), 0);
        ASSERT_EQ(u.error, -EBADMSG);
        list_packer_done(&p);
}

TEST(slots) {
        ListPacker p = LIST_PACKER_INIT;
        size_t size, n;

        list_pack_set_slot(&p, 5);
        list_pack_text(&p, "same");
        list_pack_text(&p, "other");
        size = p.size;
        list_pack_set_slot(&p, 5);
        list_pack_text(&p, "same");
        list_pack_text(&p, "other");
        ASSERT_EQ(p.size, size);
        ASSERT_EQ(p.words[p.n_words - 2], 0);
        ASSERT_EQ(p.words[p.n_words - 1], sizeof "same");

        list_pack_set_slot(&p, 6); /* had another one */
        list_pack_text(&p, "same");
        ASSERT_EQ(p.size, size + sizeof "same");

        /* There is no slot for each of many. */
        list_pack_set_slot(&p, LIST_PACK_SLOTS - 1);
        for (unsigned i = 0; i < 1000; i++)
                list_pack_text(&p, "many");
        ASSERT_EQ(p.size, size + sizeof "same" + 1000 * sizeof "many");
        ASSERT_TRUE(list_pack_finish(&p, &n));
        ASSERT_EQ(n, LIST_PACK_HEAD_WORDS + 1005);
        list_packer_done(&p);
}

TEST(malformed) {
        static const uint32_t two_places[] = { 1, 0, 0, 0, 0, 3, 4 }, nothing[] = { 1, 0, 0, 0, 0 };
        ListPackHead head;
        ListUnpacker u;

        ASSERT_EQ(list_unpack_init(&u, NULL, 0, NULL, 0, &head), -EBADMSG);
        ASSERT_EQ(list_unpack_init(&u, WORDS(2, 0, 0, 0, 0), "", 1, &head), -EOPNOTSUPP);
        ASSERT_EQ(list_unpack_init(&u, WORDS(2), "", 1, &head), -EOPNOTSUPP);
        ASSERT_EQ(list_unpack_init(&u, WORDS(1, 0, 0, 0), "", 1, &head), -EBADMSG);
        ASSERT_EQ(list_unpack_init(&u, WORDS(1, 0, 0, 0, 0), "abc", 3, &head), -EBADMSG); /* no end */
        for (unsigned i = 1; i < 5; i++) {
                uint32_t words[] = { 1, 0, 0, 0, 0, 0 };

                words[i] = 1;
                ASSERT_OK(list_unpack_init(&u, words, ELEMENTSOF(words), "", 1, &head));
                words[i] = 2; /* more than can have been sent */
                ASSERT_EQ(list_unpack_init(&u, words, ELEMENTSOF(words), "", 1, &head), -EBADMSG);
        }

        ASSERT_OK(list_unpack_init(&u, two_places, ELEMENTSOF(two_places), "abc", 4, &head));
        ASSERT_STREQ(list_unpack_text(&u), "");
        ASSERT_EQ(u.error, 0);
        ASSERT_STREQ(list_unpack_text(&u), "");
        ASSERT_EQ(u.error, -EBADMSG);

        ASSERT_OK(list_unpack_init(&u, nothing, ELEMENTSOF(nothing), NULL, 0, &head));
        ASSERT_STREQ(list_unpack_text(&u), "");
        ASSERT_EQ(u.error, -EBADMSG);
}
