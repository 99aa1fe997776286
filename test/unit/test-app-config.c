/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "test.h"

#include "shared/app-config.h"
#include "shared/env-util.h"
#include "shared/strv.h"
#include "shared/watch-options.h"

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)
#define _cleanup_json_ _cleanup_(json_object_putp)

static AppConfig *config_new(void) {
        AppConfig *c;

        if (app_config_new(&c) < 0)
                abort();
        return c;
}

static bool nothing_is_set(const AppConfig *c) {
        return memcmp(&c->set, &(OptionSet) {}, sizeof c->set) == 0;
}

static int set_json(AppConfig *c, const char *key, const char *json, char **reterr) {
        _cleanup_json_ json_object *value = json_tokener_parse(json);

        if (!value && !streq(json, "null"))
                abort();
        return app_config_set(c, key, value, reterr);
}

/* A key, what it is set to, and what comes back under the canonical name. */
static const struct {
        const char *key, *json, *canonical, *back;
} accepted[] = {
        { "name", "\"web\"", "name", "\"web\"" },
        { "name", "12", "name", "\"12\"" },
        { "namespace", "\"a\"", "namespace", "\"a\"" },
        { "exec", "\"a.js\"", "script", "\"a.js\"" },
        { "cmd", "\"a.js\"", "script", "\"a.js\"" },
        { "command", "\"a.js\"", "script", "\"a.js\"" },
        { "args", "\"-a 'b c'\"", "args", "[\"-a\",\"b c\"]" },
        { "args", "[\"-a\",1,true,\"\"]", "args", "[\"-a\",\"1\",\"true\",\"\"]" },
        { "args", "[]", "args", "[]" },
        { "args", "8", "args", "[\"8\"]" },
        { "exec_interpreter", "\"none\"", "interpreter", "\"none\"" },
        { "execInterpreter", "\"none\"", "interpreter", "\"none\"" },
        { "node_args", "\"-r x\"", "interpreter_args", "[\"-r\",\"x\"]" },
        { "nodeArgs", "\"-r\"", "interpreter_args", "[\"-r\"]" },
        { "interpreterArgs", "[\"-r\"]", "interpreter_args", "[\"-r\"]" },
        { "exec_mode", "\"fork\"", "exec_mode", "\"fork_mode\"" },
        { "execMode", "\"cluster_mode\"", "exec_mode", "\"cluster_mode\"" },
        { "execute_command", "true", "exec_mode", "\"fork_mode\"" },
        { "execute_command", "\"false\"", "exec_mode", "\"auto\"" },
        { "instances", "4", "instances", "4" },
        { "instances", "\"4\"", "instances", "4" },
        { "instances", "\"max\"", "instances", "0" },
        { "instances", "\"-2\"", "instances", "-2" },
        { "instances", "-4096", "instances", "-4096" },
        { "uid", "1000", "user", "\"1000\"" },
        { "user", "\"daemon\"", "user", "\"daemon\"" },
        { "gid", "\"daemon\"", "group", "\"daemon\"" },
        { "autorestart", "false", "autorestart", "false" },
        { "autorestart", "\"false\"", "autorestart", "false" },
        { "autostart", "\"no\"", "autostart", "false" },
        { "treekill", "0", "treekill", "false" },
        { "waitReady", "1", "wait_ready", "true" },
        { "min_uptime", "100", "min_uptime", "100" },
        { "min_uptime", "\"10s\"", "min_uptime", "10000" },
        { "min_uptime", "\"2m\"", "min_uptime", "120000" },
        { "minUptime", "\"1h\"", "min_uptime", "3600000" },
        { "min_uptime", "31536000000", "min_uptime", "31536000000" },
        { "kill_timeout", "\"250ms\"", "kill_timeout", "250" },
        { "kill_timeout", "1e3", "kill_timeout", "1000" },
        { "kill_timeout", "0", "kill_timeout", "0" },
        { "listenTimeout", "\"3s\"", "listen_timeout", "3000" },
        { "restart_delay", "\"5000\"", "restart_delay", "5000" },
        { "expBackoffRestartDelay", "100", "exp_backoff_restart_delay", "100" },
        { "max_restarts", "0", "max_restarts", "0" },
        { "max_restarts", "\"4294967295\"", "max_restarts", "4294967295" },
        { "stop_exit_codes", "3", "stop_exit_codes", "[3]" },
        { "stop_exit_codes", "[0,\"255\"]", "stop_exit_codes", "[0,255]" },
        { "stopExitCodes", "\"1, 2 3\"", "stop_exit_codes", "[1,2,3]" },
        { "stop_exit_codes", "[]", "stop_exit_codes", "[]" },
        { "kill_signal", "\"term\"", "kill_signal", "\"SIGTERM\"" },
        { "stop_signal", "\"SIGRTMIN+3\"", "kill_signal", "\"SIGRTMIN+3\"" },
        { "stopSignal", "15", "kill_signal", "\"SIGTERM\"" },
        { "out", "\"a\"", "out_file", "\"a\"" },
        { "output", "\"a\"", "out_file", "\"a\"" },
        { "outLog", "\"a\"", "out_file", "\"a\"" },
        { "error", "\"a\"", "error_file", "\"a\"" },
        { "err", "\"a\"", "error_file", "\"a\"" },
        { "errFile", "\"a\"", "error_file", "\"a\"" },
        { "err_log", "\"a\"", "error_file", "\"a\"" },
        { "log", "\"a\"", "log_file", "\"a\"" },
        { "pid", "\"a\"", "pid_file", "\"a\"" },
        { "log_target", "\"both\"", "log_target", "\"both\"" },
        { "combine_logs", "true", "merge_logs", "true" },
        { "disableLogs", "true", "disable_logs", "true" },
        { "instance_var", "\"N\"", "instance_var", "\"N\"" },
        { "watch", "true", "watch", "true" },
        { "watch", "\"false\"", "watch", "false" },
        { "watch", "[\"src\",\"lib\"]", "watch", "[\"src\",\"lib\"]" },
        { "watch", "\"src 'my lib'\"", "watch", "[\"src\",\"my lib\"]" },
        { "watch", "[]", "watch", "[]" },
        { "ignoreWatch", "[\"a\"]", "ignore_watch", "[\"a\"]" },
        { "watch_delay", "\"2s\"", "watch_delay", "2000" },
        { "watch_options", "{\"usePolling\":true}", "watch_options", "\"{\\\"usePolling\\\":true}\"" },
        { "cron", "\"0 3 * * *\"", "cron_restart", "\"0 3 * * *\"" },
        { "cron_restart", "0", "cron_restart", "\"0\"" },
        { "cron_restart", "false", "cron_restart", "\"0\"" },
        { "max_memory_restart", "\"150M\"", "max_memory_restart", "157286400" },
        { "maxMemoryRestart", "1048576", "max_memory_restart", "1048576" },
        { "log", "true", "log_file", "true" },
        { "log_file", "\"true\"", "log_file", "true" },
        { "log_file", "false", "log_file", "false" },
        { "logDateFormat", "\"YYYY\"", "log_date_format", "\"YYYY\"" },
        { "time", "true", "time", "true" },
        { "log_type", "\"json\"", "log_type", "\"json\"" },
        { "filter_env", "true", "filter_env", "true" },
        { "filter_env", "\"HOME\"", "filter_env", "\"HOME\"" },
        { "filter_env", "[\"NODE_\",\"X\"]", "filter_env", "[\"NODE_\",\"X\"]" },
        { "filter_env", "false", "filter_env", "false" },
        { "increment_var", "\"PORT\"", "increment_var", "\"PORT\"" },
        { "port", "\"8080\"", "port", "8080" },
        { "env_file", "\".env -.env.local\"", "env_file", "[\".env\",\"-.env.local\"]" },
        { "name_prefix", "\"a\"", "name_prefix", "\"a\"" },
        { "append_env_to_name", "true", "append_env_to_name", "true" },
        { "post_update", "[\"npm install\"]", "post_update", "[\"npm install\"]" },
        { "install_url", "\"u\"", "install_url", "\"u\"" },
        { "exec_timeout", "5", "exec_timeout", "5" },
        { "kill_retry_time", "5", "kill_retry_time", "5" },
        { "write", "true", "write", "true" },
        { "disable_source_map_support", "true", "disable_source_map_support", "true" },
        { "memory_max", "\"600M\"", "memory_max", "629145600" },
        { "memoryMax", "1", "memory_max", "1" },
        { "memory_high", "\"50%\"", "memory_high", "\"50%\"" },
        { "memory_high", "\"12.50%\"", "memory_high", "\"12.5%\"" },
        { "memory_high", "\"0.05%\"", "memory_high", "\"0.05%\"" },
        { "memory_high", "\"infinity\"", "memory_high", "\"infinity\"" },
        { "cpu_quota", "\"150%\"", "cpu_quota", "\"150%\"" },
        { "cpu_quota", "150", "cpu_quota", "\"150%\"" },
        { "cpu_quota", "\"7.25%\"", "cpu_quota", "\"7.25%\"" },
        { "cpu_quota", "\"infinity\"", "cpu_quota", "\"infinity\"" },
        { "cpu_weight", "10000", "cpu_weight", "10000" },
        { "io_weight", "1", "io_weight", "1" },
        { "tasks_max", "20", "tasks_max", "20" },
        { "tasks_max", "\"infinity\"", "tasks_max", "\"infinity\"" },
        { "allowed_cpus", "\"0-3, 5\"", "allowed_cpus", "\"0-3,5\"" },
        { "allowed_cpus", "0", "allowed_cpus", "\"0\"" },
        { "nice", "-20", "nice", "-20" },
        { "nice", "\"0\"", "nice", "0" },
        { "oom_score_adjust", "-1000", "oom_score_adjust", "-1000" },
        { "limit_nofile", "1024", "limit_nofile", "1024" },
        { "limitNofile", "\"1024:4096\"", "limit_nofile", "\"1024:4096\"" },
        { "limit_core", "\"0:infinity\"", "limit_core", "\"0:infinity\"" },
        { "limit_as", "\"unlimited\"", "limit_as", "\"infinity\"" },
        { "limit_memlock", "\"64K\"", "limit_memlock", "65536" },
        { "umask", "\"027\"", "umask", "\"0027\"" },
        { "umask", "77", "umask", "\"0077\"" },
        { "umask", "0", "umask", "\"0000\"" },
        { "capabilities", "[\"CAP_NET_BIND_SERVICE\",\"chown\",\"cap_chown\"]", "capabilities", "[\"cap_net_bind_service\",\"cap_chown\"]" },
        { "capabilities", "[]", "capabilities", "[]" },
        { "no_new_privileges", "true", "no_new_privileges", "true" },
        { "notify", "true", "notify", "true" },
        { "watchdog_timeout", "\"30s\"", "watchdog_timeout", "30000" },
        { "required", "[\"memoryMax\",\"cpu_quota\"]", "required", "[\"memory_max\",\"cpu_quota\"]" },
};

TEST(accepted) {
        for (size_t i = 0; i < ELEMENTSOF(accepted); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_new();
                _cleanup_json_ json_object *object = NULL;
                _cleanup_free_ char *err = NULL;
                json_object *value;

                printf("# %s: %s\n", accepted[i].key, accepted[i].json);
                ASSERT_OK(set_json(c, accepted[i].key, accepted[i].json, &err));
                ASSERT_TRUE(app_config_has(c, accepted[i].canonical));
                ASSERT_TRUE(!err);
                ASSERT_OK(app_config_to_json(c, &object));
                ASSERT_EQ(json_object_object_length(object), 1);
                ASSERT_TRUE(json_object_object_get_ex(object, accepted[i].canonical, &value));
                ASSERT_STREQ(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), accepted[i].back);
        }
}

static const struct {
        const char *key, *json;
        int r;
        const char *err;
} refused[] = {
        { "frobnicate", "1", -ENOENT, "frobnicate: there is no such option" },
        { "", "1", -ENOENT, ": there is no such option" },
        { "kil_timeout", "1", -ENOENT, "kil_timeout: there is no such option, did you mean 'kill_timeout'?" },
        { "autoRestarts", "1", -ENOENT, "autoRestarts: there is no such option, did you mean 'autorestart'?" },
        { "inst", "1", -ENOENT, "inst: there is no such option" },
        { "comand", "1", -ENOENT, "comand: there is no such option, did you mean 'command'?" },
        { "Name", "1", -ENOENT, "Name: there is no such option, did you mean 'name'?" },
        { "kill_Timeout", "1", -ENOENT, "kill_Timeout: there is no such option, did you mean 'kill_timeout'?" },
        { "x\033[2J", "1", -ENOENT, "x\\x1b[2J: there is no such option" },
        { "0123456789012345678901234567890123456789012345678901234567890123456789", "1", -ENOENT,
          "0123456789012345678901234567890123456789012345678901234567890123: there is no such option" },
        { "name", "true", -EINVAL, "name: 'true' is no string" },
        { "name", "[]", -EINVAL, "name: '[ ]' is no string" },
        { "name", "\"a\\u0000b\"", -EINVAL, "name: 'a' contains a NUL byte" },
        { "name", "\"a\377\"", -EINVAL, "name: 'a\\xff' is not valid UTF-8" },
        { "args", "[[]]", -EINVAL, "args: '[ ]' is no string" },
        { "args", "{}", -EINVAL, "args: '{ }' is no string" },
        { "args", "[null]", -EINVAL, "args: '' is no string" },
        { "exec_mode", "\"fork_\"", -EINVAL, "exec_mode: 'fork_' is no mode: it should be cluster(cluster_mode) or fork(fork_mode) only" },
        { "instances", "\"many\"", -EINVAL, "instances: 'many' is no whole number" },
        { "instances", "4097", -ERANGE, "instances: '4097' is out of range, -4096 to 4096" },
        { "instances", "1.5", -EINVAL, "instances: '1.5' is no whole number" },
        { "autorestart", "\"maybe\"", -EINVAL, "autorestart: 'maybe' is neither true nor false" },
        { "watch", "[[]]", -EINVAL, "watch: '[ ]' is no string" },
        { "watch", "5", -EINVAL, "watch: '5' is neither true nor false nor a list of paths" },
        { "watch_options", "\"x\"", -EINVAL, "watch_options: 'x' is no object" },
        { "watch_options", "[]", -EINVAL, "watch_options: '[ ]' is no object" },
        { "watch_options", "{\"followSymlinks\":2}", -EINVAL, "watch_options: followSymlinks is neither true nor false" },
        { "watch_options", "{\"depth\":-1}", -EINVAL, "watch_options: depth is no number from 0 to 999" },
        { "watch_options", "{\"depth\":\"deep\"}", -EINVAL, "watch_options: depth is no number from 0 to 999" },
        { "watch_options", "{\"cwd\":[]}", -EINVAL, "watch_options: cwd is no text" },
        { "watch_options", "{\"ignored\":[\"a\",1]}", -EINVAL, "watch_options: ignored is neither a pattern nor a list of patterns" },
        { "watch_options", "{\"awaitWriteFinish\":\"a while\"}", -EINVAL, "watch_options: awaitWriteFinish is neither true nor false nor an object" },
        { "watch_options", "{\"awaitWriteFinish\":{\"stabilityThreshold\":\"12Q\"}}", -EINVAL,
          "watch_options: awaitWriteFinish has a stabilityThreshold that is no number of milliseconds up to a day" },
        { "cron_restart", "\"61 * * * *\"", -EINVAL, "cron_restart: minute: 61 is not between 0 and 59" },
        { "max_memory_restart", "\"12Q\"", -EINVAL, "max_memory_restart: '12Q' is no size: give bytes, or a number with K, M, G or T" },
        { "max_memory_restart", "\"99999999T\"", -ERANGE,
          "max_memory_restart: '99999999T' is out of range, 0 to 9223372036854775807 bytes" },
        { "max_memory_restart", "-1", -ERANGE, "max_memory_restart: '-1' is out of range, 0 to 9223372036854775807 bytes" },
        { "memory_max", "\"12Q\"", -EINVAL,
          "memory_max: '12Q' is no size: give bytes, a number with K, M, G or T, a percentage, or \"infinity\"" },
        { "memory_max", "\"101%\"", -ERANGE, "memory_max: '101%' is out of range, 1 byte to all of the memory" },
        { "memory_max", "0", -ERANGE, "memory_max: '0' is out of range, 1 byte to all of the memory" },
        { "memory_max", "true", -EINVAL,
          "memory_max: 'true' is no size: give bytes, a number with K, M, G or T, a percentage, or \"infinity\"" },
        { "cpu_quota", "\"fast\"", -EINVAL, "cpu_quota: 'fast' is no percentage: give one such as 50% or 150%, or \"infinity\"" },
        { "cpu_quota", "\"1.234%\"", -EINVAL, "cpu_quota: '1.234%' is no percentage: give one such as 50% or 150%, or \"infinity\"" },
        { "cpu_quota", "0", -ERANGE, "cpu_quota: '0' is out of range, 1 to 1000000 %" },
        { "cpu_weight", "0", -ERANGE, "cpu_weight: '0' is out of range, 1 to 10000" },
        { "io_weight", "10001", -ERANGE, "io_weight: '10001' is out of range, 1 to 10000" },
        { "tasks_max", "0", -ERANGE, "tasks_max: '0' is out of range, 1 to 9223372036854775807" },
        { "allowed_cpus", "\"3-1\"", -ERANGE, "allowed_cpus: '3-1' is no list of CPUs: give one such as 0-3,5" },
        { "allowed_cpus", "\"0-\"", -EINVAL, "allowed_cpus: '0-' is no list of CPUs: give one such as 0-3,5" },
        { "allowed_cpus", "\",\"", -EINVAL, "allowed_cpus: ',' is no list of CPUs: give one such as 0-3,5" },
        { "allowed_cpus", "\"8192\"", -ERANGE, "allowed_cpus: '8192' is no list of CPUs: give one such as 0-3,5" },
        { "nice", "20", -ERANGE, "nice: '20' is out of range, -20 to 19" },
        { "nice", "-21", -ERANGE, "nice: '-21' is out of range, -20 to 19" },
        { "oom_score_adjust", "1001", -ERANGE, "oom_score_adjust: '1001' is out of range, -1000 to 1000" },
        { "limit_nofile", "\"2:1\"", -ERANGE, "limit_nofile: '2:1' has a soft limit above the hard one" },
        { "limit_nofile", "\"many\"", -EINVAL,
          "limit_nofile: 'many' is no limit: give a number, SOFT:HARD, or \"infinity\"; K, M, G and T may follow a number" },
        { "limit_nofile", "-1", -EINVAL,
          "limit_nofile: '-1' is no limit: give a number, SOFT:HARD, or \"infinity\"; K, M, G and T may follow a number" },
        { "umask", "\"8\"", -EINVAL, "umask: '8' is no mode: give an octal number such as 027" },
        { "umask", "\"1000\"", -ERANGE, "umask: '1000' is out of range, 0000 to 0777" },
        { "capabilities", "[\"cap_fly\"]", -EINVAL, "capabilities: 'cap_fly' is no capability: give names such as cap_net_bind_service" },
        { "required", "[\"pmx\"]", -EINVAL, "required: 'pmx' is no attribute that could be required" },
        { "required", "\"memory_min\"", -EINVAL, "required: 'memory_min' is no attribute that could be required" },
        { "port", "65536", -ERANGE, "port: '65536' is out of range, 0 to 65535" },
        { "min_uptime", "99", -ERANGE, "min_uptime: '99' is out of range, 100 to 31536000000 ms" },
        { "min_uptime", "\"10d\"", -EINVAL, "min_uptime: '10d' is no duration: give milliseconds, or a number with ms, s, m or h" },
        { "kill_timeout", "\"12Q\"", -EINVAL, "kill_timeout: '12Q' is no duration: give milliseconds, or a number with ms, s, m or h" },
        { "kill_timeout", "\"s\"", -EINVAL, "kill_timeout: 's' is no duration: give milliseconds, or a number with ms, s, m or h" },
        { "kill_timeout", "true", -EINVAL, "kill_timeout: 'true' is no duration: give milliseconds, or a number with ms, s, m or h" },
        { "kill_timeout", "-1", -ERANGE, "kill_timeout: '-1' is out of range, 0 to 31536000000 ms" },
        { "kill_timeout", "\"-1\"", -ERANGE, "kill_timeout: '-1' is out of range, 0 to 31536000000 ms" },
        { "kill_timeout", "\"9999999999999h\"", -ERANGE, "kill_timeout: '9999999999999h' is out of range, 0 to 31536000000 ms" },
        { "kill_timeout", "1e300", -ERANGE, "kill_timeout: '1e300' is out of range, 0 to 31536000000 ms" },
        { "max_restarts", "-1", -ERANGE, "max_restarts: '-1' is out of range, 0 to 4294967295" },
        { "max_restarts", "4294967296", -ERANGE, "max_restarts: '4294967296' is out of range, 0 to 4294967295" },
        { "max_restarts", "18446744073709551615", -ERANGE, "max_restarts: '18446744073709551615' is out of range, 0 to 4294967295" },
        { "stop_exit_codes", "256", -ERANGE, "stop_exit_codes: '256' is out of range, 0 to 255" },
        { "stop_exit_codes", "[1,\"x\"]", -EINVAL, "stop_exit_codes: 'x' is no whole number" },
        { "stop_exit_codes", "{}", -EINVAL, "stop_exit_codes: '{ }' is no string" },
        { "kill_signal", "\"SIGFOO\"", -EINVAL, "kill_signal: 'SIGFOO' is no signal: give a name such as SIGTERM, or a number" },
        { "kill_signal", "0", -ERANGE, "kill_signal: '0' is no signal: give a name such as SIGTERM, or a number" },
        { "log_target", "\"syslog\"", -EINVAL, "log_target: 'syslog' is none of auto, journal, file, both and none" },
        { "env", "\"A=1\"", -EINVAL, "env: 'A=1' is neither an object nor an array of NAME=value" },
        { "env", "[\"A\"]", -EINVAL, "env: 'A' is not of the form NAME=value" },
        { "env", "[\"=1\"]", -EINVAL, "env: '=1' is not of the form NAME=value" },
        { "env", "[1]", -EINVAL, "env: '1' is not of the form NAME=value" },
        { "env", "{\"A=B\":\"1\"}", -EINVAL, "env: 'A=B' cannot be the name of a variable" },
        { "env", "{\"A\":\"1\\u0000\"}", -EINVAL, "env: the value of A contains a NUL byte" },
        { "script", "\"01234567890123456789012345678901234567890123456789012345678901234567\\u0000\"", -EINVAL,
          "script: '0123456789012345678901234567890123456789012345678901234567890123\xe2\x80\xa6' contains a NUL byte" },
};

TEST(refused) {
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_new();
                _cleanup_json_ json_object *object = NULL;
                _cleanup_free_ char *err = NULL;

                printf("# %zu\n", i);
                ASSERT_EQ(set_json(c, refused[i].key, refused[i].json, &err), refused[i].r);
                ASSERT_STREQ(err, refused[i].err);
                ASSERT_EQ(set_json(c, refused[i].key, refused[i].json, NULL), refused[i].r);
                ASSERT_TRUE(nothing_is_set(c));
                ASSERT_OK(app_config_to_json(c, &object));
                ASSERT_EQ(json_object_object_length(object), 0);
        }
}

/* Every attribute that takes a value of one kind refuses the others, and says which attribute it is. */
TEST(wrong_types) {
        static const char *const values[] = { "{\"a\":{}}", "[[1]]", "[{}]", "true", "\"\\u0001 %\"", "-9007199254740991" };
        size_t n;
        const AppOption *options = app_options(&n);

        for (size_t i = 0; i < n; i++) {
                const AppOption *o = options + i;
                unsigned n_refused = 0;

                for (size_t k = 0; k < ELEMENTSOF(values); k++) {
                        _cleanup_app_config_unref_ AppConfig *c = config_new();
                        _cleanup_free_ char *err = NULL, *prefix = strjoin(o->key, ": ");

                        if (set_json(c, o->key, values[k], &err) >= 0)
                                continue;
                        n_refused++;
                        if (!startswith(strempty(err), prefix))
                                TEST_FAIL("%s: '%s' does not name it", o->key, strempty(err));
                        ASSERT_TRUE(nothing_is_set(c));
                }

                if (n_refused < (o->type == OPTION_IGNORED || o->type == OPTION_ENV ? 0 : 2))
                        TEST_FAIL("%s takes nearly everything", o->key);
        }
}

static const struct {
        const char *json, *notes;
} watch_notes[] = {
        { "{\"depth\":1,\"ignoreInitial\":true}", NULL },
        { "{\"usePolling\":true,\"colour\":1,\"interval\":100}",
          "watch_options: usePolling: files are watched by inotify, which does not see what other machines change on a network file system, ignored\n"
          "watch_options: colour: unknown attribute, ignored\n"
          "watch_options: interval: nothing is polled, ignored" },
};

TEST(watch_options_notes) {
        for (size_t i = 0; i < ELEMENTSOF(watch_notes); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_new();
                _cleanup_json_ json_object *object = json_object_new_object();
                _cleanup_free_ char *notes = NULL, *err = NULL;

                ASSERT_OK(json_object_object_add(object, "watch_options", json_tokener_parse(watch_notes[i].json)));
                ASSERT_OK(app_config_set_all_noted(c, object, &notes, &err));
                ASSERT_STREQ(notes, watch_notes[i].notes);
                ASSERT_TRUE(app_config_has(c, "watch_options"));
        }
}

TEST(watch_options) {
        _cleanup_watch_options_ WatchOptions a = {}, b = {}, c = {};

        ASSERT_OK(watch_options_parse(NULL, &a));
        ASSERT_TRUE(!a.no_links && a.levels == 0 && !a.ignored && !a.cwd && a.stable_for == 0);

        ASSERT_OK(watch_options_parse("{\"followSymlinks\":false,\"depth\":0,\"cwd\":\"src\",\"ignored\":\"*.log\",\"awaitWriteFinish\":true}", &b));
        ASSERT_TRUE(b.no_links);
        ASSERT_EQ(b.levels, 1);
        ASSERT_STREQ(b.cwd, "src");
        ASSERT_EQ(strv_length(b.ignored), 1);
        ASSERT_STREQ(b.ignored[0], "*.log");
        ASSERT_EQ(b.stable_for, 2 * USEC_PER_SEC);

        ASSERT_OK(watch_options_parse("{\"ignored\":[\"a\",\"b\"],\"awaitWriteFinish\":{\"stabilityThreshold\":500},\"depth\":null}", &c));
        ASSERT_EQ(strv_length(c.ignored), 2);
        ASSERT_EQ(c.stable_for, 500 * USEC_PER_MSEC);
        ASSERT_EQ(c.levels, 0);
        ASSERT_EQ(watch_options_parse("x", &c), -EINVAL);
}

TEST(refused_leaves_the_old_value) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();

        ASSERT_OK(set_json(c, "stop_exit_codes", "[4,5]", NULL));
        ASSERT_EQ(set_json(c, "stop_exit_codes", "[6,\"x\"]", NULL), -EINVAL);
        ASSERT_EQ(c->n_stop_exit_codes, 2);
        ASSERT_EQ(c->stop_exit_codes[0], 4);

        ASSERT_OK(set_json(c, "args", "[\"a\"]", NULL));
        ASSERT_EQ(set_json(c, "args", "[\"b\",[]]", NULL), -EINVAL);
        ASSERT_EQ(strv_length(c->args), 1);
        ASSERT_STREQ(c->args[0], "a");
}

TEST(defaults) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();

        ASSERT_STREQ(c->name_space, "default");
        ASSERT_STREQ(c->instance_var, "NODE_APP_INSTANCE");
        ASSERT_EQ(c->exec_mode, EXEC_MODE_AUTO);
        ASSERT_EQ(c->log_target, LOG_TARGET_AUTO);
        ASSERT_EQ(c->instances, 1);
        ASSERT_EQ(c->instances_given, 1);
        ASSERT_EQ(c->min_uptime, USEC_PER_SEC);
        ASSERT_EQ(c->max_restarts, 16);
        ASSERT_EQ(c->kill_signal, SIGINT);
        ASSERT_EQ(c->kill_timeout, 1600 * USEC_PER_MSEC);
        ASSERT_EQ(c->listen_timeout, 3000 * USEC_PER_MSEC);
        ASSERT_EQ(c->restart_delay, 0);
        ASSERT_EQ(c->exp_backoff_restart_delay, 0);
        ASSERT_TRUE(c->autostart && c->autorestart && c->treekill && c->vizion);
        ASSERT_TRUE(!c->watch && !c->wait_ready && !c->disable_logs && !c->force && !c->shutdown_with_message);
        ASSERT_TRUE(!c->name && !c->script && !c->cwd && !c->user && !c->args && !c->env && !c->out_file);
        ASSERT_TRUE(nothing_is_set(c));
}

/* null, "null" and "" take back what was given, for every option. */
TEST(reset) {
        static const char *const nulls[] = { "null", "\"null\"", "\"\"" };
        size_t n;
        const AppOption *options = app_options(&n);

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < ELEMENTSOF(nulls); k++) {
                        _cleanup_app_config_unref_ AppConfig *c = config_new();

                        printf("# %s: %s\n", options[i].key, nulls[k]);
                        ASSERT_OK(set_json(c, options[i].key, nulls[k], NULL));
                        ASSERT_TRUE(!app_config_has(c, options[i].key));
                }

        for (size_t k = 0; k < ELEMENTSOF(nulls); k++) {
                _cleanup_app_config_unref_ AppConfig *c = config_new();

                ASSERT_OK(set_json(c, "kill_timeout", "5", NULL));
                ASSERT_OK(set_json(c, "args", "\"a b\"", NULL));
                ASSERT_OK(set_json(c, "autorestart", "false", NULL));
                ASSERT_OK(set_json(c, "namespace", "\"x\"", NULL));
                ASSERT_OK(set_json(c, "instances", "7", NULL));
                ASSERT_OK(set_json(c, "stop_exit_codes", "7", NULL));
                ASSERT_OK(set_json(c, "merge_logs", "true", NULL));
                ASSERT_TRUE(c->instances_set && c->merge_logs_set);

                ASSERT_OK(set_json(c, "killTimeout", nulls[k], NULL));
                ASSERT_OK(set_json(c, "args", nulls[k], NULL));
                ASSERT_OK(set_json(c, "autorestart", nulls[k], NULL));
                ASSERT_OK(set_json(c, "namespace", nulls[k], NULL));
                ASSERT_OK(set_json(c, "instances", nulls[k], NULL));
                ASSERT_OK(set_json(c, "stop_exit_codes", nulls[k], NULL));
                ASSERT_OK(set_json(c, "merge_logs", nulls[k], NULL));

                ASSERT_EQ(c->kill_timeout, 1600 * USEC_PER_MSEC);
                ASSERT_TRUE(strv_isempty(c->args));
                ASSERT_TRUE(c->autorestart);
                ASSERT_STREQ(c->name_space, "default");
                ASSERT_EQ(c->instances_given, 1);
                ASSERT_EQ(c->n_stop_exit_codes, 0);
                ASSERT_TRUE(!c->instances_set && !c->merge_logs_set && !c->merge_logs);
                ASSERT_TRUE(nothing_is_set(c));
        }
}

TEST(env_of_object) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();
        _cleanup_json_ json_object *object = NULL;

        ASSERT_OK(set_json(c, "env",
                           "{\"S\":\"a=b\",\"N\":1,\"D\":1.5,\"B\":true,\"NULL\":null,\"O\":{\"a\":[1,\"/\"]},\"E\":\"\"}", NULL));
        ASSERT_EQ(strv_length(c->env), 7);
        ASSERT_STREQ(strv_env_get(c->env, "S"), "a=b");
        ASSERT_STREQ(strv_env_get(c->env, "N"), "1");
        ASSERT_STREQ(strv_env_get(c->env, "D"), "1.5");
        ASSERT_STREQ(strv_env_get(c->env, "B"), "true");
        ASSERT_STREQ(strv_env_get(c->env, "NULL"), "null");
        ASSERT_STREQ(strv_env_get(c->env, "O"), "{\"a\":[1,\"/\"]}");
        ASSERT_STREQ(strv_env_get(c->env, "E"), "");

        /* Environments are secrets. */
        ASSERT_OK(app_config_to_json(c, &object));
        ASSERT_EQ(json_object_object_length(object), 0);
}

TEST(env_of_array) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();

        ASSERT_OK(set_json(c, "env", "[\"A=1\",\"B==\",\"A=2\"]", NULL));
        ASSERT_EQ(strv_length(c->env), 2);
        ASSERT_STREQ(strv_env_get(c->env, "A"), "2");
        ASSERT_STREQ(strv_env_get(c->env, "B"), "=");
}

TEST(too_many_exit_codes) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();
        _cleanup_json_ json_object *array = json_object_new_array();
        _cleanup_free_ char *err = NULL;

        for (int i = 0; i < 256; i++)
                ASSERT_OK(json_object_array_add(array, json_object_new_int(i)));
        ASSERT_OK(app_config_set(c, "stop_exit_codes", array, NULL));
        ASSERT_EQ(c->n_stop_exit_codes, 256);
        ASSERT_EQ(c->stop_exit_codes[255], 255);

        ASSERT_OK(json_object_array_add(array, json_object_new_int(0)));
        ASSERT_EQ(app_config_set(c, "stop_exit_codes", array, &err), -ERANGE);
        ASSERT_STREQ(err, "stop_exit_codes: there are more than there can be");
        ASSERT_EQ(c->n_stop_exit_codes, 256);
}

TEST(set_all) {
        _cleanup_json_ json_object *good = json_tokener_parse("{\"name\":\"a\",\"maxRestarts\":3}"),
                                   *bad = json_tokener_parse("{\"name\":[],\"kill_timeout\":7,\"foo\":1,\"min_uptime\":1}"),
                                   *array = json_tokener_parse("[]"), *many = json_object_new_object();
        _cleanup_app_config_unref_ AppConfig *c = config_new();
        _cleanup_free_ char *err = NULL;
        unsigned n_lines = 1;

        ASSERT_OK(app_config_set_all(c, good, &err));
        ASSERT_STREQ(c->name, "a");
        ASSERT_EQ(c->max_restarts, 3);
        ASSERT_TRUE(!err);

        ASSERT_EQ(app_config_set_all(c, bad, &err), -EINVAL);
        ASSERT_STREQ(err, "name: '[ ]' is no string\n"
                          "foo: there is no such option\n"
                          "min_uptime: '1' is out of range, 100 to 31536000000 ms");
        ASSERT_EQ(c->kill_timeout, 7 * USEC_PER_MSEC);
        ASSERT_EQ(app_config_set_all(c, bad, NULL), -EINVAL);

        err = mfree(err);
        ASSERT_EQ(app_config_set_all(c, array, &err), -EINVAL);
        ASSERT_STREQ(err, "the definition of an app is no JSON object");

        for (unsigned i = 0; i < 1000; i++) {
                _cleanup_free_ char *key = strprintf("%u", i);

                ASSERT_OK(json_object_object_add(many, key, NULL));
        }
        err = mfree(err);
        ASSERT_EQ(app_config_set_all(c, many, &err), -ENOENT);
        for (const char *s = err; (s = strchr(s, '\n')); s++)
                n_lines++;
        ASSERT_EQ(n_lines, 20);
        ASSERT_TRUE(endswith(err, "\nand more"));
}

/* What a file may say that means nothing. */
TEST(set_all_noted) {
        _cleanup_json_ json_object *object = json_tokener_parse(
                "{\"name\":\"a\",\"pmx\":false,\"kil_timeout\":7,\"foobar\":1,\"env_production\":{},\"deepMonitoring\":[1]}"),
                                   *bad = json_tokener_parse("{\"v8\":1,\"nice\":\"x\"}"), *good = json_tokener_parse("{\"nice\":1}");
        _cleanup_app_config_unref_ AppConfig *c = config_new();
        _cleanup_free_ char *notes = NULL, *err = NULL;

        ASSERT_OK(app_config_set_all_noted(c, object, &notes, &err));
        ASSERT_STREQ(notes, "pmx: it has no meaning here, ignored\n"
                            "kil_timeout: unknown attribute, ignored; did you mean 'kill_timeout'?\n"
                            "foobar: unknown attribute, ignored\n"
                            "deepMonitoring: it has no meaning here, ignored");
        ASSERT_TRUE(!err);
        ASSERT_STREQ(c->name, "a");
        ASSERT_EQ(c->kill_timeout, 1600 * USEC_PER_MSEC);
        ASSERT_TRUE(!app_config_has(c, "pmx"));

        notes = mfree(notes);
        ASSERT_EQ(app_config_set_all_noted(c, bad, &notes, &err), -EINVAL);
        ASSERT_STREQ(notes, "v8: it has no meaning here, ignored");
        ASSERT_STREQ(err, "nice: 'x' is no whole number");

        notes = mfree(notes);
        ASSERT_OK(app_config_set_all_noted(c, good, &notes, NULL));
        ASSERT_STREQ(notes, NULL);
        ASSERT_TRUE(c->nice.set);
        ASSERT_EQ(c->nice.value, 1);

        /* Who is strict takes what is known to mean nothing, but not what is unknown. */
        err = mfree(err);
        ASSERT_EQ(app_config_set_all(c, object, &err), -ENOENT);
        ASSERT_TRUE(!strstr(err, "pmx") && strstr(err, "foobar") && strstr(err, "env_production"));
}

/* Each attribute comes back from what it printed, and its copy prints the same. */
TEST(round_trip) {
        for (size_t i = 0; i < ELEMENTSOF(accepted); i++) {
                _cleanup_app_config_unref_ AppConfig *a = config_new(), *b = config_new(), *copy = NULL;
                _cleanup_json_ json_object *x = NULL, *y = NULL, *z = NULL;

                printf("# %s: %s\n", accepted[i].key, accepted[i].json);
                ASSERT_OK(set_json(a, accepted[i].key, accepted[i].json, NULL));
                ASSERT_OK(app_config_to_json(a, &x));
                ASSERT_OK(app_config_set_all(b, x, NULL));
                ASSERT_OK(app_config_to_json(b, &y));
                ASSERT_TRUE(json_object_equal(x, y));
                ASSERT_OK(app_config_copy(a, &copy));
                ASSERT_OK(app_config_to_json(copy, &z));
                ASSERT_TRUE(json_object_equal(x, z));
        }
}

TEST(limits) {
        _cleanup_app_config_unref_ AppConfig *c = config_new();

        ASSERT_TRUE(!c->nice.set && !c->umask.set && !c->rlimits[RLIMIT_NOFILE].set && !c->capabilities);
        ASSERT_OK(set_json(c, "cpu_quota", "\"12.34%\"", NULL));
        ASSERT_EQ(c->limits.cpu_quota, 123400);
        ASSERT_OK(set_json(c, "memory_max", "\"12.34%\"", NULL));
        ASSERT_EQ(c->limits.memory_max.permyriad, 1234);
        ASSERT_EQ(c->limits.memory_max.bytes, 0);
        ASSERT_OK(set_json(c, "tasks_max", "\"infinity\"", NULL));
        ASSERT_TRUE(c->limits.tasks_max == UINT64_MAX);
        ASSERT_OK(set_json(c, "limit_nofile", "\"1K:infinity\"", NULL));
        ASSERT_EQ(c->rlimits[RLIMIT_NOFILE].soft, 1024);
        ASSERT_TRUE(c->rlimits[RLIMIT_NOFILE].hard == RLIM_INFINITY);
        ASSERT_TRUE(c->rlimits[RLIMIT_NOFILE].set && !c->rlimits[RLIMIT_CORE].set);
        ASSERT_OK(set_json(c, "umask", "\"0027\"", NULL));
        ASSERT_EQ(c->umask.value, 027);
        ASSERT_OK(set_json(c, "capabilities", "[]", NULL));
        ASSERT_TRUE(c->capabilities && strv_isempty(c->capabilities));

        ASSERT_OK(set_json(c, "limit_nofile", "null", NULL));
        ASSERT_OK(set_json(c, "capabilities", "null", NULL));
        ASSERT_OK(set_json(c, "memory_max", "null", NULL));
        ASSERT_TRUE(!c->rlimits[RLIMIT_NOFILE].set && !c->capabilities);
        ASSERT_EQ(c->limits.memory_max.permyriad, 0);
}

TEST(copy) {
        _cleanup_json_ json_object *object = json_tokener_parse(
                "{\"name\":\"a\",\"args\":[\"x\",\"y\"],\"env\":{\"A\":\"1\"},\"stop_exit_codes\":[1,2],\"kill_timeout\":5,\"instances\":3,"
                "\"merge_logs\":true,\"kill_signal\":\"SIGHUP\",\"exec_mode\":\"fork\",\"log_target\":\"file\",\"out_file\":\"o\",\"user\":\"0\"}");
        _cleanup_app_config_unref_ AppConfig *a = config_new(), *b = NULL;
        _cleanup_json_ json_object *x = NULL, *y = NULL;

        ASSERT_OK(app_config_set_all(a, object, NULL));
        ASSERT_OK(app_config_copy(a, &b));
        ASSERT_OK(app_config_to_json(a, &x));
        ASSERT_OK(app_config_to_json(b, &y));
        ASSERT_EQ(json_object_object_length(x), 11);
        ASSERT_TRUE(json_object_equal(x, y));
        ASSERT_TRUE(strv_equal(a->env, b->env));
        ASSERT_TRUE(b->instances_set && b->merge_logs_set);
        ASSERT_EQ(memcmp(&b->set, &a->set, sizeof a->set), 0);

        ASSERT_OK(set_json(b, "args", "[\"z\"]", NULL));
        ASSERT_EQ(strv_length(a->args), 2);
}

TEST(reference_counting) {
        AppConfig *c = config_new();

        ASSERT_TRUE(app_config_ref(c) == c);
        ASSERT_TRUE(!app_config_unref(c));
        ASSERT_EQ(c->n_ref, 1);
        ASSERT_TRUE(!app_config_unref(c));
        ASSERT_TRUE(!app_config_unref(NULL));
}

TEST(name_fault) {
        static const char *const good[] = { "a", "web 1", "a.b", "...", "1a", "all2", "\xc3\xa4", "a-" },
                                 *const bad[] = { "", ".", "..", "all", "0", "42", "-a", "a/b", "/", "a\nb", "a\177", "\xff" };
        char longest[257];

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ASSERT_STREQ(app_name_fault(good[i]), NULL);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_TRUE(app_name_fault(bad[i]));

        memset(longest, 'a', sizeof longest);
        longest[256] = 0;
        ASSERT_TRUE(strstr(app_name_fault(longest), "255 bytes"));
}

/* "app-pm-", two numbers of ten digits with dashes, and ".scope" leave 220 of the 255 bytes of a unit's name. */
TEST(name_fits_unit) {
        char name[222];

        memset(name, 'a', sizeof name);
        name[220] = 0;
        ASSERT_STREQ(app_name_fault(name), NULL);
        name[220] = 'a';
        name[221] = 0;
        ASSERT_TRUE(strstr(app_name_fault(name), "its unit would have a name of more than 255 bytes"));

        memset(name, '-', sizeof name);
        name[0] = 'a';
        name[55] = 0;
        ASSERT_STREQ(app_name_fault(name), NULL);
        name[55] = '-';
        name[56] = 0;
        ASSERT_TRUE(strstr(app_name_fault(name), "counts four times"));
}

/* What the table promises to those who read it. */
TEST(option_table) {
        size_t n;
        const AppOption *options = app_options(&n);

        for (size_t i = 0; i < n; i++) {
                _cleanup_strv_free_ char **aliases = strv_split(strempty(options[i].aliases), " ");

                printf("# %s\n", options[i].key);
                ASSERT_TRUE(app_option_find(options[i].key) == options + i);
                ASSERT_TRUE(!isempty(options[i].help));
                ASSERT_TRUE(options[i].type != OPTION_BOOL || !options[i].metavar);
                STRV_FOREACH(a, aliases)
                        ASSERT_TRUE(app_option_find(*a) == options + i);
                for (size_t k = 0; k < i; k++) {
                        ASSERT_TRUE(!options[i].cli || !streq_ptr(options[i].cli, options[k].cli));
                        ASSERT_TRUE(!options[i].cli_short || options[i].cli_short != options[k].cli_short);
                }
        }

        ASSERT_TRUE(!app_option_find(""));
        ASSERT_TRUE(!app_option_find("out output"));
        ASSERT_TRUE(!app_option_find("max_"));
        ASSERT_TRUE(!app_option_find("MaxRestarts"));
}

TEST(string_tables) {
        ASSERT_STRING_TABLE(exec_mode, _EXEC_MODE_MAX);
        ASSERT_STRING_TABLE(log_target, _LOG_TARGET_MAX);
        ASSERT_EQ(exec_mode_from_string("fork"), EXEC_MODE_FORK);
        ASSERT_EQ(exec_mode_from_string("cluster"), EXEC_MODE_CLUSTER);
        ASSERT_EQ(exec_mode_from_string(""), -EINVAL);
        ASSERT_EQ(exec_mode_from_string(NULL), -EINVAL);
}
