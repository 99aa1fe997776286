/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "shared/env-util.h"
#include "shared/log.h"
#include "shared/settings.h"
#include "shared/strv.h"
#include "test.h"
#include "tree.h"

static int load(const char *dir, const char *text, Conf *ret, char **ret_faults) {
        Instance *i;
        int r;

        free(tree_write(dir, SETTINGS_FILE, text, strlen(text), 0644));
        r = instance_new(INSTANCE_PRIVATE, dir, &i);
        if (r >= 0)
                r = settings_load(i, ret, ret_faults);
        instance_free(i);
        return r;
}

TEST(defaults_are_valid) {
        const Setting *table;
        size_t n;

        table = settings_table(&n);
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *fault = NULL;

                ASSERT_OK(setting_check(table + i, table[i].default_value, &fault));
                ASSERT_TRUE(setting_find(table[i].key) == table + i);
                ASSERT_TRUE(!table[i].option || app_option_find(table[i].option));
                ASSERT_EQ(setting_check(table + i, "12Q", &fault), -EINVAL);
                ASSERT_TRUE(startswith(fault, table[i].key));
        }
}

/* A definition that says nothing is the same with the default values and without. */
TEST(defaults_are_those_of_definitions) {
        _cleanup_conf_ Conf c = {};
        AppConfig *a, *b;
        const Setting *table;
        size_t n;

        table = settings_table(&n);
        for (size_t i = 0; i < n; i++)
                ASSERT_OK(conf_set(&c, SETTINGS_SECTION, table[i].key, table[i].default_value));
        ASSERT_OK(app_config_new(&a));
        ASSERT_OK(app_config_new(&b));
        ASSERT_OK(settings_apply(&c, b));
        ASSERT_EQ(a->kill_timeout, b->kill_timeout);
        ASSERT_EQ(a->kill_signal, b->kill_signal);
        ASSERT_EQ(a->listen_timeout, b->listen_timeout);
        ASSERT_EQ(a->min_uptime, b->min_uptime);
        ASSERT_EQ(a->max_restarts, b->max_restarts);
        ASSERT_EQ(a->restart_delay, b->restart_delay);
        ASSERT_EQ(a->exp_backoff_restart_delay, b->exp_backoff_restart_delay);
        app_config_unref(a);
        app_config_unref(b);
}

TEST(what_makes_no_sense_is_left_out) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *faults = NULL;
        _cleanup_conf_ Conf c = {};

        ASSERT_OK(load(dir,
                       "[Manager]\nKillTimeout=5s\nListenTimeout=soon\nNoSuch=1\nLogTarget=syslog\nLogLevel=loud\n"
                       "[Other]\nx=1\n[module:]\nx=1\n[module:a]\nx=1\n[module]\ny=2\n",
                       &c, &faults));
        ASSERT_EQ(c.n, 3);
        ASSERT_STREQ(settings_get(&c, "KillTimeout"), "5s");
        ASSERT_STREQ(settings_get(&c, "ListenTimeout"), "3000");
        ASSERT_STREQ(settings_get(&c, "LogLevel"), "info");
        ASSERT_STREQ(conf_get(&c, "module:a", "x"), "1");
        for (size_t i = 0; i < 6; i++) {
                static const char *const told[] = { "ListenTimeout: 'soon'", "NoSuch:", "LogTarget: 'syslog'", "LogLevel: 'loud'", "[Other]", "[module:]" };

                ASSERT_TRUE(strstr(faults, told[i]));
        }
}

TEST(definitions_come_first) {
        _cleanup_conf_ Conf c = {};
        json_object *given = json_object_new_string("7000");
        AppConfig *config;

        ASSERT_OK(conf_set(&c, SETTINGS_SECTION, "KillTimeout", "5s"));
        ASSERT_OK(conf_set(&c, SETTINGS_SECTION, "KillSignal", "TERM"));
        ASSERT_OK(app_config_new(&config));
        ASSERT_OK(app_config_set(config, "kill_timeout", given, NULL));
        json_object_put(given);
        ASSERT_OK(settings_apply(&c, config));
        ASSERT_EQ(config->kill_timeout, 7 * USEC_PER_SEC);
        ASSERT_EQ(config->kill_signal, SIGTERM);
        ASSERT_TRUE(app_config_has(config, "kill_timeout"));
        ASSERT_TRUE(!app_config_has(config, "kill_signal"));
        app_config_unref(config);
}

TEST(environment_of_a_module) {
        _cleanup_conf_ Conf c = {};
        _cleanup_strv_free_ char **env = NULL;

        ASSERT_OK(conf_set(&c, "module:api", "token", "a/b \"c\""));
        ASSERT_OK(conf_set(&c, "module:api", "port", "80"));
        ASSERT_OK(conf_set(&c, "module:apis", "other", "1"));
        ASSERT_OK(settings_add_environment(&c, "api", &env));
        ASSERT_EQ(strv_length(env), 3);
        ASSERT_STREQ(strv_env_get(env, "token"), "a/b \"c\"");
        ASSERT_STREQ(strv_env_get(env, "port"), "80");
        ASSERT_STREQ(strv_env_get(env, "api"), "{\"token\":\"a/b \\\"c\\\"\",\"port\":\"80\"}");

        ASSERT_OK(settings_add_environment(&c, "nobody", &env));
        ASSERT_EQ(strv_length(env), 3);
}
