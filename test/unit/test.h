/* SPDX-License-Identifier: MIT */
#pragma once

/* A test program is a file with TEST(name) { … } blocks and nothing else; it speaks TAP. An assertion that fails ends
 * its test, not the program. */

#include <setjmp.h>
#include <stdio.h>

#include "shared/macro.h"
#include "shared/string-util.h"

typedef struct Test {
        const char *name;
        void (*run)(void);
        struct Test *next;
} Test;

extern Test *test_first, **test_last;
extern jmp_buf test_escape;

#define TEST(id)                                                                        \
        static void test_##id(void);                                                    \
        __attribute__((constructor)) static void test_register_##id(void) {             \
                static Test t = { #id, test_##id, NULL };                               \
                *test_last = &t;                                                        \
                test_last = &t.next;                                                    \
        }                                                                               \
        static void test_##id(void)

#define TEST_FAIL(format, ...)                                                          \
        do {                                                                            \
                printf("# %s:%d: " format "\n", __FILE__, __LINE__, __VA_ARGS__);       \
                longjmp(test_escape, 1);                                                \
        } while (false)

#define ASSERT_TRUE(expr)                                                               \
        do {                                                                            \
                if (!(expr))                                                            \
                        TEST_FAIL("%s is false", #expr);                                \
        } while (false)

#define ASSERT_OK(expr)                                                                 \
        do {                                                                            \
                long long _r = (long long) (expr);                                      \
                if (_r < 0)                                                             \
                        TEST_FAIL("%s is %lld (%s)", #expr, _r, strerror((int) -_r));   \
        } while (false)

#define ASSERT_EQ(a, b)                                                                 \
        do {                                                                            \
                long long _a = (long long) (a), _b = (long long) (b);                   \
                if (_a != _b)                                                           \
                        TEST_FAIL("%s is %lld, not %lld", #a, _a, _b);                  \
        } while (false)

#define ASSERT_STREQ(a, b)                                                              \
        do {                                                                            \
                const char *_a = (a), *_b = (b);                                        \
                if (!streq_ptr(_a, _b))                                                 \
                        TEST_FAIL("%s is \"%s\", not \"%s\"", #a, strna(_a), strna(_b)); \
        } while (false)

/* Every name of an enum's string table leads back to its value, and what is outside has no name. */
#define ASSERT_STRING_TABLE(name, max)                                                  \
        do {                                                                            \
                for (int _i = 0; _i < (int) (max); _i++) {                              \
                        ASSERT_TRUE(name##_to_string(_i));                              \
                        ASSERT_EQ(name##_from_string(name##_to_string(_i)), _i);        \
                }                                                                       \
                ASSERT_TRUE(!name##_to_string(max));                                    \
                ASSERT_TRUE(!name##_to_string(-EINVAL));                                \
                ASSERT_EQ(name##_from_string("no such name"), -EINVAL);                 \
        } while (false)
