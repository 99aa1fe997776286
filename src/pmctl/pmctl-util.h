/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdio.h>

#include "libpmd/pmd.h"
#include "shared/json-writer.h"
#include "shared/app-config.h"
#include "shared/instance.h"

/* What the verbs of pmctl share: the options, the connection, messages and exit codes. */

/* What a script sees. The table in pmctl(1) is the same. */
typedef enum ExitCode {
        EXIT_CODE_OK = 0,           /* done, also if there was nothing to do */
        EXIT_CODE_FAILED = 1,       /* something failed */
        EXIT_CODE_USAGE = 2,        /* unknown option or verb, missing operand */
        EXIT_CODE_NO_PERMISSION = 4,
        EXIT_CODE_NO_SUCH_APP = 5,  /* no such app or process */
        EXIT_CODE_NOT_RUNNING = 7,
        EXIT_CODE_UNREACHABLE = 69, /* no pmd answers and none could be started */
        EXIT_CODE_TRY_AGAIN = 75,   /* pmd is exiting, or has too many jobs */
        EXIT_CODE_TIMED_OUT = 124,
} ExitCode;

/* A flag that belongs to the definition of an app; value is NULL for a flag that takes none. */
typedef struct AppFlag {
        const AppOption *option;
        const char *value;
} AppFlag;

/* All options are global, as in pm2: they stand before or after the verb and each verb looks at those it knows.
 * Strings belong to argv. */
typedef struct Options {
        pmd_scope scope;
        const char *home;        /* of a private pmd, NULL: the default */

        bool help, version;
        bool json;               /* machine-readable */
        bool silent;
        bool color;              /* of standard output: a terminal, and nobody said no */
        bool color_stderr;
        bool force;
        bool update_env;
        unsigned parallel; /* 0: not given */
        bool dry_run;            /* say what would be done, do nothing */
        const char *env_name;    /* the env_NAME of an ecosystem file, NULL: none */
        const char *only;        /* the apps of an ecosystem file that are meant, NULL: all */
        bool mini_list;
        const char *sort;        /* "field" or "field:desc", NULL: by name */

        unsigned lines;          /* logs: 15 */
        bool raw, nostream;      /* logs */
        bool out, err;           /* logs: only this stream; both false: both */
        bool lines_given, format, boot, catalog, no_pager; /* logs */
        bool timestamp;          /* logs: in this format, NULL: the usual */
        const char *timestamp_format;
        const char *highlight, *grep, *cursor, *priority, *since, *until; /* logs; NULL: not said */

        bool no_daemon;          /* start in the foreground */
        char **words;            /* all that was typed behind "pmctl" */

        AppFlag *app_flags;
        size_t n_app_flags;
        char **script_args;      /* what follows "--"; NULL: no "--" */
} Options;

/* A verb: argv[0] is the verb as it was typed, then come the operands, options taken out, NULL at the end. Prints what
 * there is to say and returns an ExitCode. */
typedef int (*verb_func_t)(int argc, char *argv[], const Options *o);

int verb_start(int argc, char *argv[], const Options *o);
int verb_act(int argc, char *argv[], const Options *o); /* stop, restart, reload, delete */
int verb_act_on_file(int argc, char *argv[], const Options *o); /* startOrRestart, … */
int verb_scale(int argc, char *argv[], const Options *o);
int verb_ecosystem(int argc, char *argv[], const Options *o);
int verb_reset(int argc, char *argv[], const Options *o);
int verb_flush(int argc, char *argv[], const Options *o);
int verb_reload_logs(int argc, char *argv[], const Options *o);
int verb_send_signal(int argc, char *argv[], const Options *o);
int verb_events(int argc, char *argv[], const Options *o);
int verb_send(int argc, char *argv[], const Options *o);
int verb_send_message(int argc, char *argv[], const Options *o);
int verb_trigger(int argc, char *argv[], const Options *o);
int verb_attach(int argc, char *argv[], const Options *o);
int verb_set_property(int argc, char *argv[], const Options *o);
int verb_update(int argc, char *argv[], const Options *o);
int verb_kill(int argc, char *argv[], const Options *o);
int verb_ping(int argc, char *argv[], const Options *o);
int verb_list(int argc, char *argv[], const Options *o);
int verb_jlist(int argc, char *argv[], const Options *o);
int verb_prettylist(int argc, char *argv[], const Options *o);
int verb_pid(int argc, char *argv[], const Options *o);
int verb_id(int argc, char *argv[], const Options *o);
int verb_env(int argc, char *argv[], const Options *o);
int verb_describe(int argc, char *argv[], const Options *o);
int verb_monit(int argc, char *argv[], const Options *o);
int verb_report(int argc, char *argv[], const Options *o);
int verb_runtime(int argc, char *argv[], const Options *o);
int verb_why(int argc, char *argv[], const Options *o);
int verb_logs(int argc, char *argv[], const Options *o);
int verb_save(int argc, char *argv[], const Options *o);
int verb_resurrect(int argc, char *argv[], const Options *o);
int verb_cleardump(int argc, char *argv[], const Options *o);
int verb_startup(int argc, char *argv[], const Options *o); /* and unstartup */
int verb_set(int argc, char *argv[], const Options *o);     /* and config, conf with a value */
int verb_get(int argc, char *argv[], const Options *o);     /* and conf */
int verb_unset(int argc, char *argv[], const Options *o);
int verb_multiset(int argc, char *argv[], const Options *o);
int verb_import(int argc, char *argv[], const Options *o);

/* start --no-daemon, pmctl-runtime.c: becomes "pmd --foreground" if no pmd serves and pmd may be private, and returns an ExitCode if that fails;
 * negative if a pmd serves. */
int start_in_foreground(char *argv[], const Options *o);

/* What to do instead of a verb that there is not; words: it and its operands, NULL: none; verbs: those there are. An ExitCode. */
bool verb_has_answer(char *const *words);
int answer_unknown_verb(const Options *o, char *const *words, char *const *verbs);

/* Candidates for shell completion: the names, namespaces and numbers there are. */
void complete_targets(const Options *o);
void complete_settings(void); /* pmctl-conf.c */

/* Messages in pm2's form: "[PM2] …" on standard output, "[PM2][WARN] …" (but for notices) and "[PM2][ERROR] …" on standard error; nothing
 * with --silent. What comes from an app or a caller must have gone through string_escape_cc(). */
void message_info(const Options *o, const char *format, ...) _printf_(2, 3);
/* What pm2 calls a warning, but is none: on standard output, as all that goes well. */
void message_notice(const Options *o, const char *format, ...) _printf_(2, 3);
void message_warn(const Options *o, const char *format, ...) _printf_(2, 3);
void message_error(const Options *o, const char *format, ...) _printf_(2, 3);

/* Escape sequences, "" where standard output gets no colour. */
typedef enum Color {
        COLOR_NORMAL, /* ends any of the others */
        COLOR_BOLD,
        COLOR_INVERSE,
        COLOR_RED,
        COLOR_GREEN,
        COLOR_YELLOW,
        COLOR_BLUE,
        COLOR_CYAN,
        COLOR_GREY,
        COLOR_HEADER, /* bold cyan */
        _COLOR_MAX,
} Color;

const char *color(const Options *o, Color c);

/* Whose instance it is: that of the connection, NULL: that which the options mean. */
InstanceScope instance_scope_of(const Options *o, pmd_connection *c);

/* Connects to the pmd that the options mean. 0, or an ExitCode, the message printed. flags are those of pmd_open(). */
int acquire_connection(const Options *o, unsigned flags, pmd_connection **ret);
static inline void pmd_closep(pmd_connection **c) {
        if (*c)
                (void) pmd_close(*c);
}
#define _cleanup_connection_ _cleanup_(pmd_closep)

static inline void pmd_definition_freep(pmd_definition **d) {
        if (*d)
                (void) pmd_definition_free(*d);
}

/* What a configuration says, as libpmd takes it (pmctl-definition.c). 0 or a negative errno. */
int make_definition(const AppConfig *config, const char *cwd, pmd_definition **ret);

/* The ExitCode for what libpmd returned; e may be NULL. */
ExitCode exit_code_from_error(int r, const pmd_error *e);

/* Prints what went wrong and returns its ExitCode. */
int report_error(const Options *o, int r, const pmd_error *e);

/* One operand as libpmd takes it. */
#define TARGET(operand) ((char *const[]) { (char *) (operand), NULL })

/* Processes, sorted by id. */
typedef struct ProcessList {
        pmd_process *items;
        size_t n;
        pmd_report *reports; /* if fetch_reports() was called (report.h) */
        size_t n_reports;
} ProcessList;

void process_list_done(ProcessList *l);
#define _cleanup_process_list_ _cleanup_(process_list_done)

/* For fetch_processes(): with the environments, or without any where one may not be read. */
#define FETCH_ENVIRONMENT_IF_ALLOWED (1U << 31)

/* pmd_list() that prints its error, but for EXIT_CODE_NO_SUCH_APP, which is the verb's to tell. 0 or an ExitCode. */
int fetch_processes(const Options *o, pmd_connection *c, char *const *targets, unsigned flags, ProcessList *ret);

/* Says that nothing answers to the operand; returns EXIT_CODE_NO_SUCH_APP. */
int report_no_such_target(const Options *o, const char *target);

const pmd_attribute *process_attribute(const pmd_process *p, const char *key);
bool process_is_online(const pmd_process *p);

/* "12kb": a number and what follows it, for tables of thousands, where printf() would be felt; new memory, NULL if memory ran out. */
char *format_uint(uint64_t n, const char *unit);

/* "3m", by pm2's rule; new memory, NULL if memory ran out. */
char *format_uptime(const pmd_process *p);
char *format_bytes(uint64_t bytes);

/* Whether the operand can only be the number of a process. */
bool target_is_id(const char *target);

/* The list as it looks after a change. 0 or an ExitCode. */
int print_process_table(const Options *o, pmd_connection *c);

/* What a verb does to processes. */
typedef struct Action {
        const char *word; /* the verb */
        pmd_verb verb;
        const char *name; /* as pm2 calls it */
} Action;

const Action *action_find(const char *word);
bool action_starts(const Action *a); /* restart, reload, and what is like them */

/* "Applying action …"; "[web](0) ✓"; whether that process is among the failures. */
void announce_action(const Options *o, const char *action, const char *target, const ProcessList *l);
void confirm_process(const Options *o, const char *name, uint32_t id);
bool process_has_failed(const pmd_result *result, uint32_t id);

/* Asks for a change of all operands at once and tells what became of it, as pm2 does, without the list. An ExitCode. */
int apply_action(const Options *o, pmd_connection *c, pmd_verb verb, char *const *targets);

/* Prints the failures of a request; returns EXIT_CODE_FAILED if there are any (EXIT_CODE_TIMED_OUT if nothing was ready in
 * time), else EXIT_CODE_OK. */
int report_failures(const Options *o, const ProcessList *l, const pmd_result *result);

/* Prints what pmd has to say about the processes of a request that went well. */
void report_notes(const Options *o, pmd_connection *c, const pmd_result *result);

/* "[ 0, 1 ]"; new memory, NULL if memory ran out. */
char *format_ids(const ProcessList *l);

/* The text and a newline on standard output; an ExitCode. */
int print_json(const Options *o, JsonWriter *w);
