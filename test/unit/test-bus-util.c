/* SPDX-License-Identifier: MIT */
#include <sys/socket.h>

#include "shared/bus-util.h"
#include "shared/fd-util.h"
#include "shared/strv.h"
#include "test.h"

/* A bus that is never spoken to: messages only need one to be made from. */
static sd_bus *test_bus(void) {
        int fds[2];
        sd_bus *bus;

        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, fds[0], fds[0]));
        ASSERT_OK(sd_bus_start(bus));
        safe_close(fds[1]);
        return bus;
}

static sd_bus_message *new_message(sd_bus *bus) {
        sd_bus_message *m;

        ASSERT_OK(sd_bus_message_new_signal(bus, &m, "/x", "x.y", "Z"));
        return m;
}

static void seal(sd_bus_message *m) {
        ASSERT_OK(sd_bus_message_seal(m, 1, 0));
        ASSERT_OK(sd_bus_message_rewind(m, true));
}

static json_object *parse(const char *text) {
        json_object *o = json_tokener_parse(text);

        ASSERT_TRUE(o);
        return o;
}

/* JSON to a message and back; NULL with *ret_error if either way fails. */
static json_object *round_trip(json_object *o, int *ret_append, int *ret_read) {
        sd_bus *bus = test_bus();
        sd_bus_message *m = new_message(bus);
        json_object *back = NULL;

        *ret_read = 0;
        *ret_append = bus_message_append_json_dict(m, o);
        if (*ret_append >= 0) {
                seal(m);
                *ret_read = bus_message_read_json_dict(m, &back);
        }
        sd_bus_message_unref(m);
        sd_bus_close_unref(bus);
        return back;
}

static void assert_round_trip(const char *text, const char *expected) {
        json_object *o = parse(text), *e = parse(expected), *back;
        int append, read;

        back = round_trip(o, &append, &read);
        ASSERT_OK(append);
        ASSERT_OK(read);
        if (!json_object_equal(back, e))
                TEST_FAIL("%s became %s", text, json_object_to_json_string(back));
        json_object_put(o);
        json_object_put(e);
        json_object_put(back);
}

static void assert_same(const char *text) {
        assert_round_trip(text, text);
}

TEST(scalars) {
        assert_same("{}");
        assert_same("{\"s\":\"text\",\"e\":\"\",\"b\":true,\"f\":false,\"i\":-5,\"d\":2.5}");
        assert_same("{\"x\":9223372036854775807,\"m\":-9223372036854775808,\"t\":18446744073709551615}");
        assert_same("{\"x\":0,\"one\":1}");
        assert_same("{\"ünïcode\":\"…\"}");
}

TEST(arrays) {
        assert_same("{\"as\":[\"a\",\"\",\"c\"],\"ax\":[1,2,-3],\"ad\":[1.5,2.5],\"ab\":[true,false],\"none\":[]}");
        assert_same("{\"at\":[18446744073709551615,18446744073709551614]}");
        assert_same("{\"av\":[1,\"two\",[3],{\"four\":4},true]}");
        assert_same("{\"nested\":[[\"a\"],[\"b\",\"c\"]]}");
        /* Numbers of two kinds meet as doubles. */
        assert_round_trip("{\"a\":[1,2.5]}", "{\"a\":[1.0,2.5]}");
}

TEST(dicts) {
        assert_same("{\"env\":{\"A\":\"b\",\"C\":\"d\"},\"deep\":{\"x\":{\"y\":[1]}}}");
}

TEST(null_is_left_out) {
        assert_round_trip("{\"a\":null,\"b\":1}", "{\"b\":1}");
        assert_round_trip("{\"a\":[null,1,\"x\"]}", "{\"a\":[1,\"x\"]}");
        assert_round_trip("{\"a\":[null]}", "{\"a\":[]}");
}

TEST(append_refuses) {
        json_object *array = parse("[1]");
        int append, read;

        ASSERT_TRUE(!round_trip(array, &append, &read));
        ASSERT_EQ(append, -EINVAL);
        json_object_put(array);

        ASSERT_TRUE(!round_trip(NULL, &append, &read));
        ASSERT_EQ(append, -EINVAL);
}

static json_object *nested(unsigned levels) {
        json_object *o = json_object_new_object();

        for (unsigned i = 1; i < levels; i++) {
                json_object *outer = json_object_new_object();

                json_object_object_add(outer, "k", o);
                o = outer;
        }
        return o;
}

TEST(depth_append) {
        json_object *o = nested(BUS_JSON_DEPTH_MAX), *back;
        int append, read;

        back = round_trip(o, &append, &read);
        ASSERT_OK(append);
        ASSERT_OK(read);
        ASSERT_TRUE(json_object_equal(o, back));
        json_object_put(o);
        json_object_put(back);

        o = nested(BUS_JSON_DEPTH_MAX + 1);
        ASSERT_TRUE(!round_trip(o, &append, &read));
        ASSERT_EQ(append, -E2BIG);
        json_object_put(o);
}

/* What a foreign client may send: every width, maps of plain types, and what is no definition. */
static int read_from(int (*fill)(sd_bus_message *m), json_object **ret) {
        sd_bus *bus = test_bus();
        sd_bus_message *m = new_message(bus);
        int r;

        ASSERT_OK(fill(m));
        seal(m);
        r = bus_message_read_json_dict(m, ret);
        sd_bus_message_unref(m);
        sd_bus_close_unref(bus);
        return r;
}

static int fill_widths(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 9, "y", "y", 255, "n", "n", -32768, "q", "q", 65535, "i", "i",
                INT32_MIN, "u", "u", UINT32_MAX, "x", "x", INT64_MIN, "t", "t", UINT64_MAX, "o", "o", "/a/b", "g", "g", "a{sv}");
}

TEST(read_widths) {
        json_object *o = NULL, *e = parse("{\"y\":255,\"n\":-32768,\"q\":65535,\"i\":-2147483648,\"u\":4294967295,"
                "\"x\":-9223372036854775808,\"t\":18446744073709551615,\"o\":\"/a/b\",\"g\":\"a{sv}\"}");

        ASSERT_OK(read_from(fill_widths, &o));
        if (!json_object_equal(o, e))
                TEST_FAIL("read %s", json_object_to_json_string(o));
        json_object_put(o);
        json_object_put(e);
}

static int fill_containers(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 4, "env", "a{ss}", 2, "A", "1", "B", "2", "codes", "ai", 3, 0, 1, -2,
                "flags", "ab", 2, 1, 0, "wrapped", "v", "v", "s", "inner");
}

TEST(read_containers) {
        json_object *o = NULL, *e = parse("{\"env\":{\"A\":\"1\",\"B\":\"2\"},\"codes\":[0,1,-2],"
                "\"flags\":[true,false],\"wrapped\":\"inner\"}");

        ASSERT_OK(read_from(fill_containers, &o));
        if (!json_object_equal(o, e))
                TEST_FAIL("read %s", json_object_to_json_string(o));
        json_object_put(o);
        json_object_put(e);
}

static int fill_struct(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 1, "s", "(si)", "x", 1);
}

static int fill_int_keys(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 1, "k", "a{is}", 1, 1, "x");
}

static int fill_twice(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 2, "k", "i", 1, "k", "i", 2);
}

static int fill_no_bytes(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 2, "k", "i", 1, "none", "ay", 0);
}

static int fill_other(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{ss}", 1, "a", "b");
}

static int fill_nothing(sd_bus_message *m) {
        return 0;
}

TEST(read_refuses) {
        json_object *o = NULL;

        ASSERT_EQ(read_from(fill_struct, &o), -EINVAL);
        ASSERT_EQ(read_from(fill_int_keys, &o), -EINVAL);
        ASSERT_EQ(read_from(fill_twice, &o), -EINVAL);
        ASSERT_EQ(read_from(fill_other, &o), -ENXIO);
        ASSERT_EQ(read_from(fill_nothing, &o), -ENXIO);
        ASSERT_TRUE(!o);

        ASSERT_OK(read_from(fill_no_bytes, &o));
        json_object_put(o);
}

/* One a{sv} with an array of bytes of this length. */
static int read_bytes(size_t n, json_object **ret) {
        sd_bus *bus = test_bus();
        sd_bus_message *m = new_message(bus);
        void *p;
        int r;

        ASSERT_OK(sd_bus_message_open_container(m, 'a', "{sv}"));
        ASSERT_OK(sd_bus_message_open_container(m, 'e', "sv"));
        ASSERT_OK(sd_bus_message_append(m, "s", "k"));
        ASSERT_OK(sd_bus_message_open_container(m, 'v', "ay"));
        ASSERT_OK(sd_bus_message_append_array_space(m, 'y', n, &p));
        memset(p, 7, n);
        ASSERT_OK(sd_bus_message_close_container(m));
        ASSERT_OK(sd_bus_message_close_container(m));
        ASSERT_OK(sd_bus_message_close_container(m));
        seal(m);
        r = bus_message_read_json_dict(m, ret);
        sd_bus_message_unref(m);
        sd_bus_close_unref(bus);
        return r;
}

TEST(read_caps_nodes) {
        json_object *o = NULL;

        /* The outer dictionary, its key and the array are three of them. */
        ASSERT_OK(read_bytes(BUS_JSON_NODES_MAX - 3, &o));
        json_object_put(o);
        o = NULL;
        ASSERT_EQ(read_bytes(BUS_JSON_NODES_MAX - 2, &o), -E2BIG);
        ASSERT_TRUE(!o);
}

static int read_long_string(size_t n, json_object **ret) {
        sd_bus *bus = test_bus();
        sd_bus_message *m = new_message(bus);
        char *s = malloc(n + 1);
        int r;

        ASSERT_TRUE(s);
        memset(s, 'x', n);
        s[n] = 0;
        ASSERT_OK(sd_bus_message_append(m, "a{sv}", 1, "k", "s", s));
        free(s);
        seal(m);
        r = bus_message_read_json_dict(m, ret);
        sd_bus_message_unref(m);
        sd_bus_close_unref(bus);
        return r;
}

TEST(read_caps_bytes) {
        json_object *o = NULL;

        ASSERT_OK(read_long_string(BUS_JSON_BYTES_MAX - 1, &o));
        json_object_put(o);
        o = NULL;
        ASSERT_EQ(read_long_string(BUS_JSON_BYTES_MAX, &o), -E2BIG);
        ASSERT_TRUE(!o);
}

TEST(text_that_is_no_utf8) {
        char *strv[] = { (char *) "a\xff", (char *) "ok", NULL };
        const char *s, *first, *second;
        sd_bus *bus = test_bus();
        sd_bus_message *m = new_message(bus);
        _cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;

        ASSERT_OK(bus_message_append_text(m, "b\xc3"));
        ASSERT_OK(bus_message_append_text(m, NULL));
        ASSERT_OK(bus_message_append_text_strv(m, strv));
        ASSERT_OK(bus_message_append_text_strv(m, NULL));
        seal(m);

        ASSERT_OK(sd_bus_message_read(m, "s", &s));
        ASSERT_STREQ(s, "b\\xc3");
        ASSERT_OK(sd_bus_message_read(m, "s", &s));
        ASSERT_STREQ(s, "");
        ASSERT_OK(sd_bus_message_read(m, "as", 2, &first, &second));
        ASSERT_STREQ(first, "a\\xff");
        ASSERT_STREQ(second, "ok");
        ASSERT_OK(sd_bus_message_read(m, "as", 0));

        ASSERT_TRUE(bus_error_set_text(&e, SD_BUS_ERROR_FAILED, "bad \xff byte") < 0);
        ASSERT_STREQ(e.message, "bad \\xff byte");

        sd_bus_message_unref(m);
        sd_bus_close_unref(bus);
}
