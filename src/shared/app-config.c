/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <limits.h>

#include "shared/app-config.h"

#include "shared/app-option.h"
#include "shared/json-util.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/unit-name.h"
#include "shared/watch-options.h"

#define MSEC_MAX ((uint64_t) 365 * 24 * 3600 * 1000)
#define INSTANCES_MAX 4096
#define FAULTS_MAX 20U
#define KEY_MAX 64U

#define FIELD(name) offsetof(AppConfig, name)

#define RLIMIT(name, resource, help)                                                    \
        { "limit_" name, NULL, OPTION_RLIMIT, FIELD(rlimits[resource]), "limit-" name, NULL, 0, "LIMIT", 0, 0, NULL, help }
#define IGNORED(key, flag)                                                              \
        { key, NULL, OPTION_IGNORED, 0, flag, NULL, 0, NULL, 0, 0, NULL, "Taken for pm2's sake, without effect" }

/* Key, aliases, type, field; flag, further flags, short flag, metavar; min, max, default; help. The order is that of --help. */
static const AppOption option_table[] = {
        { "name", NULL, OPTION_STRING, FIELD(name), "name", NULL, 'n', "NAME", 0, 0, NULL, "Name of the app" },
        { "namespace", NULL, OPTION_STRING, FIELD(name_space), "namespace", NULL, 0, "NAME", 0, 0, "default", "Namespace of the app" },
        { "script", "exec cmd command", OPTION_STRING, FIELD(script), NULL, NULL, 0, "SCRIPT", 0, 0, NULL,
          "File to run, directory with a package.json, command in PATH, or shell command with a space in it" },
        { "args", NULL, OPTION_STRV, FIELD(args), NULL, NULL, 0, "ARGS", 0, 0, NULL, "Arguments of the script" },
        { "cwd", NULL, OPTION_PATH, FIELD(cwd), "cwd", NULL, 0, "DIR", 0, 0, NULL, "Working directory" },
        { "interpreter", "exec_interpreter", OPTION_STRING, FIELD(interpreter), "interpreter", NULL, 0, "PROGRAM", 0, 0, NULL,
          "What runs the script; \"none\": it is executed itself" },
        { "interpreter_args", "node_args", OPTION_STRV, FIELD(interpreter_args), "interpreter-args", "node-args", 0, "ARGS", 0, 0, NULL,
          "Arguments of the interpreter" },
        { "env", NULL, OPTION_ENV, FIELD(env), NULL, NULL, 0, "ENVIRONMENT", 0, 0, NULL, "Environment variables" },
        { "exec_mode", "execute_command", OPTION_EXEC_MODE, FIELD(exec_mode), "execute-command", NULL, 'x', NULL, 0, 0, "auto",
          "Run in fork mode" },
        { "instances", NULL, OPTION_INSTANCES, FIELD(instances_given), "instances", NULL, 'i', "N", 0, INSTANCES_MAX, "1",
          "Number of processes; \"max\": one per CPU, -N: N less than that" },
        { "cluster_policy", NULL, OPTION_CHOICE, FIELD(cluster_policy), "cluster-policy", NULL, 0, "auto|shared|reuseport", 0, 0, "auto",
          "How the processes of a cluster share a TCP port: one socket for all, or one for each" },
        { "user", "uid", OPTION_USER, FIELD(user), "user", "uid", 'u', "USER", 0, 0, NULL, "Run as this user" },
        { "group", "gid", OPTION_USER, FIELD(group), "gid", "group", 0, "GROUP", 0, 0, NULL, "Run as this group" },
        { "autostart", NULL, OPTION_BOOL, FIELD(autostart), "no-autostart", NULL, 0, NULL, 0, 0, "true", "Do not start it yet" },
        { "autorestart", NULL, OPTION_BOOL, FIELD(autorestart), "no-autorestart", NULL, 0, NULL, 0, 0, "true", "Do not restart it when it exits" },
        { "min_uptime", NULL, OPTION_MSEC, FIELD(min_uptime), "min-uptime", NULL, 0, "MS", 100, MSEC_MAX, "1000",
          "A process that ran for less counts as unstable" },
        { "max_restarts", NULL, OPTION_UINT, FIELD(max_restarts), "max-restarts", NULL, 0, "N", 0, UINT_MAX, "16",
          "Give up after so many unstable restarts" },
        { "restart_delay", NULL, OPTION_MSEC, FIELD(restart_delay), "restart-delay", NULL, 0, "MS", 0, MSEC_MAX, NULL,
          "Wait before each restart" },
        { "exp_backoff_restart_delay", NULL, OPTION_MSEC, FIELD(exp_backoff_restart_delay), "exp-backoff-restart-delay", NULL, 0, "MS", 0,
          MSEC_MAX, NULL, "Wait before a restart, each time half as long again, up to 15 s" },
        { "stop_exit_codes", NULL, OPTION_EXIT_CODES, FIELD(stop_exit_codes), "stop-exit-codes", NULL, 0, "CODES", 0, 255, NULL,
          "Do not restart it after these exit codes" },
        { "kill_signal", "stop_signal", OPTION_SIGNAL, FIELD(kill_signal), "kill-signal", "stop-signal", 0, "SIGNAL", 0, 0, "SIGINT",
          "Signal that asks it to finish" },
        { "kill_timeout", NULL, OPTION_MSEC, FIELD(kill_timeout), "kill-timeout", NULL, 'k', "MS", 0, MSEC_MAX, "1600",
          "Time between the signal that asks and SIGKILL" },
        { "listen_timeout", NULL, OPTION_MSEC, FIELD(listen_timeout), "listen-timeout", NULL, 0, "MS", 0, MSEC_MAX, "3000",
          "Time to wait until it is ready" },
        { "drain_timeout", NULL, OPTION_MSEC, FIELD(drain_timeout), "drain-timeout", NULL, 0, "MS", 0, MSEC_MAX, "10000",
          "Time that the old process of a reload has for what it has begun" },
        { "listen", NULL, OPTION_STRV, FIELD(listen), "listen", NULL, 0, "ADDRESSES", 0, 0, NULL,
          "Sockets that are held for it: tcp://ADDRESS:PORT, udp://ADDRESS:PORT, unix:///PATH" },
        { "treekill", NULL, OPTION_BOOL, FIELD(treekill), "no-treekill", NULL, 0, NULL, 0, 0, "true", "Signal the main process only" },
        { "wait_ready", NULL, OPTION_BOOL, FIELD(wait_ready), "wait-ready", NULL, 0, NULL, 0, 0, NULL, "Wait until it says that it is ready" },
        { "shutdown_with_message", NULL, OPTION_BOOL, FIELD(shutdown_with_message), "shutdown-with-message", NULL, 0, NULL, 0, 0, NULL,
          "Ask it to finish by a message instead of a signal" },
        { "stdin", NULL, OPTION_BOOL, FIELD(stdin_pipe), "stdin", NULL, 0, NULL, 0, 0, NULL, "Give it a standard input, for pmctl send and attach" },
        { "out_file", "out output out_log", OPTION_PATH, FIELD(out_file), "output", NULL, 'o', "FILE", 0, 0, NULL, "Log of standard output" },
        { "error_file", "error err err_file err_log", OPTION_PATH, FIELD(error_file), "error", NULL, 'e', "FILE", 0, 0, NULL,
          "Log of standard error" },
        { "log_file", "log", OPTION_LOG_FILE, FIELD(log_file), "log", NULL, 'l', "[FILE]", 0, 0, NULL, "Log of both" },
        { "pid_file", "pid", OPTION_PATH, FIELD(pid_file), "pid", NULL, 'p', "FILE", 0, 0, NULL, "File for the process id" },
        { "log_target", NULL, OPTION_LOG_TARGET, FIELD(log_target), "log-target", NULL, 0, "TARGET", 0, 0, "auto",
          "Where lines go: auto, journal, file, both or none" },
        { "merge_logs", "combine_logs", OPTION_BOOL, FIELD(merge_logs), "merge-logs", NULL, 0, NULL, 0, 0, NULL,
          "One log file for all processes of the app" },
        { "disable_logs", NULL, OPTION_BOOL, FIELD(disable_logs), "disable-logs", NULL, 0, NULL, 0, 0, NULL, "Drop its output" },
        { "force", NULL, OPTION_BOOL, FIELD(force), "force", NULL, 'f', NULL, 0, 0, NULL, "Start it even if it runs already" },
        { "log_date_format", NULL, OPTION_STRING, FIELD(log_date_format), "log-date-format", NULL, 0, "FORMAT", 0, 0, NULL,
          "Begin each line of log files with the date, in this format" },
        { "time", NULL, OPTION_BOOL, FIELD(time), "time", NULL, 0, NULL, 0, 0, NULL, "Begin each line of log files with the date" },
        { "log_type", NULL, OPTION_CHOICE, FIELD(log_type), "log-type", NULL, 0, "raw|json", 0, 0, NULL,
          "Form of log files: lines as they are, or a JSON object each" },
        { "log_max_size", "max_size", OPTION_SIZE, FIELD(log_max_size), "log-max-size", NULL, 0, "SIZE", 0, INT64_MAX, "10M",
          "Rotate log files that would grow larger; 0: never" },
        { "log_retain", "retain", OPTION_UINT, FIELD(log_retain), "log-retain", NULL, 0, "N", 0, UINT_MAX, "10",
          "Rotated log files that are kept" },
        { "log_compress", "compress", OPTION_BOOL, FIELD(log_compress), "log-compress", NULL, 0, NULL, 0, 0, NULL,
          "Compress rotated log files" },
        { "log_rotate_interval", "rotate_interval", OPTION_CRON, FIELD(log_rotate_interval), "log-rotate-interval", NULL, 0, "PATTERN", 0, 0,
          NULL, "Rotate log files at these times, whatever their size; 0: never" },
        { "log_rotate_date_format", "date_format", OPTION_STRING, FIELD(log_rotate_date_format), "log-rotate-date-format", NULL, 0, "FORMAT",
          0, 0, "YYYY-MM-DD_HH-mm-ss", "Date in the names of rotated log files" },
        { "log_overflow", NULL, OPTION_CHOICE, FIELD(log_overflow), "log-overflow", NULL, 0, "auto|block|drop", 0, 0, "auto",
          "When its log takes no more lines: let it wait, or drop the oldest" },
        { "log_driver", NULL, OPTION_CHOICE, FIELD(log_driver), "log-driver", NULL, 0, "relay|direct", 0, 0, "relay",
          "Read its output and pass it on, or let it write to the journal itself" },
        { "log_parse", NULL, OPTION_CHOICE, FIELD(log_parse), "log-parse", NULL, 0, "none|json", 0, 0, "none",
          "Turn lines that are JSON objects into fields of the journal" },
        { "log_stderr_priority", NULL, OPTION_CHOICE, FIELD(log_stderr_priority), "log-stderr-priority", NULL, 0,
          "emerg|alert|crit|err|warning|notice|info|debug", 0, 0, "err", "Priority of lines of standard error in the journal" },
        { "write", NULL, OPTION_BOOL, FIELD(write), NULL, NULL, 0, NULL, 0, 0, NULL, "Kept for pm2's sake" },
        { "watch", NULL, OPTION_WATCH, FIELD(watch), "watch", NULL, 0, "[PATHS]", 0, 0, NULL,
          "Restart it when files change, in its working directory or these" },
        { "ignore_watch", NULL, OPTION_STRV, FIELD(ignore_watch), "ignore-watch", NULL, 0, "PATTERNS", 0, 0, NULL,
          "Files whose changes do not matter" },
        { "watch_delay", NULL, OPTION_MSEC, FIELD(watch_delay), "watch-delay", NULL, 0, "DELAY", 0, MSEC_MAX, NULL,
          "Wait after a change before the restart" },
        { "watch_options", NULL, OPTION_WATCH_OPTIONS, FIELD(watch_options), NULL, NULL, 0, "OBJECT", 0, 0, NULL, "More about watching" },
        { "cron_restart", "cron", OPTION_CRON, FIELD(cron_restart), "cron-restart", "cron", 'c', "PATTERN", 0, 0, NULL,
          "Restart it at these times; 0: never" },
        { "max_memory_restart", NULL, OPTION_SIZE, FIELD(max_memory_restart), "max-memory-restart", NULL, 0, "SIZE", 0, INT64_MAX, NULL,
          "Restart it when it needs more memory than this" },
        { "instance_var", NULL, OPTION_STRING, FIELD(instance_var), "instance-var", NULL, 0, "NAME", 0, 0, "NODE_APP_INSTANCE",
          "Environment variable that tells the number of the instance" },
        { "increment_var", NULL, OPTION_STRING, FIELD(increment_var), NULL, NULL, 0, "NAME", 0, 0, NULL,
          "Environment variable that grows by one with each instance" },
        { "port", NULL, OPTION_UINT, FIELD(port), NULL, NULL, 0, "PORT", 0, 65535, NULL, "Environment variable PORT" },
        { "filter_env", NULL, OPTION_FILTER_ENV, FIELD(filter_env), "filter-env", NULL, 0, "[PARTS]", 0, 0, NULL,
          "Leave out variables of the environment" },
        { "env_file", NULL, OPTION_STRV, FIELD(env_file), "env-file", NULL, 0, "FILES", 0, 0, NULL,
          "Files with environment variables; \"-\" in front: it may be missing" },
        { "own_env", NULL, OPTION_STRV, FIELD(own_env), NULL, NULL, 0, "NAMES", 0, 0, NULL,
          "Variables of env that are the definition's own, which --update-env leaves alone" },
        { "name_prefix", NULL, OPTION_STRING, FIELD(name_prefix), NULL, NULL, 0, "PREFIX", 0, 0, NULL,
          "The name becomes PREFIX:NAME" },
        { "append_env_to_name", NULL, OPTION_BOOL, FIELD(append_env_to_name), NULL, NULL, 0, NULL, 0, 0, NULL,
          "The name becomes NAME-ENV with --env ENV" },
        { "vizion", NULL, OPTION_BOOL, FIELD(vizion), "no-vizion", NULL, 0, NULL, 0, 0, "true", "Do not look for version control data" },
        { "source_map_support", NULL, OPTION_BOOL, FIELD(source_map_support), "source-map-support", NULL, 0, NULL, 0, 0, NULL,
          "Let Node.js use source maps" },
        { "disable_source_map_support", NULL, OPTION_BOOL, FIELD(disable_source_map_support), "disable-source-map-support", NULL, 0,
          NULL, 0, 0, NULL, "Do not let Node.js use source maps" },
        { "post_update", NULL, OPTION_STRV, FIELD(post_update), NULL, NULL, 0, "COMMANDS", 0, 0, NULL,
          "Commands to run when its source was updated" },
        { "exec_timeout", NULL, OPTION_MSEC, FIELD(exec_timeout), NULL, NULL, 0, "MS", 0, MSEC_MAX, NULL, "Time that these may take" },
        { "install_url", NULL, OPTION_STRING, FIELD(install_url), NULL, NULL, 0, "URL", 0, 0, NULL, "Where it came from" },
        { "kill_retry_time", NULL, OPTION_MSEC, FIELD(kill_retry_time), NULL, NULL, 0, "MS", 0, MSEC_MAX, "100",
          "Kept for pm2's sake: pmd is told when a process ends" },

        { "memory_max", NULL, OPTION_MEMORY, FIELD(limits.memory_max), "memory-max", NULL, 0, "SIZE", 0, 0, NULL,
          "Memory that its processes may have; the kernel kills above it" },
        { "memory_high", NULL, OPTION_MEMORY, FIELD(limits.memory_high), "memory-high", NULL, 0, "SIZE", 0, 0, NULL,
          "Memory above which its processes are slowed down" },
        { "cpu_quota", NULL, OPTION_CPU_QUOTA, FIELD(limits.cpu_quota), "cpu-quota", NULL, 0, "PERCENT", 1, 1000000, NULL,
          "CPU time that its processes may have, in percent of one CPU" },
        { "cpu_weight", NULL, OPTION_UINT, FIELD(limits.cpu_weight), "cpu-weight", NULL, 0, "WEIGHT", 1, 10000, NULL,
          "Share of the CPUs where they are short" },
        { "io_weight", NULL, OPTION_UINT, FIELD(limits.io_weight), "io-weight", NULL, 0, "WEIGHT", 1, 10000, NULL,
          "Share of the disks where they are short" },
        { "tasks_max", NULL, OPTION_COUNT, FIELD(limits.tasks_max), "tasks-max", NULL, 0, "N", 1, INT64_MAX, NULL,
          "Processes and threads that it may have" },
        { "allowed_cpus", NULL, OPTION_CPUS, FIELD(limits.allowed_cpus), "allowed-cpus", NULL, 0, "CPUS", 0, 0, NULL,
          "CPUs that it may run on, such as 0-3,5" },
        { "nice", NULL, OPTION_INT, FIELD(nice), "nice", NULL, 0, "N", -20, 19, NULL, "Nice level" },
        { "oom_score_adjust", NULL, OPTION_INT, FIELD(oom_score_adjust), "oom-score-adjust", NULL, 0, "N", -1000, 1000, NULL,
          "How early it dies when memory is short, -1000: never" },
        RLIMIT("as", RLIMIT_AS, "Address space"),
        RLIMIT("core", RLIMIT_CORE, "Size of core dumps"),
        RLIMIT("cpu", RLIMIT_CPU, "Seconds of CPU time"),
        RLIMIT("data", RLIMIT_DATA, "Size of the data segment"),
        RLIMIT("fsize", RLIMIT_FSIZE, "Size of files it writes"),
        RLIMIT("locks", RLIMIT_LOCKS, "File locks"),
        RLIMIT("memlock", RLIMIT_MEMLOCK, "Memory it locks"),
        RLIMIT("msgqueue", RLIMIT_MSGQUEUE, "Bytes of message queues"),
        RLIMIT("nice", RLIMIT_NICE, "Highest priority, as 20 minus the nice level"),
        RLIMIT("nofile", RLIMIT_NOFILE, "Open files"),
        RLIMIT("nproc", RLIMIT_NPROC, "Processes of its user"),
        RLIMIT("rss", RLIMIT_RSS, "Resident memory"),
        RLIMIT("rtprio", RLIMIT_RTPRIO, "Real-time priority"),
        RLIMIT("rttime", RLIMIT_RTTIME, "Microseconds of real-time CPU time"),
        RLIMIT("sigpending", RLIMIT_SIGPENDING, "Pending signals"),
        RLIMIT("stack", RLIMIT_STACK, "Size of the stack"),
        { "umask", NULL, OPTION_MODE, FIELD(umask), "umask", NULL, 0, "MODE", 0, 0777, NULL, "File mode creation mask" },
        { "capabilities", NULL, OPTION_CAPABILITIES, FIELD(capabilities), "capabilities", NULL, 0, "CAPABILITIES", 0, 0, NULL,
          "Capabilities that it has, and no others" },
        { "no_new_privileges", NULL, OPTION_BOOL, FIELD(no_new_privileges), "no-new-privileges", NULL, 0, NULL, 0, 0, NULL,
          "Programs that it executes give it no further rights" },
        { "notify", NULL, OPTION_BOOL, FIELD(notify), "notify", NULL, 0, NULL, 0, 0, NULL, "It tells by sd_notify(3) when it is ready" },
        { "watchdog_timeout", NULL, OPTION_MSEC, FIELD(watchdog_timeout), "watchdog-timeout", NULL, 0, "MS", 0, MSEC_MAX, NULL,
          "Restart it if it gives no sign of life by sd_notify(3) for so long" },
        { "required", NULL, OPTION_REQUIRED, FIELD(required), "required", NULL, 0, "ATTRIBUTES", 0, 0, NULL,
          "Limits without which it must not start" },

        /* What pm2's monitoring service and its library in the app would want to know, and what means nothing on Linux. */
        IGNORED("automation", NULL),
        IGNORED("deep_monitoring", "deep-monitoring"),
        IGNORED("disable_trace", "disable-trace"),
        IGNORED("event_loop_inspector", "event-loop-inspector"),
        IGNORED("io", NULL),
        IGNORED("pmx", NULL),
        IGNORED("trace", "trace"),
        IGNORED("username", NULL),
        IGNORED("v8", "v8"),
        IGNORED("windows_hide", NULL),
};

static_assert(ELEMENTSOF(option_table) <= sizeof(OptionSet) * 8, "AppConfig.set has a bit per option");

static const char *const exec_mode_table[_EXEC_MODE_MAX] = {
        [EXEC_MODE_AUTO] = "auto",
        [EXEC_MODE_FORK] = "fork_mode",
        [EXEC_MODE_CLUSTER] = "cluster_mode",
};

const char *exec_mode_to_string(ExecMode m) {
        return (int) m < 0 || m >= _EXEC_MODE_MAX ? NULL : exec_mode_table[m];
}

ExecMode exec_mode_from_string(const char *s) {
        for (ExecMode m = 0; s && m < _EXEC_MODE_MAX; m++) {
                const char *rest = startswith(exec_mode_table[m], s);

                if (rest && (streq(rest, "") || streq(rest, "_mode")))
                        return m;
        }
        return _EXEC_MODE_INVALID;
}

static const char *const log_target_table[_LOG_TARGET_MAX] = {
        [LOG_TARGET_AUTO] = "auto",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_FILE] = "file",
        [LOG_TARGET_BOTH] = "both",
        [LOG_TARGET_NONE] = "none",
};

DEFINE_STRING_TABLE(LogTarget, log_target)

static bool key_equal(const char *key, const char *snake, size_t n) {
        size_t i = 0;

        for (; *key && i < n; key++, i++) {
                if (*key == snake[i])
                        continue;
                if (snake[i] != '_' || i + 1 == n || !isupper((unsigned char) *key) || tolower((unsigned char) *key) != snake[i + 1])
                        return false;
                i++;
        }

        return !*key && i == n;
}

const AppOption *app_options(size_t *ret_n) {
        *ret_n = ELEMENTSOF(option_table);
        return option_table;
}

/* Calls match() with the key and the aliases of each option until it returns true. */
static const AppOption *foreach_key(bool (*match)(const char *key, size_t n, void *userdata), void *userdata) {
        for (const AppOption *o = option_table; o < option_table + ELEMENTSOF(option_table); o++) {
                if (match(o->key, strlen(o->key), userdata))
                        return o;
                for (const char *s = strempty(o->aliases); *s; s += strcspn(s, " "), s += strspn(s, " "))
                        if (match(s, strcspn(s, " "), userdata))
                                return o;
        }
        return NULL;
}

static bool match_equal(const char *key, size_t n, void *userdata) {
        return key_equal(userdata, key, n);
}

const AppOption *app_option_find(const char *key) {
        return foreach_key(match_equal, (char *) key);
}

typedef struct Nearest {
        const char *wanted;
        char key[KEY_MAX];
        size_t distance;
} Nearest;

static bool match_nearest(const char *key, size_t n, void *userdata) {
        Nearest *nearest = userdata;
        size_t d = string_distance(nearest->wanted, key, n);

        if (d < nearest->distance) {
                nearest->distance = d;
                *(char *) mempcpy(nearest->key, key, n) = 0;
        }
        return false;
}

/* The key or alias that was probably meant, in *buffer; NULL if none is near. */
static const char *nearest_key(const char *key, Nearest *buffer) {
        *buffer = (Nearest) { .wanted = key, .distance = KEY_MAX };

        if (strlen(key) < KEY_MAX)
                (void) foreach_key(match_nearest, buffer);
        /* One that has hardly a letter in common is no help. */
        return buffer->distance <= MAX(strlen(key) / 3, (size_t) 1) ? buffer->key : NULL;
}

static int fault_unknown(const char *key, char **reterr) {
        Nearest buffer;
        const char *nearest = nearest_key(key, &buffer);

        if (!nearest)
                return config_fault(reterr, -ENOENT, "%.64s: there is no such option", key);
        return config_fault(reterr, -ENOENT, "%s: there is no such option, did you mean '%s'?", key, nearest);
}

/* ---- definitions ---- */

static void app_config_free(AppConfig *c) {
        for (size_t i = 0; i < ELEMENTSOF(option_table); i++)
                option_clear(option_table + i, c);
        free(c->exec_path);
        free(c->interpreter_path);
        free(c->version);
        free(c);
}

DEFINE_REF_UNREF_FUNC(AppConfig, app_config, app_config_free);

static int set_default(const AppOption *o, AppConfig *c) {
        _cleanup_(json_object_putp) json_object *value = NULL;

        if (!o->default_value) {
                option_clear(o, c);
                return 0;
        }

        value = json_object_new_string(o->default_value);
        if (!value)
                return -ENOMEM;
        return option_set(o, c, value, NULL);
}

int app_config_new(AppConfig **ret) {
        _cleanup_app_config_unref_ AppConfig *c = new0(AppConfig, 1);
        int r;

        if (!c)
                return -ENOMEM;
        c->n_ref = 1;
        c->instances = 1;

        for (size_t i = 0; i < ELEMENTSOF(option_table); i++) {
                r = set_default(option_table + i, c);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(c);
        return 0;
}

int app_config_copy(const AppConfig *c, AppConfig **ret) {
        _cleanup_app_config_unref_ AppConfig *n = new0(AppConfig, 1);
        int r;

        if (!n)
                return -ENOMEM;
        n->n_ref = 1;

        for (size_t i = 0; i < ELEMENTSOF(option_table); i++) {
                r = option_copy(option_table + i, n, c);
                if (r < 0)
                        return r;
        }

        if (free_and_strdup(&n->exec_path, c->exec_path) < 0 ||
            free_and_strdup(&n->interpreter_path, c->interpreter_path) < 0 ||
            free_and_strdup(&n->version, c->version) < 0)
                return -ENOMEM;
        n->shell = c->shell;
        n->instances = c->instances;
        n->instances_set = c->instances_set;
        n->merge_logs_set = c->merge_logs_set;
        n->set = c->set;

        *ret = TAKE_PTR(n);
        return 0;
}

static bool option_is_set(const AppConfig *c, const AppOption *o) {
        size_t n = (size_t) (o - option_table);

        return (c->set.words[n / 64] & UINT64_C(1) << n % 64) != 0;
}

bool app_config_has(const AppConfig *c, const char *key) {
        const AppOption *o = app_option_find(key);

        return o && option_is_set(c, o);
}

static void mark_set(AppConfig *c, const AppOption *o, bool set) {
        size_t n = (size_t) (o - option_table);
        uint64_t bit = UINT64_C(1) << n % 64;

        if (o->type == OPTION_IGNORED)
                return;
        c->set.words[n / 64] = set ? c->set.words[n / 64] | bit : c->set.words[n / 64] & ~bit;

        if (o->offset == FIELD(instances_given))
                c->instances_set = set;
        if (o->offset == FIELD(merge_logs))
                c->merge_logs_set = set;
}

/* JavaScript takes "" for nothing, and pm2's command line "null". */
static bool value_is_null(json_object *value) {
        return !value || (json_object_is_type(value, json_type_string) &&
                          (streq(json_object_get_string(value), "null") || json_object_get_string_len(value) == 0));
}

int app_config_set(AppConfig *c, const char *key, json_object *value, char **reterr) {
        const AppOption *o = app_option_find(key);
        bool null;
        int r;

        if (!o)
                return fault_unknown(key, reterr);

        null = value_is_null(value);
        r = null ? set_default(o, c) : option_set(o, c, value, reterr);
        if (r < 0)
                return r;

        if (o->offset == FIELD(args))
                c->shell = false;
        mark_set(c, o, !null);
        return 0;
}

/* Lines, up to FAULTS_MAX. */
typedef struct Lines {
        char *text;
        unsigned n;
} Lines;

static int add_line(Lines *l, const char *line) {
        char *joined;

        if (++l->n > FAULTS_MAX)
                return 0;
        joined = strjoin(strempty(l->text), l->text ? "\n" : "", l->n == FAULTS_MAX ? "and more" : line);
        if (!joined)
                return -ENOMEM;
        free(l->text);
        l->text = joined;
        return 0;
}

/* It is read all the same: 0 or -ENOMEM. */
static int note_watch_options(Lines *notes, json_object *value) {
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = watch_options_notes(value, &text);
        if (r < 0 || !text)
                return r;
        lines = strv_split(text, "\n");
        if (!lines)
                return -ENOMEM;
        STRV_FOREACH(line, lines) {
                r = add_line(notes, *line);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Takes note of a key that means nothing. 1 if it is one. */
static int note_key(Lines *notes, const char *key, json_object *value) {
        const AppOption *o = app_option_find(key);
        _cleanup_free_ char *text = NULL;
        const char *nearest;
        Nearest buffer;
        int r;

        if (o && o->type == OPTION_WATCH_OPTIONS)
                return note_watch_options(notes, value);
        if (o && o->type != OPTION_IGNORED)
                return 0;
        if (!o && startswith(key, "env_"))
                return 1;

        nearest = o ? NULL : nearest_key(key, &buffer);
        if (o)
                (void) config_fault(&text, 0, "%s: it has no meaning here, ignored", key);
        else
                (void) config_fault(&text, 0, "%.64s: unknown attribute, ignored%s%s%s", key, nearest ? "; did you mean '" : "",
                                    strempty(nearest), nearest ? "'?" : "");
        if (!text)
                return -ENOMEM;
        r = add_line(notes, text);
        return r < 0 ? r : 1;
}

/* Without notes an unknown key is a fault. */
static int set_object(AppConfig *c, json_object *object, Lines *notes, Lines *faults) {
        int ret = 0, r;

        json_object_object_foreach(object, key, value) {
                _cleanup_free_ char *text = NULL;

                r = notes ? note_key(notes, key, value) : 0;
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;

                r = app_config_set(c, key, value, &text);
                if (r >= 0)
                        continue;
                if (r == -ENOMEM)
                        return r;
                RET_GATHER(ret, r);

                r = add_line(faults, text);
                if (r < 0)
                        return r;
        }

        return ret;
}

static int set_all(AppConfig *c, json_object *object, char **ret_notes, char **reterr) {
        Lines notes = {}, faults = {};
        int r;

        if (!json_object_is_type(object, json_type_object))
                return config_fault(reterr, -EINVAL, "the definition of an app is no JSON object");

        r = set_object(c, object, ret_notes ? &notes : NULL, &faults);
        if (r < 0 && r != -ENOMEM && reterr)
                *reterr = TAKE_PTR(faults.text);
        if (r != -ENOMEM && ret_notes)
                *ret_notes = TAKE_PTR(notes.text);
        free(notes.text);
        free(faults.text);
        return r;
}

int app_config_set_all(AppConfig *c, json_object *object, char **reterr) {
        return set_all(c, object, NULL, reterr);
}

int app_config_set_all_noted(AppConfig *c, json_object *object, char **ret_notes, char **reterr) {
        return set_all(c, object, ret_notes, reterr);
}

static json_object *option_get_given(const AppOption *o, const AppConfig *c) {
        AppConfig without_shell;

        if (o->offset != FIELD(args) || !c->shell)
                return option_get(o, c);

        without_shell = *c;
        without_shell.args = c->args + 2;
        return option_get(o, &without_shell);
}

int app_config_to_json(const AppConfig *c, json_object **ret) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();

        if (!object)
                return -ENOMEM;

        for (size_t i = 0; i < ELEMENTSOF(option_table); i++) {
                const AppOption *o = option_table + i;
                json_object *value;

                if (!option_is_set(c, o) || o->type == OPTION_ENV)
                        continue;
                value = option_get_given(o, c);
                if (!value || json_object_object_add(object, o->key, value) < 0) {
                        json_object_put(value);
                        return -ENOMEM;
                }
        }

        *ret = TAKE_PTR(object);
        return 0;
}

/* With the longest numbers behind it; in a private pmd too, so that a definition is good everywhere. */
static bool fits_unit_name(const char *app) {
        _cleanup_free_ char *unit = NULL;

        return unit_name_scope(app, UINT_MAX, UINT_MAX, true, &unit) != -ENAMETOOLONG;
}

const char *app_name_fault(const char *name) {
        size_t n = strlen(name);

        if (n == 0)
                return "it is empty";
        if (n > 255)
                return "it is longer than 255 bytes";
        if (!utf8_is_valid(name, n))
                return "it is not valid UTF-8";
        if (string_has_cc(name))
                return "it contains a control character";
        if (strchr(name, '/'))
                return "it contains a '/'";
        if (name[0] == '-')
                return "it begins with a '-' and would be taken for an option";
        if (streq(name, ".") || streq(name, ".."))
                return "it means a directory";
        if (streq(name, "all"))
                return "it would be taken for all apps";
        if (name[strspn(name, "0123456789")] == 0)
                return "it is a number and would be taken for the id of a process";
        if (!fits_unit_name(name))
                return "its unit would have a name of more than 255 bytes, where a byte that is no letter, digit, '_', ':' or '.' counts four times";
        return NULL;
}
