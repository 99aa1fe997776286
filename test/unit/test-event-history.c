/* SPDX-License-Identifier: MIT */
#include "shared/event-history.h"
#include "test.h"

static void cleanup(EventHistory *h) {
        event_history_done(h);
}

static int add_exit(EventHistory *h, int code, usec_t at) {
        return event_history_add(h, &(HistoryEvent) { .kind = EVENT_EXITED, .code = code, .reason = "exited", .ran = at / 2 }, at, NULL);
}

static int add_request(EventHistory *h, const char *what, usec_t at) {
        return event_history_add(h, &(HistoryEvent) { .kind = EVENT_REQUESTED, .code = -1, .text = (char *) what, .uid = 7 }, at, NULL);
}

TEST(names) {
        ASSERT_STRING_TABLE(event_kind, _EVENT_KIND_MAX);
        ASSERT_STRING_TABLE(event_decision, _EVENT_DECISION_MAX);
}

TEST(repeated_exits_are_counted) {
        _cleanup_(cleanup) EventHistory h = {};

        for (usec_t t = 1; t <= 100; t++)
                ASSERT_OK(add_exit(&h, 1, t));
        ASSERT_EQ(h.n, 1);
        ASSERT_EQ(h.events[0].count, 100);
        ASSERT_EQ(h.events[0].first, 1);
        ASSERT_EQ(h.events[0].last, 100);
        ASSERT_EQ(h.events[0].ran, 50);

        ASSERT_OK(add_exit(&h, 2, 101));
        ASSERT_EQ(h.n, 2);
        ASSERT_OK(add_request(&h, "stop", 102));
        ASSERT_OK(add_request(&h, "stop", 103));
        ASSERT_EQ(h.n, 4); /* each request was made by somebody */
        ASSERT_OK(add_exit(&h, 2, 104));
        ASSERT_EQ(h.n, 5);
        ASSERT_EQ(h.events[4].count, 1);
}

TEST(the_oldest_make_room) {
        _cleanup_(cleanup) EventHistory h = {};

        for (int i = 0; i < 100; i++)
                ASSERT_OK(add_exit(&h, i, (usec_t) i));
        ASSERT_EQ(h.n, EVENT_HISTORY_MAX);
        ASSERT_EQ(h.events[0].code, 100 - (int) EVENT_HISTORY_MAX);
        ASSERT_EQ(h.events[h.n - 1].code, 99);
}

TEST(decisions_belong_to_the_last_exit) {
        _cleanup_(cleanup) EventHistory h = {};

        ASSERT_OK(event_history_decide(&h, EVENT_DECISION_RESTART, "nothing to decide"));
        ASSERT_EQ(h.n, 0);

        ASSERT_OK(add_exit(&h, 1, 1));
        ASSERT_OK(add_request(&h, "start", 2));
        ASSERT_OK(event_history_decide(&h, EVENT_DECISION_RESTART_LATER, "soon"));
        ASSERT_EQ(h.events[0].decision, EVENT_DECISION_RESTART_LATER);
        ASSERT_STREQ(h.events[0].text, "soon");

        ASSERT_OK(event_history_decide(&h, EVENT_DECISION_RESTART, "it is time"));
        ASSERT_EQ(h.events[0].decision, EVENT_DECISION_RESTART_LATER);
        ASSERT_STREQ(h.events[0].text, "soon");
}

TEST(text_is_cut_between_characters) {
        _cleanup_(cleanup) EventHistory h = {};
        char text[2 * EVENT_TEXT_MAX + 2];

        text[0] = 'a';
        for (size_t i = 1; i + 1 < sizeof text; i += 2)
                memcpy(text + i, "é", 2);
        text[sizeof text - 1] = 0;

        ASSERT_OK(add_request(&h, text, 1));
        ASSERT_EQ(strlen(h.events[0].text), EVENT_TEXT_MAX - 1);
        ASSERT_TRUE(utf8_is_valid(h.events[0].text, strlen(h.events[0].text)));
}

TEST(what_is_saved_is_restored) {
        _cleanup_(cleanup) EventHistory h = {}, back = {};
        json_object *o = NULL;

        ASSERT_OK(add_exit(&h, 3, 10));
        ASSERT_OK(add_exit(&h, 3, 20));
        ASSERT_OK(event_history_decide(&h, EVENT_DECISION_GIVE_UP, "enough"));
        ASSERT_OK(event_history_add(&h, &(HistoryEvent) { .kind = EVENT_REQUESTED, .text = (char *) "stop", .uid = 1000, .pid = 42, .command = "pmctl" }, 30, NULL));
        ASSERT_OK(event_history_save(&h, 10000, &o));
        ASSERT_OK(event_history_restore(&back, o));
        json_object_put(o);

        ASSERT_EQ(back.n, 2);
        ASSERT_EQ(back.events[0].count, 2);
        ASSERT_EQ(back.events[0].code, 3);
        ASSERT_EQ(back.events[0].first, 10);
        ASSERT_EQ(back.events[0].last, 20);
        ASSERT_EQ(back.events[0].ran, 10);
        ASSERT_EQ(back.events[0].decision, EVENT_DECISION_GIVE_UP);
        ASSERT_STREQ(back.events[0].reason, "exited");
        ASSERT_STREQ(back.events[0].text, "enough");
        ASSERT_EQ(back.events[1].uid, 1000);
        ASSERT_EQ(back.events[1].pid, 42);
        ASSERT_STREQ(back.events[1].command, "pmctl");
}

TEST(what_is_saved_stays_below_its_bound) {
        _cleanup_(cleanup) EventHistory h = {}, back = {};
        char text[EVENT_TEXT_MAX + 1];
        json_object *o = NULL;
        size_t size;

        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = 0;
        for (usec_t t = 0; t < EVENT_HISTORY_MAX; t++)
                ASSERT_OK(event_history_add(&h, &(HistoryEvent) { .kind = EVENT_TRIGGERED, .text = text, .first = USEC_INFINITY }, USEC_PER_SEC * 2000000000 + t, NULL));

        ASSERT_OK(event_history_save(&h, 2400, &o));
        (void) json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &size);
        ASSERT_TRUE(size <= 2400);
        ASSERT_OK(event_history_restore(&back, o));
        json_object_put(o);
        ASSERT_TRUE(back.n > 3 && back.n < EVENT_HISTORY_MAX);
        ASSERT_EQ(back.events[back.n - 1].last, h.events[h.n - 1].last);
}

TEST(nonsense_is_left_out) {
        _cleanup_(cleanup) EventHistory h = {};
        json_object *o = json_tokener_parse("[ 1, null, [], [\"no kind\"], {\"a\": 1}, [\"exited\"], [\"requested\", 5, \"x\", {}, [], 1, 2, 3, 4, 5, 6, 7, \"12345678901234567890\"] ]");

        ASSERT_TRUE(o);
        ASSERT_OK(event_history_restore(&h, o));
        json_object_put(o);
        ASSERT_EQ(h.n, 2);
        ASSERT_STREQ(h.events[1].command, "123456789012345");
        ASSERT_OK(event_history_restore(&h, NULL));
}
