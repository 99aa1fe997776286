/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "pmd/app.h"
#include "pmd/event-bus.h"
#include "pmd/input-pipe.h"
#include "pmd/manager.h"
#include "pmd/process-report.h"
#include "shared/string-util.h"
#include "test.h"

/* A process of an app "web", and a bus on which somebody listens. */
typedef struct Fixture {
        Manager manager;
        App app;
        Process process;
        EventSink sink;
        unsigned n_events;
        char *name, *packet; /* of the last one */
} Fixture;

static bool wants(const char *name, void *userdata) {
        return !streq(name, "unwanted");
}

static void publish(const char *name, const char *json, size_t n, void *userdata) {
        Fixture *f = userdata;

        f->n_events++;
        ASSERT_EQ(strlen(json), n);
        ASSERT_OK(free_and_strdup(&f->name, name));
        ASSERT_OK(free_and_strdup(&f->packet, json));
}

static void fixture_init(Fixture *f) {
        AppConfig *c;

        *f = (Fixture) { .app = { .name = (char *) "web", .manager = &f->manager } };
        ASSERT_OK(app_config_new(&c));
        ASSERT_OK(free_and_strdup(&c->name_space, "default"));
        process_init(&f->process, NULL, &f->app, c, 7, 0);
        app_config_unref(c);
        f->process.manager = &f->manager;
        f->sink = (EventSink) { wants, publish, f };
        f->manager.event_sink = &f->sink;
}

static void fixture_done(Fixture *f) {
        f->process.report = process_report_free(f->process.report);
        app_config_unref(f->process.config);
        free(f->name);
        free(f->packet);
}

static void send_message(Fixture *f, const char *json) {
        manager_process_message(&f->process, json, strlen(json));
}

/* The member of the packet as JSON, "(none)" without one. */
static const char *member(const char *packet, const char *key, char buf[static 256]) {
        json_object *o = json_tokener_parse(packet), *value;

        (void) snprintf(buf, 256, "%s",
                        !json_object_object_get_ex(o, key, &value) ? "(none)" :
                        value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "null");
        json_object_put(o);
        return buf;
}

TEST(messages) {
        static const struct {
                const char *message, *name, *raw, *data;
        } cases[] = {
                { "\"plain\"", "process:msg", "\"plain\"", "(none)" },
                { "null", "process:msg", "null", "(none)" },
                { "true", "process:msg", "true", "(none)" },
                { "12", "process:msg", "12", "(none)" },
                { "[1,2]", "process:msg", "[1,2]", "(none)" },
                { "{}", "process:msg", "{}", "(none)" },
                { "{\"data\":5}", "process:msg", "{\"data\":5}", "(none)" },
                { "{\"type\":\"t\"}", "process:msg", "{\"type\":\"t\"}", "(none)" },
                { "{\"type\":\"t\",\"data\":0}", "process:msg", "{\"type\":\"t\",\"data\":0}", "(none)" },
                { "{\"type\":\"\",\"data\":1}", "process:msg", "{\"type\":\"\",\"data\":1}", "(none)" },
                { "{\"type\":\"a\\u0000b\",\"data\":1}", "process:msg", "{\"type\":\"a\\u0000b\",\"data\":1}", "(none)" },
                { "{\"type\":\"my\",\"data\":{\"z\":1}}", "my", "(none)", "{\"z\":1}" },
                { "{\"type\":\"my\",\"data\":\"/\"}", "my", "(none)", "\"/\"" },
                { "{\"type\":5,\"data\":[]}", "5", "(none)", "[]" },
                { "{\"type\":\"process:msg\",\"data\":{\"q\":1}}", "process:msg", "(none)", "{\"q\":1}" },
                { "{\"type\":\"axm:reply\",\"data\":{\"action_name\":\"x\"}}", "axm:reply", "(none)", "{\"action_name\":\"x\"}" },
        };
        Fixture f;
        char buf[256];

        fixture_init(&f);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                send_message(&f, cases[i].message);
                ASSERT_EQ(f.n_events, i + 1);
                ASSERT_STREQ(f.name, cases[i].name);
                ASSERT_STREQ(member(f.packet, "raw", buf), cases[i].raw);
                ASSERT_STREQ(member(f.packet, "data", buf), cases[i].data);
                ASSERT_STREQ(member(f.packet, "process", buf), "{\"pm_id\":7,\"name\":\"web\",\"namespace\":\"default\"}");
                ASSERT_TRUE(atoll(member(f.packet, "at", buf)) > 1600000000000);
        }
        fixture_done(&f);
}

TEST(no_messages) {
        static const char *const cases[] = { "", "{", "nul", "{\"a\":1} x", "\"\xff\"", "'a'", "1 2" };
        Fixture f;

        fixture_init(&f);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                send_message(&f, cases[i]);
        send_message(&f, "{\"type\":\"unwanted\",\"data\":1}");
        ASSERT_EQ(f.n_events, 0u);
        fixture_done(&f);
}

TEST(reports) {
        static const char *const own[] = {
                "{\"type\":\"axm:action\",\"data\":{\"action_name\":\"hello\",\"arity\":0}}",
                "{\"type\":\"axm:action\",\"data\":{\"action_name\":\"hello\",\"arity\":1}}",
                "{\"type\":\"axm:monitor\",\"data\":{\"a\":{\"value\":1}}}",
                "{\"type\":\"axm:monitor\",\"data\":{\"b\":{\"value\":2}}}",
                "{\"type\":\"axm:option:configuration\",\"data\":{\"x\":1}}",
                "{\"type\":\"axm:option:setPID\",\"data\":1}",
                "{\"node_version\":\"20.1.0\"}",
        };
        json_object *o;
        Fixture f;

        fixture_init(&f);
        f.manager.event_sink = NULL; /* they are kept though nobody listens */
        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                send_message(&f, own[i]);
        f.manager.event_sink = &f.sink;
        send_message(&f, own[6]);
        ASSERT_EQ(f.n_events, 0u);

        o = process_report_to_json(f.process.report);
        ASSERT_STREQ(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
                     "{\"axm_actions\":[{\"action_name\":\"hello\",\"arity\":1}],\"axm_monitor\":{\"a\":{\"value\":1},\"b\":{\"value\":2}},"
                     "\"axm_options\":{\"x\":1},\"node_version\":\"20.1.0\"}");
        json_object_put(o);
        ASSERT_TRUE(process_report_has_action(f.process.report, "hello"));
        ASSERT_TRUE(!process_report_has_action(f.process.report, "nope"));
        ASSERT_EQ(f.process.report->n_refused, 0u);
        fixture_done(&f);
}

TEST(reports_are_bounded) {
        const size_t n = 100 * 1024;
        char message[256], *large;
        size_t head;
        Fixture f;

        fixture_init(&f);
        for (unsigned i = 0; i < 1000; i++) {
                (void) snprintf(message, sizeof message, "{\"type\":\"axm:action\",\"data\":{\"action_name\":\"a%u\"}}", i);
                send_message(&f, message);
                (void) snprintf(message, sizeof message, "{\"type\":\"axm:monitor\",\"data\":{\"m%u\":{\"value\":%u}}}", i, i);
                send_message(&f, message);
        }
        ASSERT_EQ(json_object_array_length(f.process.report->actions), 128u);
        ASSERT_EQ(json_object_object_length(f.process.report->metrics), 256);
        ASSERT_EQ(f.process.report->n_refused, 1000u - 128 + 1000 - 256);

        /* What is known can be changed still; what is too large is not taken. */
        send_message(&f, "{\"type\":\"axm:monitor\",\"data\":{\"m0\":{\"value\":-1}}}");
        ASSERT_EQ(json_object_get_int(json_object_object_get(json_object_object_get(f.process.report->metrics, "m0"), "value")), -1);
        large = new0(char, n + 128);
        ASSERT_TRUE(large);
        head = (size_t) sprintf(large, "{\"type\":\"axm:option:configuration\",\"data\":{\"x\":\"");
        memset(large + head, 'y', n);
        (void) strcpy(large + head + n, "\"}}");
        send_message(&f, large);
        ASSERT_EQ(json_object_object_length(f.process.report->options), 0);
        ASSERT_EQ(f.n_events, 0u);
        free(large);
        fixture_done(&f);
}

TEST(skipped) {
        _cleanup_free_ char *packet = event_bus_skipped_packet(12);
        char buf[256];

        ASSERT_STREQ(member(packet, "skipped", buf), "12");
}

/* ---- standard input ---- */

static void open_pipe(sd_event *event, InputPipe **ret_pipe, int *ret_fd) {
        int fds[2];

        ASSERT_OK(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        ASSERT_OK(input_pipe_new(event, fds[1], ret_pipe));
        *ret_fd = fds[0];
}

TEST(input) {
        sd_event *event = NULL;
        char text[4096], buf[65536];
        size_t sent = 0, got = 0;
        InputPipe *p;
        ssize_t n;
        int fd, r;

        ASSERT_TRUE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        ASSERT_OK(sd_event_new(&event));
        open_pipe(event, &p, &fd);
        memset(text, 'x', sizeof text);

        /* As a whole or not at all: the pipe, and as much again. */
        while ((r = input_pipe_write(p, text, sizeof text)) >= 0)
                sent += sizeof text;
        ASSERT_EQ(r, -ENOBUFS);
        ASSERT_EQ(sent, 2 * (size_t) 65536);

        while (got < sent) {
                n = read(fd, buf, sizeof buf);
                if (n > 0)
                        got += (size_t) n;
                ASSERT_OK(sd_event_run(event, 0));
        }
        ASSERT_EQ(got, sent);
        ASSERT_OK(input_pipe_write(p, "line\n", 5));
        ASSERT_EQ(read(fd, buf, sizeof buf), 5);

        (void) close(fd);
        ASSERT_EQ(input_pipe_write(p, "line\n", 5), -EPIPE);
        input_pipe_free(p);
        sd_event_unref(event);
}
