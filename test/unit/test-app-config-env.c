/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "shared/app-config.h"
#include "shared/env-file.h"
#include "shared/env-util.h"
#include "shared/strv.h"
#include "tree.h"

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

/* ---- files ---- */

static const struct {
        const char *text;
        const char *joined; /* NULL: refused */
        unsigned line;
} files[] = {
        { "", "" },
        { "\n\n# A=1\n   # B=2\n", "" },
        { "A=1", "A=1" },
        { "A=1\nB = 2 \r\nexport C=3\n", "A=1|B=2|C=3" },
        { "A=x # y\n", "A=x # y" },
        { "A=\nB=\"\"\nC=''", "A=|B=|C=" },
        { "A='a \"b\" \\n' # comment\n", "A=a \"b\" \\n" },
        { "A=\"a\\tb\\\"c\\$d\\\\e\\f\"\n", "A=a\tb\"c$d\\e\\f" },
        { "A=\"x\ny\"\nB=1", "A=x\ny|B=1" },
        { "A=\"x\\\ny\"\nB=1", "A=xy|B=1" },
        { "A=$HOME\n", "A=$HOME" },
        { "A=1\nA=2\n", "A=2" },
        { "exported=1\n", "exported=1" },
        { "a.b=1", "a.b=1" },
        { "A=1\nB\n", NULL, 2 },
        { "=1\n", NULL, 1 },
        { "A B=1\n", NULL, 1 },
        { "export #A=1\n", NULL, 1 },
        { "'A'=1\n", NULL, 1 },
        { "A=\"x\n\ny", NULL, 3 },
        { "A='x\n", NULL, 2 },
        { "A='x\ny' z\n", NULL, 2 },
        { "A=\"x\"y\n", NULL, 1 },
        { "A=\xff\n", NULL, 1 },
};

TEST(env_file_parse) {
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_strv_free_ char **env = NULL;
                _cleanup_free_ char *joined = NULL;
                const char *why = NULL;
                unsigned line = 0;
                int r;

                printf("# %zu\n", i);
                r = env_file_parse(files[i].text, strlen(files[i].text), &env, &line, &why);
                if (!files[i].joined) {
                        ASSERT_EQ(r, -EINVAL);
                        ASSERT_EQ(line, files[i].line);
                        ASSERT_TRUE(!isempty(why));
                        continue;
                }
                ASSERT_OK(r);
                joined = strv_join(env, "|");
                ASSERT_STREQ(joined, files[i].joined);
        }
}

TEST(env_file_parse_nul) {
        _cleanup_strv_free_ char **env = NULL;
        const char *why = NULL;
        unsigned line = 0;

        ASSERT_EQ(env_file_parse("A=1\0B=2", 7, &env, &line, &why), -EINVAL);
        ASSERT_TRUE(strstr(why, "NUL"));
}

/* ---- the environment of an app ---- */

static char *const caller[] = { (char *) "PATH=/bin", (char *) "NODE_ENV=x", (char *) "NODE_OPTIONS=y", (char *) "A=caller", (char *) "B=caller", NULL };

static AppConfig *config(const char *json) {
        _cleanup_(json_object_putp) json_object *object = json_tokener_parse(json);
        AppConfig *c;

        if (!object || app_config_new(&c) < 0 || app_config_set_all(c, object, NULL) < 0)
                abort();
        return c;
}

static const struct {
        const char *json, *joined;
} filters[] = {
        { "{}", "PATH=/bin|NODE_ENV=x|NODE_OPTIONS=y|A=caller|B=caller" },
        { "{\"filter_env\":true}", "" },
        { "{\"filter_env\":\"NODE_ENV\"}", "PATH=/bin|NODE_OPTIONS=y|A=caller|B=caller" },
        { "{\"filter_env\":\"NODE_\"}", "PATH=/bin|NODE_ENV=x|NODE_OPTIONS=y|A=caller|B=caller" },
        { "{\"filter_env\":[\"NODE_\",\"TH\"]}", "A=caller|B=caller" },
        { "{\"filter_env\":[\"NODE_\",\"A\"],\"env\":{\"A\":1,\"NODE_Z\":2}}", "B=caller|A=1|NODE_Z=2" },
        { "{\"env\":{\"A\":\"own\",\"C\":3}}", "PATH=/bin|NODE_ENV=x|NODE_OPTIONS=y|A=own|B=caller|C=3" },
};

TEST(filter_env) {
        for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config(filters[i].json);
                _cleanup_free_ char *joined = NULL;

                printf("# %s\n", filters[i].json);
                ASSERT_OK(app_config_make_env(c, caller, "/", NULL));
                joined = strv_join(c->env, "|");
                ASSERT_STREQ(joined, filters[i].joined);
        }
}

static void write_text(const char *dir, const char *name, const char *text) {
        free(tree_write(dir, name, text, strlen(text), 0600));
}

TEST(env_file) {
        _cleanup_app_config_unref_ AppConfig *c = config(
                "{\"cwd\":\"sub\",\"env_file\":[\"one\",\"-missing\",\"../two\"],\"env\":{\"C\":\"own\"}}"),
                                             *missing = config("{\"env_file\":\"none\"}"), *bad = config("{\"env_file\":\"bad\"}");
        _cleanup_(tree_remove) char *base = tree_new();
        _cleanup_free_ char *err = NULL;

        write_text(base, "sub/one", "A=one\nB=one\nC=one\n");
        write_text(base, "two", "B=two\n");
        write_text(base, "bad", "A=1\nnonsense\n");

        ASSERT_OK(app_config_make_env(c, caller, base, NULL));
        ASSERT_STREQ(strv_env_get(c->env, "A"), "one");
        ASSERT_STREQ(strv_env_get(c->env, "B"), "two");
        ASSERT_STREQ(strv_env_get(c->env, "C"), "own");
        ASSERT_STREQ(strv_env_get(c->env, "PATH"), "/bin");

        ASSERT_EQ(app_config_make_env(missing, caller, base, &err), -ENOENT);
        ASSERT_TRUE(startswith(err, "env_file: '") && strstr(err, "/none' cannot be read: No such file"));
        ASSERT_TRUE(strv_isempty(missing->env));

        err = mfree(err);
        ASSERT_EQ(app_config_make_env(bad, caller, base, &err), -EINVAL);
        ASSERT_TRUE(strstr(err, "/bad:2: there is no '='"));
}

TEST(working_directory) {
        _cleanup_app_config_unref_ AppConfig *given = config("{\"cwd\":\"sub\"}"), *own = config("{\"cwd\":\"sub\",\"env\":{\"PWD\":\"/x\"}}"),
                                             *none = config("{}"), *unread = config("{\"cwd\":\"/sub\"}");
        char *here[] = { (char *) "PWD=/caller", NULL };

        ASSERT_OK(app_config_make_env(given, here, "/base", NULL));
        ASSERT_STREQ(strv_env_get(given->env, "PWD"), "/base/sub");
        ASSERT_OK(app_config_make_env(own, here, "/base", NULL));
        ASSERT_STREQ(strv_env_get(own->env, "PWD"), "/x");
        ASSERT_OK(app_config_make_env(none, here, "/base", NULL));
        ASSERT_STREQ(strv_env_get(none->env, "PWD"), "/caller");
        ASSERT_OK(app_config_make_env(unread, here, NULL, NULL));
        ASSERT_STREQ(strv_env_get(unread->env, "PWD"), "/caller");
}
