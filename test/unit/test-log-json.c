/* SPDX-License-Identifier: MIT */
#include "shared/log-json.h"
#include "test.h"

static bool has_field(const LogJson *j, const char *field) {
        return memmem(j->fields, j->n_fields, field, strlen(field)) != NULL;
}

static int parse(const char *line, LogJson *ret) {
        return log_json_parse(line, strlen(line), ret);
}

TEST(levels) {
        static const struct {
                const char *level;
                int priority;
        } rows[] = {
                { "10", 7 }, { "20", 7 }, { "30", 6 }, { "40", 4 }, { "50", 3 }, { "60", 2 }, { "35", 6 }, { "3", 3 }, { "0", 0 },
                { "silly", 7 }, { "debug", 7 }, { "verbose", 7 }, { "http", 6 }, { "INFO", 6 }, { "notice", 5 }, { "warn", 4 },
                { "Warning", 4 }, { "error", 3 }, { "fatal", 2 }, { "emerg", 0 }, { "loud", -EINVAL }, { "-1", -EINVAL }, { "", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                ASSERT_EQ(log_json_level(rows[i].level), rows[i].priority);
}

TEST(pino) {
        LogJson j;

        ASSERT_EQ(parse("{\"level\":50,\"time\":1786082704321,\"pid\":17,\"req\":{\"url\":\"/x\"},\"msg\":\"two\\nlines\"}", &j), 1);
        ASSERT_EQ(j.priority, 3);
        ASSERT_EQ(j.n_message, strlen("two lines"));
        ASSERT_STREQ(j.message, "two lines");
        ASSERT_TRUE(has_field(&j, "PID=17\n"));
        ASSERT_TRUE(has_field(&j, "REQ={\"url\":\"/x\"}\n"));
        log_json_done(&j);
}

TEST(winston) {
        LogJson j;

        ASSERT_EQ(parse("{\"level\":\"warn\",\"message\":\"hm\",\"user-id\":\"a\\nb\"} ", &j), 1);
        ASSERT_EQ(j.priority, 4);
        ASSERT_STREQ(j.message, "hm");
        ASSERT_TRUE(memmem(j.fields, j.n_fields, "USER_ID\n\3\0\0\0\0\0\0\0a\nb\n", 20));
        log_json_done(&j);
}

TEST(what_would_mislead_is_left_out) {
        LogJson j;

        ASSERT_EQ(parse("{\"PM_APP\":\"x\",\"pm_id\":1,\"_uid\":0,\"object_pid\":1,\"message_id\":\"y\",\"unit\":\"z\",\"1st\":1,\"\":2,\"priority\":0}", &j), 1);
        ASSERT_EQ(j.n_fields, 0);
        ASSERT_EQ(j.priority, -1);
        ASSERT_TRUE(!j.message);
        log_json_done(&j);
}

TEST(many_fields) {
        _cleanup_free_ char *line = strdup("{");
        size_t n = 0;
        LogJson j;

        for (unsigned i = 0; i < 1000; i++) {
                char *next = strprintf("%s\"k%u\":1%s", line, i, i == 999 ? "}" : ",");

                free(line);
                line = next;
        }
        ASSERT_EQ(parse(line, &j), 1);
        for (size_t i = 0; i < j.n_fields; i++)
                n += j.fields[i] == '\n';
        ASSERT_EQ(n, LOG_JSON_FIELDS_MAX);
        log_json_done(&j);
}

TEST(no_objects) {
        static const char *const lines[] = { "", "{", "x", "[1]", "{\"a\":1} x", "{\"a\":}", "\"{}\"", "{\"a\":1" };
        LogJson j;

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                ASSERT_EQ(parse(lines[i], &j), 0);
        ASSERT_EQ(parse("{}", &j), 1);
        log_json_done(&j);
}
