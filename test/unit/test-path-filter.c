/* SPDX-License-Identifier: MIT */
#include "shared/path-filter.h"
#include "shared/strv.h"
#include "test.h"

static bool matches(const char *rules, const char *path) {
        _cleanup_(path_filter_freep) PathFilter *f = NULL;
        _cleanup_strv_free_ char **list = strv_split(rules, " ");
        const char *bad = NULL;

        assert(list);
        if (path_filter_new(list, "/srv/a+b", &f, &bad) < 0)
                return false;
        return path_filter_matches(f, path, STRLEN("/srv/a+b"));
}

TEST(rules) {
        static const struct {
                const char *rules, *path;
                bool expected;
        } rows[] = {
                { "",                      "/srv/a+b/x",                 false },
                { "node_modules",          "/srv/a+b/node_modules",      true },
                { "node_modules",          "/srv/a+b/lib/node_modules",  true },
                { "node_modules",          "/srv/a+b/node_modules_x",    false },
                { "*node_modules*",        "/srv/a+b/node_modules_x",    true },
                { ".*",                    "/srv/a+b/.git",              true },
                { ".*",                    "/srv/a+b/a.git",             false },
                { "*.log",                 "/srv/a+b/x/y.log",           true },
                { "*.log",                 "/srv/a+b/x/y.logs",          false },
                { "*.{log,tmp}",           "/srv/a+b/y.tmp",             true },
                { "*.{log,tmp}",           "/srv/a+b/y.js",              false },
                { "{x}",                   "/srv/a+b/{x}",               true },
                { "?.js",                  "/srv/a+b/a.js",              true },
                { "?.js",                  "/srv/a+b/ab.js",             false },
                { "[a-c].js",              "/srv/a+b/b.js",              true },
                { "[!a-c].js",             "/srv/a+b/b.js",              false },
                { "[a",                    "/srv/a+b/[a",                true },
                { "\\*",                   "/srv/a+b/*",                 true },
                { "\\*",                   "/srv/a+b/x",                 false },
                { "tmp/",                  "/srv/a+b/lib/tmp",           true },
                { "lib/tmp",               "/srv/a+b/lib/tmp",           true },
                { "./lib/tmp/",            "/srv/a+b/lib/tmp",           true },
                { "lib/tmp",               "/srv/a+b/x/lib/tmp",         false },
                { "**/lib/tmp",            "/srv/a+b/x/y/lib/tmp",       true },
                { "**/lib/tmp",            "/srv/a+b/lib/tmp",           true },
                { "**/lib/tmp",            "/srv/a+b/xlib/tmp",          false },
                { "lib/**",                "/srv/a+b/lib",               true },
                { "lib/**",                "/srv/a+b/lib/x/y",           true },
                { "lib/**",                "/srv/a+b/library",           false },
                { "lib/*/x",               "/srv/a+b/lib/y/x",           true },
                { "lib/*/x",               "/srv/a+b/lib/y/z/x",         false },
                { "/srv/a+b/lib",          "/srv/a+b/lib",               true },
                { "/srv/aab/lib",          "/srv/a+b/lib",               false },
                { "/[\\/\\\\]\\.|node_modules/", "/srv/a+b/.git",        true },
                { "/[\\/\\\\]\\.|node_modules/", "/srv/a+b/x/.y/z",      true },
                { "/[\\/\\\\]\\.|node_modules/", "/srv/a+b/x.y",         false },
                { "/[\\/\\\\]\\.|node_modules/", "/srv/a+b/my_node_modules/x", true },
                { "/a\\+b/",               "/srv/a+b/x",                 false }, /* the directory itself does not count */
                { "/\\d{2}\\.js$/",        "/srv/a+b/x12.js",            true },
                { "/\\d{2}\\.js$/",        "/srv/a+b/x1.js",             false },
                { "/(?:x|y)\\.JS/i",       "/srv/a+b/y.js",              true },
                { "/(?:x|y)\\.JS/",        "/srv/a+b/y.js",              false },
                { "*.log !keep.log",       "/srv/a+b/keep.log",          false },
                { "!keep.log *.log",       "/srv/a+b/keep.log",          false },
                { "!keep.log *.log",       "/srv/a+b/other.log",         true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (matches(rows[i].rules, rows[i].path) != rows[i].expected)
                        TEST_FAIL("'%s' and '%s': not %d", rows[i].rules, rows[i].path, rows[i].expected);
}

TEST(bad_rules_are_named) {
        static const char *const bad_rules[] = { "/(/", "/a(?=b)/", "/*/", "!/[/" };

        for (size_t i = 0; i < ELEMENTSOF(bad_rules); i++) {
                _cleanup_(path_filter_freep) PathFilter *f = NULL;
                char *rules[] = { (char *) "fine", (char *) bad_rules[i], NULL };
                const char *bad = NULL;
                int r = path_filter_new(rules, "/", &f, &bad);

                if (r >= 0)
                        TEST_FAIL("'%s' is taken", bad_rules[i]);
                ASSERT_EQ(r, -EINVAL);
                ASSERT_STREQ(bad, bad_rules[i]);
        }
}

TEST(what_is_a_glob) {
        ASSERT_TRUE(string_is_glob("src/*.js"));
        ASSERT_TRUE(string_is_glob("{a,b}"));
        ASSERT_TRUE(string_is_glob("[ab]"));
        ASSERT_TRUE(!string_is_glob("src/a.js"));
        ASSERT_TRUE(!string_is_glob("a\\*"));
}

TEST(no_filter_matches_nothing) {
        ASSERT_TRUE(!path_filter_matches(NULL, "/a", 0));
}
