/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <sys/resource.h>

#include "shared/macro.h"
#include "shared/time-util.h"

/* The definition of an app: what an ecosystem file, the command line or a D-Bus call says of it. One table of options
 * (app-config.c) drives all of these, the manual and the checks. A definition is filled once and then only read;
 * processes and apps share it by reference. */

typedef enum ExecMode {
        EXEC_MODE_AUTO, /* not said: app_config_finish() decides as pm2 does */
        EXEC_MODE_FORK,
        EXEC_MODE_CLUSTER,
        _EXEC_MODE_MAX,
        _EXEC_MODE_INVALID = -EINVAL,
} ExecMode;

/* "fork_mode", "cluster_mode", as pm2 writes them; from_string takes "fork" and "cluster" too. */
const char *exec_mode_to_string(ExecMode m);
ExecMode exec_mode_from_string(const char *s);

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal where there is one, else files */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_FILE,
        LOG_TARGET_BOTH,
        LOG_TARGET_NONE,
        _LOG_TARGET_MAX,
        _LOG_TARGET_INVALID = -EINVAL,
} LogTarget;

const char *log_target_to_string(LogTarget t);
LogTarget log_target_from_string(const char *s);

typedef enum FilterEnvMode {
        FILTER_ENV_NONE,
        FILTER_ENV_ALL,   /* nothing of the caller's environment */
        FILTER_ENV_NAME,  /* not the variable of that name */
        FILTER_ENV_PARTS, /* no variable whose name contains one of these */
} FilterEnvMode;

/* A number that may not have been said. */
typedef struct OptionalInt {
        bool set;
        int value;
} OptionalInt;

typedef struct Rlimit {
        bool set;
        rlim_t soft, hard;
} Rlimit;

typedef struct MemoryLimit {
        uint64_t bytes;     /* 0: not said; UINT64_MAX: no limit */
        unsigned permyriad; /* hundredths of a percent of the machine's memory, instead of bytes; 0: in bytes */
} MemoryLimit;

/* What is held of all the processes of one unit together. 0 and NULL: not said; UINT64_MAX: no limit. */
typedef struct ResourceLimits {
        MemoryLimit memory_max, memory_high;
        uint64_t cpu_quota;            /* microseconds of CPU time per second */
        unsigned cpu_weight, io_weight; /* 1 to 10000, 100 is the usual */
        uint64_t tasks_max;
        char *allowed_cpus;            /* "0-3,5" */
} ResourceLimits;

/* A bit for each option of the table. */
typedef struct OptionSet {
        uint64_t words[2];
} OptionSet;

typedef struct AppConfig {
        unsigned n_ref;

        char *name;
        char *name_space;        /* "namespace"; "default" */
        char *script;            /* as given */
        char *exec_path;         /* pm_exec_path: absolute, by app_config_finish() */
        bool shell;              /* by app_config_finish(): exec_path is a shell, args begin with "-c" and the script */
        char **args;
        char *interpreter;       /* "none": the script is executed itself */
        char *interpreter_path;  /* absolute, by app_config_finish(); NULL with "none" */
        char **interpreter_args;
        char *cwd;               /* absolute after app_config_finish() */
        char **env;              /* the caller's environment with the definition's own on top */
        char **own_env;          /* names of the definition's own variables, by app_config_make_env() */
        ExecMode exec_mode;
        char *cluster_policy;    /* "auto", "shared", "reuseport" */
        int instances_given;     /* 0 and below count from the number of CPUs */
        int instances;           /* by app_config_finish(): >= 1 */
        bool instances_set;

        char *user, *group;      /* names or numbers; NULL: pmd's own */
        bool autostart, autorestart;
        usec_t min_uptime, restart_delay, exp_backoff_restart_delay;
        unsigned max_restarts;
        int *stop_exit_codes;
        size_t n_stop_exit_codes;
        int kill_signal;         /* SIGINT */
        usec_t kill_timeout;     /* 1600 ms */
        usec_t listen_timeout;   /* 3000 ms */
        usec_t drain_timeout;    /* 10 s */
        char **listen;           /* "tcp://0.0.0.0:80", …; NULL: it opens its sockets itself */
        bool treekill, wait_ready, shutdown_with_message;
        bool stdin_pipe;         /* "stdin": it has one that can be written to */

        char *out_file, *error_file, *log_file; /* NULL: the default name where files are written; "/dev/null": none */
        char *pid_file;
        LogTarget log_target;
        bool merge_logs, merge_logs_set;
        char *log_date_format, *log_type; /* "raw", "json" */
        bool time;
        uint64_t log_max_size;   /* of log files, in bytes; 0: they grow */
        unsigned log_retain;     /* rotated files that are kept */
        bool log_compress;       /* those */
        char *log_rotate_interval; /* cron expression, NULL: none */
        char *log_rotate_date_format;
        char *log_overflow;      /* "auto", "block", "drop" */
        char *log_driver;        /* "relay", "direct" */
        char *log_parse;         /* "none", "json" */
        char *log_stderr_priority; /* "err", "warning", … */
        bool disable_logs, force, write, vizion, source_map_support, disable_source_map_support;
        char *instance_var;      /* NODE_APP_INSTANCE */
        char *increment_var;     /* grows by one with each instance; NULL: none */
        unsigned port;           /* PORT in the environment; 0: none */
        FilterEnvMode filter_env_mode;
        char **filter_env;
        char **env_file;         /* read by app_config_make_env(); "-" in front: may be missing */
        char *name_prefix;       /* app_config_finish() has put it in front of the name, and NULL here */
        bool append_env_to_name; /* for who reads ecosystem files */

        bool watch;              /* as true does, or with paths */
        char **watch_paths;      /* NULL: the working directory */
        char **ignore_watch;
        usec_t watch_delay;
        char *watch_options;     /* JSON, as it was given; see watch-options.h */
        char *cron_restart;
        uint64_t max_memory_restart; /* bytes; 0: none */
        char **post_update;
        char *install_url;
        usec_t exec_timeout, kill_retry_time;

        ResourceLimits limits;
        Rlimit rlimits[RLIM_NLIMITS];
        OptionalInt nice, oom_score_adjust, umask;
        char **capabilities;     /* NULL: not said, which is not the same as none */
        bool no_new_privileges;
        bool notify;             /* it tells by sd_notify(3) when it is ready */
        usec_t watchdog_timeout; /* 0: none */
        char **required;         /* attributes without which it must not start */
        char *version;           /* of the nearest package.json above the script, "N/A" */

        OptionSet set;           /* bit n: option n of the table was given */
} AppConfig;

int app_config_new(AppConfig **ret); /* with all defaults */
AppConfig *app_config_ref(AppConfig *c);
AppConfig *app_config_unref(AppConfig *c);
DEFINE_CLEANUP_FUNC(AppConfig *, app_config_unref);
#define _cleanup_app_config_unref_ _cleanup_(app_config_unrefp)
int app_config_copy(const AppConfig *c, AppConfig **ret);

/* Sets one option by its name or an alias (snake_case or camelCase). Strings are taken for numbers, booleans and lists
 * as on the command line; NULL, "null" and "" take an option back to its default. 0; -ENOENT for an unknown key; -EINVAL or -ERANGE with
 * *reterr a sentence for the user that begins with the key ("kill_timeout: '12Q' is no duration …"), the definition untouched. */
int app_config_set(AppConfig *c, const char *key, json_object *value, char **reterr);

/* All options of a JSON object. *reterr collects every fault, a line each; the first error is returned. */
int app_config_set_all(AppConfig *c, json_object *object, char **reterr);

/* The same for what people write: an unknown key is no fault, and *ret_notes says, a line each, what has been left out: "foo: unknown
 * attribute, ignored; did you mean 'force'?", "pmx: it has no meaning here, ignored". NULL if nothing was. env_NAME is left to the caller. */
int app_config_set_all_noted(AppConfig *c, json_object *object, char **ret_notes, char **reterr);

/* What the caller's environment becomes for the app, in the caller's context, before app_config_finish(): caller's (without what filter_env
 * names), then PWD if the definition has a cwd, then the files of env_file, then the definition's own env, later ones winning. Relative files
 * lie below cwd, which base makes absolute; base NULL: no PWD, and files are not read. 0 or a negative errno with *reterr. */
int app_config_make_env(AppConfig *c, char *const *caller, const char *base, char **reterr);

/* The options that were given, under their canonical names, without the environment. */
int app_config_to_json(const AppConfig *c, json_object **ret);

/* Derives what was not said, as pm2 does, and checks the whole: name from the script, absolute cwd (base is the
 * caller's working directory, NULL where there is none: cwd must be absolute then), exec_path (cwd, then PATH of
 * the definition's env), interpreter by extension or content, shell command strings, exec mode, number of instances, version.
 * 0, or a negative errno with *reterr for the user: -ENOENT script or interpreter or cwd missing, -EACCES, -EINVAL. */
int app_config_finish(AppConfig *c, const char *base, char **reterr);

/* What package.json says now, of a definition that is finished: 1 and a copy with another version, 0 if it is the same. */
int app_config_update_version(const AppConfig *c, AppConfig **ret);

/* Whether the option was given; key as for app_config_set(). */
bool app_config_has(const AppConfig *c, const char *key);

/* Whether a name can be an app's: valid UTF-8, no '/', no control character, no leading '-', neither "." nor "..", not "all", not a number, and not too
 * long for the name of a unit: 220 letters and digits, other bytes counting four times. NULL if it can, else why not (static). */
const char *app_name_fault(const char *name);

/* The name that an app gets without one: the last part of its script, cut at the last dot; a shell command is treated no differently.
 * "." and ".." are named after the directory that they are below cwd. 0 or -ENOMEM. */
int app_name_from_script(const char *script, const char *cwd, char **ret);

/* The option table, for --help, the command line, D-Bus introspection of definitions, and the manual. */
typedef enum OptionType {
        OPTION_STRING, OPTION_PATH, OPTION_STRV, OPTION_BOOL, OPTION_UINT, OPTION_MSEC, OPTION_SIGNAL, OPTION_INSTANCES,
        OPTION_EXEC_MODE, OPTION_LOG_TARGET, OPTION_EXIT_CODES, OPTION_ENV, OPTION_USER,
        OPTION_WATCH, OPTION_LOG_FILE, OPTION_CRON, OPTION_FILTER_ENV, OPTION_WATCH_OPTIONS,
        OPTION_SIZE, OPTION_MEMORY, OPTION_COUNT, OPTION_CPU_QUOTA, OPTION_CPUS, OPTION_INT, OPTION_MODE, OPTION_RLIMIT,
        OPTION_CAPABILITIES, OPTION_REQUIRED,
        OPTION_CHOICE, /* a string, one of those in metavar, between '|' */
        OPTION_IGNORED, /* taken, whatever it is, and forgotten: what has no meaning here */
        _OPTION_TYPE_MAX,
        _OPTION_TYPE_INVALID = -EINVAL,
} OptionType;

typedef struct AppOption {
        const char *key;           /* snake_case */
        const char *aliases;       /* space-separated, NULL */
        OptionType type;
        size_t offset;             /* of the field in AppConfig */
        const char *cli;           /* "name" for --name; "no-autorestart" for a boolean that the flag turns off; NULL: none */
        const char *cli_aliases;   /* further long flags, space-separated, NULL */
        char cli_short;            /* 0: none */
        const char *metavar;       /* "MS"; "[FILE]": it need not have a value; NULL for booleans */
        int64_t min;               /* for numbers */
        uint64_t max;
        const char *default_value; /* as on the command line; NULL: nothing, false, 0 */
        const char *help;
} AppOption;

const AppOption *app_options(size_t *ret_n);
const AppOption *app_option_find(const char *key); /* by name or alias, either case style */
