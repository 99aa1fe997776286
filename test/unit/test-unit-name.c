/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "shared/unit-name.h"

static void check_escape(const char *s, const char *expected) {
        _cleanup_free_ char *escaped = unit_name_escape(s);

        ASSERT_STREQ(escaped, expected);
}

TEST(escapes) {
        check_escape("api", "api");
        check_escape("Az09:_.", "Az09:_.");
        check_escape(".hidden", "\\x2ehidden");
        check_escape("my-app", "my\\x2dapp");
        check_escape("a/b", "a-b");
        check_escape("a b\\c@d", "a\\x20b\\x5cc\\x40d");
        check_escape("\xc3\xa9", "\\xc3\\xa9");
        check_escape("", "");
}

static void check_slice(const char *app, bool user, const char *expected) {
        _cleanup_free_ char *name = NULL;

        ASSERT_OK(unit_name_slice(app, user, &name));
        ASSERT_STREQ(name, expected);
}

TEST(slice) {
        check_slice("api", false, "pm-api.slice");
        check_slice("api", true, "app-pm-api.slice");
        check_slice("my-app", false, "pm-my\\x2dapp.slice");
}

static void check_scope(const char *app, bool user, const char *expected) {
        _cleanup_free_ char *name = NULL;

        ASSERT_OK(unit_name_scope(app, 0, 17, user, &name));
        ASSERT_STREQ(name, expected);
}

TEST(scope) {
        check_scope("api", false, "pm-api-0-17.scope");
        check_scope("api", true, "app-pm-api-0-17.scope");
        check_scope("my-app", false, "pm-my\\x2dapp-0-17.scope");
}

/* "pm-" and ".slice" leave 246 of the 255 bytes. */
TEST(length) {
        char app[248];
        char *name = NULL;

        memset(app, 'x', sizeof(app));
        app[246] = 0;
        ASSERT_OK(unit_name_slice(app, false, &name));
        ASSERT_EQ(strlen(name), 255);
        name = mfree(name);

        app[246] = 'x';
        app[247] = 0;
        ASSERT_EQ(unit_name_slice(app, false, &name), -ENAMETOOLONG);
        ASSERT_EQ(unit_name_scope(app, 0, 1, false, &name), -ENAMETOOLONG);
        ASSERT_TRUE(!name);
}
