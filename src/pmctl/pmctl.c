/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "config.h"
#include "shared/json-writer.h"
#include "pmctl/pmctl-options.h"
#include "pmctl/pmctl-util.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define ANY UINT_MAX
#define PROCESSES "NAME|NAMESPACE|ID|/REGEX/|all"
#define PROCESSES_OR_FILES PROCESSES "|FILE…"

typedef enum VerbFlags {
        VERB_DEFINES = 1 << 0, /* takes the options of definitions, and arguments of the script behind "--" */
        VERB_HIDDEN = 1 << 1,
} VerbFlags;

typedef struct Verb {
        const char *name;
        const char *aliases;  /* space-separated, NULL */
        const char *operands; /* as help shows them, NULL: none */
        unsigned min, max;    /* operands */
        VerbFlags flags;
        verb_func_t run;
        const char *options;  /* those of pmctl's own that matter to it, space-separated, NULL */
        const char *help;
} Verb;

static int verb_help(int argc, char *argv[], const Options *o);
static int verb_version(int argc, char *argv[], const Options *o);
static int verb_complete(int argc, char *argv[], const Options *o);

static const Verb verbs[] = {
        { "start", NULL, "SCRIPT|FILE|NAME|NAMESPACE|ID|all…", 0, ANY, VERB_DEFINES, verb_start, "force env only dry-run no-daemon",
          "Start a script, a binary, a command, the apps of an ecosystem file, or what is known already" },
        { "runtime", NULL, "[SCRIPT|FILE]", 0, ANY, VERB_DEFINES, verb_runtime, "raw json env only",
          "Be the main process of a container: start, show what the apps print, end with them" },
        { "stop", NULL, PROCESSES_OR_FILES, 1, ANY, 0, verb_act, "only dry-run", "Stop processes" },
        { "restart", NULL, PROCESSES_OR_FILES, 1, ANY, VERB_DEFINES, verb_act, "update-env env only dry-run",
          "Stop and start processes, with what the options change" },
        { "reload", "gracefulReload", PROCESSES_OR_FILES, 1, ANY, VERB_DEFINES, verb_act, "update-env env only parallel dry-run",
          "Restart processes; those in cluster mode without a gap" },
        { "delete", "del", PROCESSES_OR_FILES, 1, ANY, 0, verb_act, "only dry-run", "Stop processes and forget them" },
        { "startOrRestart", NULL, "FILE…", 1, ANY, VERB_DEFINES, verb_act_on_file, "env only dry-run",
          "Start or restart the apps of an ecosystem file" },
        { "startOrReload", NULL, "FILE…", 1, ANY, VERB_DEFINES, verb_act_on_file, "env only dry-run",
          "Start or reload the apps of an ecosystem file" },
        { "startOrGracefulReload", NULL, "FILE…", 1, ANY, VERB_DEFINES, verb_act_on_file, "env only dry-run",
          "The same as startOrReload" },
        { "scale", NULL, "APP N|+N|-N", 2, 2, 0, verb_scale, "dry-run", "Change how many processes an app has" },
        { "ecosystem", "init", "[simple]", 0, 1, 0, verb_ecosystem, "force", "Write a sample of an ecosystem file" },
        { "reset", NULL, PROCESSES "…", 1, ANY, 0, verb_reset, NULL, "Set the counters of restarts to 0" },
        { "sendSignal", NULL, "SIGNAL " PROCESSES "…", 2, ANY, 0, verb_send_signal, NULL,
          "Send a signal to processes" },
        { "send", "sendLine", "ID TEXT", 2, 2, 0, verb_send, NULL, "Write a line to the standard input of a process that has one (start --stdin)" },
        { "sendMessage", NULL, "ID JSON", 2, 2, 0, verb_send_message, NULL, "Send a message to a Node process, for its process.on('message')" },
        { "trigger", NULL, PROCESSES " ACTION [PARAMETERS]", 2, 3, 0, verb_trigger, "json", "Trigger an action that apps have announced, and show their answers" },
        { "attach", NULL, "ID [SEPARATOR]", 1, 2, 0, verb_attach, NULL, "Show what a process writes, and send it what is typed" },
        { "events", NULL, "[EVENT…]", 0, ANY, 0, verb_events, "json", "Show what happens: events of processes, lines of logs, messages of apps" },
        { "set-property", NULL, PROCESSES " ATTRIBUTE=VALUE…", 2, ANY, 0, verb_set_property, NULL,
          "Change limits of processes that run" },
        { "list", "ls l ps status", "[" PROCESSES "…]", 0, ANY, 0, verb_list, "json mini-list sort",
          "Show processes as a table" },
        { "jlist", NULL, NULL, 0, 0, 0, verb_jlist, NULL, "Print all about all processes as JSON, in pm2's form" },
        { "prettylist", NULL, NULL, 0, 0, 0, verb_prettylist, "json", "Print the same for people" },
        { "describe", "show info desc", PROCESSES "…", 1, ANY, 0, verb_describe, "json",
          "Show all about processes" },
        { "why", NULL, PROCESSES "…", 1, ANY, 0, verb_why, "json", "Explain why processes are in the state they are in" },
        { "pid", NULL, "[" PROCESSES "]", 0, 1, 0, verb_pid, "json", "Print the ids of main processes" },
        { "id", NULL, PROCESSES, 1, 1, 0, verb_id, "json", "Print the numbers of processes" },
        { "env", NULL, "ID|NAME", 1, 1, 0, verb_env, "json", "Print the environment of a process" },
        { "logs", "log", "[" PROCESSES "…]", 0, ANY, 0, verb_logs,
          "lines raw json format timestamp highlight nostream out err grep priority since until cursor boot catalog no-pager",
          "Show the logs, and what comes" },
        { "flush", NULL, "[" PROCESSES "…]", 0, ANY, 0, verb_flush, NULL, "Empty log files, and hide what is in the journal" },
        { "reloadLogs", NULL, NULL, 0, 0, 0, verb_reload_logs, NULL, "Open log files anew, for a rotation from outside" },
        { "save", "dump", NULL, 0, 0, 0, verb_save, "force", "Save the list of processes, for resurrect and for the next boot" },
        { "resurrect", NULL, NULL, 0, 0, 0, verb_resurrect, NULL, "Restore the saved list of processes" },
        { "cleardump", NULL, NULL, 0, 0, 0, verb_cleardump, NULL, "Save an empty list" },
        { "startup", NULL, "[PLATFORM]", 0, 1, 0, verb_startup, "hp service-name wait-ip",
          "Have the saved list restored when the machine boots" },
        { "unstartup", NULL, "[PLATFORM]", 0, 1, 0, verb_startup, "hp service-name", "Undo startup" },
        { "set", NULL, "KEY VALUE", 2, 2, 0, verb_set, NULL, "Change a setting of pmd, or of the app MODULE for MODULE:KEY" },
        { "multiset", NULL, "\"KEY VALUE…\"", 1, 1, 0, verb_multiset, NULL, "Change several settings" },
        { "get", NULL, "[KEY]", 0, 1, 0, verb_get, "json", "Show one setting, or all" },
        { "unset", NULL, "KEY", 1, 1, 0, verb_unset, NULL, "Take a setting back" },
        { "conf", "config", "[KEY] [VALUE]", 0, 2, 0, verb_set, "json", "Show or change settings" },
        { "monit", "dashboard dash imonit", NULL, 0, 0, 0, verb_monit, "sort", "Show the list, every second anew; l leads to the logs" },
        { "report", NULL, NULL, 0, 0, 0, verb_report, NULL, "Print what a report of a fault should have in it" },
        { "import", NULL, "pm2 [FILE]", 1, 2, 0, verb_import, NULL, "Start what pm2 has saved in its dump.pm2" },
        { "ping", NULL, NULL, 0, 0, 0, verb_ping, "json", "Ask pmd for a sign of life" },
        { "update", "updatePM2 deepUpdate daemon-reexec", NULL, 0, 0, 0, verb_update, NULL, "Have pmd started again, after an upgrade; apps do not notice" },
        { "kill", NULL, NULL, 0, 0, 0, verb_kill, NULL, "Stop all apps and pmd itself" },
        { "version", NULL, NULL, 0, 0, 0, verb_version, "json", "Print the version" },
        { "help", NULL, "[VERB]", 0, 1, 0, verb_help, NULL, "Print the help, of the verb if one is named" },
        { "__complete", NULL, "WHAT", 1, 1, VERB_HIDDEN, verb_complete, NULL, "For shell completion" },
};

static bool word_is_in(const char *list, const char *word) {
        _cleanup_strv_free_ char **words = list ? strv_split(list, " ") : NULL;

        return strv_contains(words, word);
}

static const Verb *verb_find(const char *name) {
        for (const Verb *v = verbs; v < verbs + ELEMENTSOF(verbs); v++)
                if (streq(v->name, name) || word_is_in(v->aliases, name))
                        return v;
        return NULL;
}

static void print_option(char letter, const char *name, const char *metavar, const char *help) {
        char head[64];
        int n;

        n = snprintf(head, sizeof head, "%c%c%s --%s%s%s", letter ? '-' : ' ', letter ?: ' ', letter ? "," : " ", name,
                     metavar ? " " : "", strempty(metavar));
        if (n > 33)
                printf("  %s\n%38s%s\n", head, "", help);
        else
                printf("  %-34s  %s\n", head, help);
}

static void print_own_options(const char *only) {
        const CliOption *options;
        size_t n;

        options = cli_options(&n);
        for (size_t i = 0; i < n; i++)
                if (options[i].help && (!only || word_is_in(only, options[i].name)))
                        print_option(options[i].letter, options[i].name, options[i].metavar, options[i].help);
}

static void print_app_flags(void) {
        const AppOption *f;

        for (size_t i = 0; (f = app_flag_at(i)); i++)
                print_option(f->cli_short, f->cli, app_flag_is_switch(f) ? NULL : f->metavar ?: "VALUE", strempty(f->help));
}

static void print_usage(FILE *f) {
        (void) fprintf(f, "Usage: pmctl [OPTION…] VERB [OPERAND…] [-- ARGUMENT…]\n");
}

static void print_help(void) {
        print_usage(stdout);
        printf("\nManage processes with pmd.\n\nVerbs:\n");
        for (const Verb *v = verbs; v < verbs + ELEMENTSOF(verbs); v++) {
                char head[128];

                if (v->flags & VERB_HIDDEN)
                        continue;
                (void) snprintf(head, sizeof head, "%s%s%s%s", v->name, v->aliases ? " (" : "", strempty(v->aliases),
                                v->aliases ? ")" : "");
                printf("  %-34s  %s\n", head, v->help);
        }
        printf("\nOptions:\n");
        print_own_options(NULL);
        printf("\nOptions of start:\n");
        print_app_flags();
        printf("\nOptions stand anywhere before \"--\". pmctl VERB --help tells more, pmctl(1) all.\n");
}

static void print_verb_help(const Verb *v) {
        printf("Usage: pmctl %s%s%s%s\n\n%s.\n", v->name, v->operands ? " " : "", strempty(v->operands),
               v->flags & VERB_DEFINES ? " [-- ARGUMENT…]" : "", v->help);
        if (v->aliases)
                printf("\nAlso called: %s\n", v->aliases);
        if (v->options) {
                printf("\nOptions:\n");
                print_own_options(v->options);
        }
        if (v->run == verb_start) {
                printf("\nOptions of the app:\n");
                print_app_flags();
        }
}

static int unknown_verb(const Options *o, char *const *words) {
        _cleanup_strv_free_ char **names = NULL;
        int r;

        for (const Verb *v = verbs; v < verbs + ELEMENTSOF(verbs); v++) {
                _cleanup_strv_free_ char **aliases = v->aliases ? strv_split(v->aliases, " ") : NULL;

                if (v->flags & VERB_HIDDEN)
                        continue;
                r = strv_extend(&names, v->name);
                STRV_FOREACH(alias, aliases)
                        if (r >= 0)
                                r = strv_extend(&names, *alias);
                if (r < 0)
                        return report_error(o, r, NULL);
        }

        r = answer_unknown_verb(o, words, names);
        if (r == EXIT_CODE_USAGE && !o->silent)
                print_usage(stderr);
        return r;
}

static int verb_help(int argc, char *argv[], const Options *o) {
        const Verb *v = argc > 1 ? verb_find(argv[1]) : NULL;

        if (argc > 1 && !v)
                return unknown_verb(o, argv + 1);
        if (v)
                print_verb_help(v);
        else
                print_help();
        return EXIT_CODE_OK;
}

/* With --json, pmd's version too, null if none answers: asking for a version is no reason to start one. */
static int verb_version(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_free_ char *pmd_version = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};

        if (!o->json) {
                puts(PMD_VERSION);
                return EXIT_CODE_OK;
        }

        if (pmd_open(o->scope, o->home, PMD_OPEN_NO_START, &c, &e) >= 0)
                (void) pmd_get_version(c, &pmd_version, &e);

        json_writer_begin(&w, NULL, '{');
        json_writer_string(&w, "pmctl", PMD_VERSION);
        json_writer_string(&w, "pmd", pmd_version);
        json_writer_end(&w, '}');
        return print_json(o, &w);
}

static void complete_verbs(void) {
        for (const Verb *v = verbs; v < verbs + ELEMENTSOF(verbs); v++) {
                _cleanup_strv_free_ char **aliases = v->aliases ? strv_split(v->aliases, " ") : NULL;

                if (v->flags & VERB_HIDDEN)
                        continue;
                printf("%s\t%s\n", v->name, v->help);
                STRV_FOREACH(alias, aliases)
                        printf("%s\t%s\n", *alias, v->help);
        }
}

static void complete_option(char letter, const char *name, const char *help) {
        printf("--%s\t%s\n", name, help);
        if (letter)
                printf("-%c\t%s\n", letter, help);
}

static void complete_options(void) {
        const CliOption *options;
        const AppOption *f;
        size_t n;

        options = cli_options(&n);
        for (size_t i = 0; i < n; i++)
                if (options[i].help)
                        complete_option(options[i].letter, options[i].name, options[i].help);
        for (size_t i = 0; (f = app_flag_at(i)); i++)
                complete_option(f->cli_short, f->cli, strempty(f->help));
}

static void complete_attributes(void) {
        const AppOption *options;
        size_t n;

        options = app_options(&n);
        for (const AppOption *f = options; f < options + n; f++) {
                _cleanup_strv_free_ char **aliases = strv_split(strempty(f->aliases), " ");

                printf("%s\t%s\n", f->key, f->help);
                STRV_FOREACH(alias, aliases)
                        printf("%s\t%s\n", *alias, f->help);
        }
}

/* What can be typed, a line each: the word, a tab, what it means. Nothing is printed that a shell would trip over. */
static int verb_complete(int argc, char *argv[], const Options *o) {
        if (streq(argv[1], "verbs"))
                complete_verbs();
        else if (streq(argv[1], "options"))
                complete_options();
        else if (streq(argv[1], "settings"))
                complete_settings();
        else if (streq(argv[1], "attributes"))
                complete_attributes();
        else if (streq(argv[1], "targets"))
                complete_targets(o);
        else
                return EXIT_CODE_USAGE;
        return EXIT_CODE_OK;
}

static int check_operands(const Options *o, const Verb *v, size_t n) {
        if (n < v->min) {
                if (!o->silent)
                        (void) fprintf(stderr, "error: missing required argument: pmctl %s %s\n", v->name,
                                       strempty(v->operands));
                return EXIT_CODE_USAGE;
        }
        if (n > v->max) {
                if (!o->silent)
                        (void) fprintf(stderr, "error: too many arguments: pmctl %s %s\n", v->name, strempty(v->operands));
                return EXIT_CODE_USAGE;
        }
        return EXIT_CODE_OK;
}

/* Only start and restart hand on what follows "--"; to the other verbs it is operands. */
static char **append_operands(char **words, char *const *more) {
        size_t n = strv_length(words), m = strv_length(more);
        char **p;

        p = reallocarray(words, n + m + 1, sizeof *p);
        if (!p)
                return NULL;
        if (m > 0)
                memcpy(p + n, more, m * sizeof *p);
        p[n + m] = NULL;
        return p;
}

static int run_verb(Options *o, char ***words) {
        const Verb *v;
        char **joined;
        int r;

        v = verb_find((*words)[0]);
        if (!v)
                return unknown_verb(o, *words);
        if (o->help) {
                print_verb_help(v);
                return EXIT_CODE_OK;
        }

        if (!(v->flags & VERB_DEFINES)) {
                joined = append_operands(*words, o->script_args);
                if (!joined)
                        return EXIT_CODE_FAILED;
                *words = joined;
        }

        r = check_operands(o, v, strv_length(*words) - 1);
        if (r != EXIT_CODE_OK)
                return r;
        return v->run((int) strv_length(*words), *words, o);
}

static int run(int argc, char *argv[]) {
        _cleanup_(options_done) Options o = {};
        _cleanup_free_ char **words = NULL;
        int r;

        r = parse_command_line(argc, argv, &o, &words);
        if (r != EXIT_CODE_OK)
                return r;

        if (o.version)
                return verb_version(0, NULL, &o);
        if (words)
                return run_verb(&o, &words);
        if (o.help) {
                print_help();
                return EXIT_CODE_OK;
        }
        print_usage(stderr);
        return EXIT_CODE_USAGE;
}

int main(int argc, char *argv[]) {
        int r;

        (void) stdio_ensure();
        (void) umask(umask(0777) & ~(mode_t) 0700); /* who makes directories without rights of his own is locked out, unless he is root */
        r = run(argc, argv);

        /* A full disk or a closed pipe must not look like success. */
        if (fflush(stdout) != 0 && r == EXIT_CODE_OK) {
                (void) fprintf(stderr, "[PM2][ERROR] Cannot write what there is to tell: %s\n", strerror(errno));
                r = EXIT_CODE_FAILED;
        }
        return r;
}
