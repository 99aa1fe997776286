/* SPDX-License-Identifier: MIT */
#include "shared/app-config-saved.h"
#include "shared/env-util.h"
#include "shared/strv.h"
#include "test.h"
#include "tree.h"

static AppConfig *config_of(const char *json) {
        json_object *o = json_tokener_parse(json);
        char *fault = NULL;
        AppConfig *c;

        if (!o || app_config_new(&c) < 0 || app_config_set_all(c, o, &fault) < 0 || app_config_finish(c, NULL, &fault) < 0) {
                printf("# %s\n", strna(fault));
                abort();
        }
        json_object_put(o);
        return c;
}

static json_object *saved_of(const AppConfig *c) {
        json_object *o;

        if (app_config_save(c, &o) < 0)
                abort();
        return o;
}

typedef struct Outcome {
        AppConfig *config;
        int r, error;
        char *fault, *notes, *why;
} Outcome;

static void outcome_done(Outcome *o) {
        app_config_unref(o->config);
        free(o->fault);
        free(o->notes);
        free(o->why);
}

static Outcome restore(json_object *saved) {
        Outcome o = {};

        o.r = app_config_restore(saved, &o.config, &o.error, &o.fault, &o.notes, &o.why);
        json_object_put(saved);
        return o;
}

static void assert_same(const AppConfig *a, const AppConfig *b) {
        json_object *x, *y;

        ASSERT_STREQ(a->name, b->name);
        ASSERT_STREQ(a->exec_path, b->exec_path);
        ASSERT_STREQ(a->cwd, b->cwd);
        ASSERT_STREQ(a->interpreter, b->interpreter);
        ASSERT_STREQ(a->interpreter_path, b->interpreter_path);
        ASSERT_STREQ(a->version, b->version);
        ASSERT_TRUE(strv_equal(a->args, b->args));
        ASSERT_TRUE(strv_equal(a->env, b->env));
        ASSERT_EQ(a->shell, b->shell);
        ASSERT_EQ(a->exec_mode, b->exec_mode);
        ASSERT_EQ(a->instances, b->instances);
        ASSERT_EQ(a->merge_logs, b->merge_logs);
        ASSERT_EQ(a->kill_timeout, b->kill_timeout);
        ASSERT_OK(app_config_to_json(a, &x));
        ASSERT_OK(app_config_to_json(b, &y));
        ASSERT_TRUE(json_object_equal(x, y));
        json_object_put(x);
        json_object_put(y);
}

/* script, then what else the definition says */
static char *definition(const char *dir, const char *script, const char *more) {
        return strjoin("{\"cwd\":\"", dir, "\",\"script\":\"", script, "\",\"env\":[\"PATH=/usr/bin:/bin\",\"A=b\"],\"kill_timeout\":\"3s\"", more, "}");
}

static const struct {
        const char *script, *more;
} rows[] = {
        { "app.sh", "" },
        { "app.sh", ",\"name\":\"x\",\"args\":[\"-a\",\"b c\"],\"instances\":3" },
        { "app.sh", ",\"interpreter\":\"/bin/sh\",\"interpreter_args\":[\"-e\"]" },
        { "sleep", ",\"interpreter\":\"none\",\"args\":\"100\"" },
        { "while :; do sleep 1; done", "" },
        { "while :; do sleep 1; done", ",\"name\":\"loop\",\"args\":[\"more\"]" },
};

TEST(what_is_saved_is_restored) {
        _cleanup_(tree_remove) char *dir = tree_new();

        free(tree_write(dir, "app.sh", "x", 1, 0755));
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *json = definition(dir, rows[i].script, rows[i].more);
                _cleanup_app_config_unref_ AppConfig *c = config_of(json);
                _cleanup_(outcome_done) Outcome o = restore(saved_of(c));

                ASSERT_OK(o.r);
                ASSERT_EQ(o.error, 0);
                ASSERT_TRUE(!o.fault && !o.notes);
                assert_same(c, o.config);
        }
}

/* With the directory gone, nothing can be derived any more. */
TEST(what_is_missing_loses_nothing) {
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(tree_remove) char *dir = tree_new();
                _cleanup_free_ char *script = tree_write(dir, "app.sh", "x", 1, 0755), *json = definition(dir, rows[i].script, rows[i].more);
                _cleanup_app_config_unref_ AppConfig *c = config_of(json);
                _cleanup_(outcome_done) Outcome o = {};

                ASSERT_OK(unlink(script));
                ASSERT_OK(rmdir(dir));
                o = restore(saved_of(c));
                ASSERT_OK(o.r);
                ASSERT_EQ(o.error, -ENOENT);
                ASSERT_TRUE(strstr(o.fault, dir));
                assert_same(c, o.config);
        }
}

TEST(a_missing_script) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *script = tree_write(dir, "app.sh", "x", 1, 0755), *json = definition(dir, "app.sh", "");
        _cleanup_app_config_unref_ AppConfig *c = config_of(json);
        _cleanup_(outcome_done) Outcome o = {};

        ASSERT_OK(unlink(script));
        o = restore(saved_of(c));
        ASSERT_OK(o.r);
        ASSERT_EQ(o.error, -ENOENT);
        ASSERT_TRUE(startswith(o.fault, "Script not found: "));
        assert_same(c, o.config);
}

TEST(options_of_another_version) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *script = tree_write(dir, "app.sh", "x", 1, 0755), *json = definition(dir, "app.sh", "");
        _cleanup_app_config_unref_ AppConfig *c = config_of(json);
        json_object *saved = saved_of(c), *given;
        _cleanup_(outcome_done) Outcome o = {};

        ASSERT_TRUE(json_object_object_get_ex(saved, "definition", &given));
        (void) json_object_object_add(given, "warp_factor", json_object_new_int(9));
        (void) json_object_object_add(given, "min_uptime", json_object_new_string("12Q"));
        o = restore(saved);
        ASSERT_OK(o.r);
        ASSERT_EQ(o.error, 0);
        ASSERT_TRUE(strstr(o.notes, "warp_factor: ") && strstr(o.notes, "min_uptime: "));
        assert_same(c, o.config);
}

TEST(what_is_of_no_use) {
        static const char *const texts[] = {
                "{}", "[]", "null", "{\"definition\":{}}", "{\"definition\":[],\"environment\":[]}", "{\"definition\":{},\"environment\":{}}",
                "{\"definition\":{},\"environment\":[\"novalue\"]}", "{\"definition\":{},\"environment\":[]}",
                "{\"definition\":{\"script\":\"/nowhere\",\"cwd\":\"/\"},\"environment\":[],\"resolved\":{}}",
                "{\"definition\":{\"script\":\"/nowhere\",\"cwd\":\"/\"},\"environment\":[],\"resolved\":{\"name\":\"../x\",\"exec_path\":\"/x\",\"interpreter\":\"none\",\"exec_mode\":\"fork_mode\",\"instances\":1,\"version\":\"N/A\"}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(outcome_done) Outcome o = restore(json_tokener_parse(texts[i]));

                ASSERT_EQ(o.r, -EINVAL);
                ASSERT_TRUE(o.why && !o.config);
        }
}
