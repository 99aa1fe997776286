/* SPDX-License-Identifier: MIT */
#include "shared/listen-address.h"
#include "shared/string-util.h"
#include "test.h"

TEST(addresses_have_one_text) {
        static const struct {
                const char *given, *text;
        } cases[] = {
                { "tcp://0.0.0.0:8080", "tcp://0.0.0.0:8080" },
                { "tcp://*:80", "tcp://*:80" },
                { "tcp://:80", "tcp://*:80" },
                { "80", "tcp://*:80" },
                { "127.0.0.1:65535", "tcp://127.0.0.1:65535" },
                { "tcp://[::1]:1", "tcp://[::1]:1" },
                { "[::]:443", "tcp://[::]:443" },
                { "udp://127.0.0.1:53", "udp://127.0.0.1:53" },
                { "unix:///run/app.sock", "unix:///run/app.sock" },
                { "/run/app.sock", "unix:///run/app.sock" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_listen_address_ ListenAddress a = {}, again = {};
                _cleanup_free_ char *text = NULL, *second = NULL;
                const char *fault;

                ASSERT_OK(listen_address_parse(cases[i].given, &a, &fault));
                text = listen_address_to_string(&a);
                ASSERT_STREQ(text, cases[i].text);
                ASSERT_OK(listen_address_parse(text, &again, &fault));
                second = listen_address_to_string(&again);
                ASSERT_STREQ(second, text);
        }
}

TEST(faults_are_told) {
        static const char *const cases[] = {
                "", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65536", "tcp://localhost:80", "tcp://::1:80",
                "tcp://[::1]", "tcp://[::1:80", "tcp://[127.0.0.1]:80", "http://1.2.3.4:80", "unix://run/app.sock", "unix://", "tcp://1.2.3.4:80x", ":", "[",
                "tcp://[]:80", "-1",
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_listen_address_ ListenAddress a = {};
                const char *fault = NULL;

                if (listen_address_parse(cases[i], &a, &fault) != -EINVAL || !fault)
                        TEST_FAIL("%s", cases[i]);
        }
}

TEST(long_paths_do_not_fit) {
        _cleanup_listen_address_ ListenAddress a = {};
        char path[200];
        const char *fault;

        memset(path, 'a', sizeof(path));
        path[0] = '/';
        path[107] = 0;
        ASSERT_OK(listen_address_parse(path, &a, &fault));
        path[107] = 'a';
        path[108] = 0;
        ASSERT_EQ(listen_address_parse(path, &a, &fault), -EINVAL);
}

TEST(names) {
        ASSERT_STRING_TABLE(listen_kind, _LISTEN_KIND_MAX);
}
