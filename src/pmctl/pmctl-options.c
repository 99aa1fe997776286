/* SPDX-License-Identifier: MIT */
#include <pwd.h>
#include <unistd.h>

#include "pmctl/pmctl-options.h"
#include "shared/json-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static const CliOption table[] = {
        { OPTION_ID_SYSTEM,        "system",        0,   NULL,    "talk to the pmd of the system" },
        { OPTION_ID_USER,          "user",          0,   NULL,    "talk to the pmd of the user (with a name: see pmctl(1))" },
        { OPTION_ID_HOME,          "home",          0,   "DIR",   "talk to the private pmd that lives in DIR" },
        { OPTION_ID_JSON,          "json",          0,   NULL,    "print JSON" },
        { OPTION_ID_SILENT,        "silent",        's', NULL,    "print nothing but what was asked for" },
        { OPTION_ID_NO_COLOR,      "no-color",      0,   NULL,    "print without colours" },
        { OPTION_ID_NO_PAGER,      "no-pager",      0,   NULL,    "show logs without a pager" },
        { OPTION_ID_MINI_LIST,     "mini-list",     'm', NULL,    "print the list as blocks of lines" },
        { OPTION_ID_SORT,          "sort",          0,   "FIELD",
          "sort the list: name, namespace, pid, id, cpu, memory, uptime or status, with :desc downwards" },
        { OPTION_ID_FORCE,         "force",         'f', NULL,    "start a script once more that is running" },
        { OPTION_ID_UPDATE_ENV,    "update-env",    'a', NULL,    "give a restarted app your present environment" },
        { OPTION_ID_ENV,           "env",           0,   "NAME",  "lay env_NAME of an ecosystem file over env" },
        { OPTION_ID_ONLY,          "only",          0,   "NAMES", "only these apps of an ecosystem file, separated by commas" },
        { OPTION_ID_PARALLEL,      "parallel",      0,   "N",     "reload so many processes of an app at a time" },
        { OPTION_ID_DRY_RUN,       "dry-run",       0,   NULL,    "say what would be done, and why, and do nothing" },
        { OPTION_ID_NO_DAEMON,     "no-daemon",     0,   NULL,    "start in the foreground: show what the apps print, end with them" },
        { OPTION_ID_LINES,         "lines",         0,   "N",     "print the last N lines of the logs" },
        { OPTION_ID_RAW,           "raw",           0,   NULL,    "print log lines as they were written" },
        { OPTION_ID_NOSTREAM,      "nostream",      0,   NULL,    "print the logs there are and end" },
        { OPTION_ID_FOLLOW,        "follow",        0,   NULL,    "accepted; logs follows unless told --nostream" },
        { OPTION_ID_FORMAT,        "format",        0,   NULL,    "print log lines as key=value" },
        { OPTION_ID_TIMESTAMP,     "timestamp",     0,   "[FORMAT]", "begin log lines with the time, YYYY-MM-DD-HH:mm:ss or as told" },
        { OPTION_ID_HIGHLIGHT,     "highlight",     0,   "TEXT",  "show this text in log lines inverted" },
        { OPTION_ID_GREP,          "grep",          0,   "REGEX", "only log lines that match; without capitals, whatever their case" },
        { OPTION_ID_PRIORITY,      "priority",      0,   "LEVEL", "only log lines that are as important, such as warning" },
        { OPTION_ID_SINCE,         "since",         0,   "TIME",  "only log lines from then on: \"2026-08-07 06:05\", 06:05, today, -2h, @1786082704" },
        { OPTION_ID_UNTIL,         "until",         0,   "TIME",  "only log lines up to then" },
        { OPTION_ID_CURSOR,        "cursor",        0,   "CURSOR", "only log lines from this place of the journal on" },
        { OPTION_ID_BOOT,          "boot",          0,   NULL,    "only log lines since the machine booted" },
        { OPTION_ID_CATALOG,       "catalog",       0,   NULL,    "show what pmd says of the apps too, with explanations" },
        { OPTION_ID_OUT,           "out",           0,   NULL,    "only standard output" },
        { OPTION_ID_ERR,           "err",           0,   NULL,    "only standard error" },
        { OPTION_ID_HP,            "hp",            0,   "DIR",   "accepted; startup finds the home directory of a user itself" },
        { OPTION_ID_SERVICE_NAME,  "service-name",  0,   "NAME",  "accepted; the service is always pmd.service" },
        { OPTION_ID_WAIT_IP,       "wait-ip",       0,   NULL,    "accepted; order pmd.service with a drop-in instead" },
        { OPTION_ID_NO_PMX,        "no-pmx",        0,   NULL,    "accepted; pmd adds to cluster workers what a reload needs, and nothing to other apps" },
        { OPTION_ID_NO_AUTOMATION, "no-automation", 0,   NULL,    "accepted; pmd adds to cluster workers what a reload needs, and nothing to other apps" },
        { OPTION_ID_VERSION,       "version",       'V', NULL,    "print the version" },
        { OPTION_ID_VERSION,       "version",       'v', NULL,    NULL },
        { OPTION_ID_HELP,          "help",          'h', NULL,    "print the help, of the verb if there is one" },
};

/* What these letters mean to logs, as to journalctl, is not what they mean elsewhere. */
static const struct {
        char letter;
        OptionId id;
} log_letters[] = {
        { 'n', OPTION_ID_LINES }, { 'f', OPTION_ID_FOLLOW }, { 'g', OPTION_ID_GREP }, { 'p', OPTION_ID_PRIORITY }, { 'S', OPTION_ID_SINCE },
        { 'U', OPTION_ID_UNTIL }, { 'c', OPTION_ID_CURSOR }, { 'b', OPTION_ID_BOOT }, { 'x', OPTION_ID_CATALOG },
};

/* Where the parser stands. */
typedef struct Parser {
        Options *options;
        char **argv;
        int next; /* the word after the present one */
        char **words;
} Parser;

const CliOption *cli_options(size_t *ret_n) {
        *ret_n = ELEMENTSOF(table);
        return table;
}

static bool name_is(const char *name, const char *s, size_t length) {
        return strlen(name) == length && strncmp(name, s, length) == 0;
}

static const CliOption *cli_option_find(const char *name, size_t length) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (name_is(table[i].name, name, length))
                        return table + i;
        return NULL;
}

static const CliOption *cli_option_by_letter(char letter) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].letter == letter)
                        return table + i;
        return NULL;
}

/* --force is ours; --user is both, see parse_long(). */
static bool is_app_flag(const AppOption *option) {
        const CliOption *own = option->cli ? cli_option_find(option->cli, strlen(option->cli)) : NULL;

        return option->cli && (!own || own->id == OPTION_ID_USER);
}

const AppOption *app_flag_at(size_t n) {
        const AppOption *options;
        size_t n_options;

        options = app_options(&n_options);
        for (size_t i = 0; i < n_options; i++)
                if (is_app_flag(options + i) && n-- == 0)
                        return options + i;
        return NULL;
}

bool app_flag_is_switch(const AppOption *option) {
        return !option->metavar;
}

static bool value_is_optional(const AppOption *option) {
        return option->metavar && option->metavar[0] == '[';
}

/* What was said with this flag up to there. */
static json_object *all_values(const Options *o, const AppFlag *last) {
        json_object *array = json_object_new_array();

        for (const AppFlag *f = o->app_flags; array && f <= last; f++)
                if (f->option == last->option && f->value)
                        (void) json_object_array_add(array, json_object_new_string(f->value));
        return array;
}

/* As pm2: two flags add up where they are repeated; of all others the last one counts. A single path of --watch may be a boolean as well. */
static bool is_list(const AppOption *option, const json_object *values) {
        return streq(option->key, "filter_env") || (streq(option->key, "watch") && json_object_array_length(values) > 1);
}

/* Some flags mean something else than the same text in a file. */
json_object *app_flag_to_json(const Options *o, const AppFlag *flag) {
        _cleanup_(json_object_putp) json_object *values = NULL;
        const AppOption *option = flag->option;

        if (!flag->value)
                return json_object_new_boolean(!startswith(option->cli, "no-") || startswith(option->key, "no_"));
        values = all_values(o, flag);
        if (!values)
                return NULL;
        if (is_list(option, values))
                return TAKE_PTR(values);
        if (streq(option->key, "watch_delay") && flag->value[strspn(flag->value, "0123456789")] == 0) {
                _cleanup_free_ char *seconds = strjoin(flag->value, "s");

                return seconds ? json_object_new_string(seconds) : NULL;
        }
        return json_object_new_string(flag->value);
}

static bool word_in_list(const char *list, const char *s, size_t length) {
        while (list && *list) {
                size_t n = strcspn(list, " ");

                if (n == length && strncmp(list, s, length) == 0)
                        return true;
                list += n;
                list += strspn(list, " ");
        }
        return false;
}

static const AppOption *app_flag_find(const char *name, size_t length) {
        const AppOption *options;
        size_t n;

        options = app_options(&n);
        for (const AppOption *f = options; f < options + n; f++)
                if (is_app_flag(f) && (name_is(f->cli, name, length) || word_in_list(f->cli_aliases, name, length)))
                        return f;
        return NULL;
}

static const AppOption *app_flag_by_letter(char letter) {
        const AppOption *options;
        size_t n;

        options = app_options(&n);
        for (const AppOption *f = options; f < options + n; f++)
                if (is_app_flag(f) && f->cli_short == letter)
                        return f;
        return NULL;
}

static int usage(const Options *o, const char *message, const char *what) {
        _cleanup_free_ char *escaped = string_escape_cc(what);

        if (!o->silent)
                (void) fprintf(stderr, "error: %s '%s'\n", message, strempty(escaped));
        return EXIT_CODE_USAGE;
}

static int add_app_flag(Options *o, const AppOption *option, const char *value) {
        AppFlag *flags;

        flags = reallocarray(o->app_flags, o->n_app_flags + 1, sizeof *flags);
        if (!flags)
                return EXIT_CODE_FAILED;
        o->app_flags = flags;
        flags[o->n_app_flags++] = (AppFlag) { option, value };
        return EXIT_CODE_OK;
}

static int apply(Options *o, const CliOption *option, const char *value) {
        switch (option->id) {
        case OPTION_ID_SYSTEM:
                o->scope = PMD_SCOPE_SYSTEM;
                break;
        case OPTION_ID_USER:
                o->scope = PMD_SCOPE_USER;
                break;
        case OPTION_ID_HOME:
                if (isempty(value))
                        return usage(o, "this is no directory", strempty(value));
                o->scope = PMD_SCOPE_PRIVATE;
                o->home = value;
                break;
        case OPTION_ID_JSON:
                o->json = true;
                break;
        case OPTION_ID_SILENT:
                o->silent = true;
                break;
        case OPTION_ID_NO_COLOR:
                o->color = o->color_stderr = false;
                break;
        case OPTION_ID_MINI_LIST:
                o->mini_list = true;
                break;
        case OPTION_ID_SORT:
                o->sort = value;
                break;
        case OPTION_ID_FORCE:
                o->force = true;
                break;
        case OPTION_ID_UPDATE_ENV:
                o->update_env = true;
                break;
        case OPTION_ID_ENV:
                o->env_name = value;
                break;
        case OPTION_ID_ONLY:
                o->only = value;
                break;
        case OPTION_ID_PARALLEL:
                if (safe_atou(value, &o->parallel) < 0 || o->parallel == 0)
                        return usage(o, "--parallel needs a number above 0, not", value);
                break;
        case OPTION_ID_DRY_RUN:
                o->dry_run = true;
                break;
        case OPTION_ID_LINES:
                if (safe_atou(value, &o->lines) < 0)
                        return usage(o, "--lines needs a number, not", value);
                o->lines_given = true;
                break;
        case OPTION_ID_NO_DAEMON:
                o->no_daemon = true;
                break;
        case OPTION_ID_RAW:
                o->raw = true;
                break;
        case OPTION_ID_NOSTREAM:
                o->nostream = true;
                break;
        case OPTION_ID_FORMAT:
                o->format = true;
                break;
        case OPTION_ID_TIMESTAMP:
                o->timestamp = true;
                o->timestamp_format = value;
                break;
        case OPTION_ID_HIGHLIGHT:
                o->highlight = value;
                break;
        case OPTION_ID_GREP:
                o->grep = value;
                break;
        case OPTION_ID_PRIORITY:
                o->priority = value;
                break;
        case OPTION_ID_SINCE:
                o->since = value;
                break;
        case OPTION_ID_UNTIL:
                o->until = value;
                break;
        case OPTION_ID_CURSOR:
                o->cursor = value;
                break;
        case OPTION_ID_BOOT:
                o->boot = true;
                break;
        case OPTION_ID_CATALOG:
                o->catalog = true;
                break;
        case OPTION_ID_NO_PAGER:
                o->no_pager = true;
                break;
        case OPTION_ID_OUT:
                o->out = true;
                break;
        case OPTION_ID_ERR:
                o->err = true;
                break;
        case OPTION_ID_VERSION:
                o->version = true;
                break;
        case OPTION_ID_HELP:
                o->help = true;
                break;
        case OPTION_ID_HP:
        case OPTION_ID_SERVICE_NAME:
        case OPTION_ID_WAIT_IP:
        case OPTION_ID_FOLLOW:
        case OPTION_ID_NO_PMX:
        case OPTION_ID_NO_AUTOMATION:
                break;
        }
        return EXIT_CODE_OK;
}

/* "start --user www-data" is pm2's way to name the user of an app; anywhere else the word after --user is none of its
 * business. */
static bool user_option_has_name(const Parser *p) {
        const char *name = p->argv[p->next];

        return p->words && streq(p->words[0], "start") && name && name[0] != '-' && getpwnam(name);
}

static bool verb_is_logs(const Parser *p) {
        return p->words && (streq(p->words[0], "logs") || streq(p->words[0], "log"));
}

/* Whether the word behind an option that need not have a value is its value. Not if it must be what the verb is about: "start --watch
 * app.js". */
static bool next_word_is_value(const Parser *p) {
        const char *word = p->argv[p->next], *after = word ? p->argv[p->next + 1] : NULL;

        if (!word || word[0] == '-' || !p->words)
                return false;
        if (verb_is_logs(p)) /* whose options of this kind take dates */
                return strstr(word, "YY") || strstr(word, "HH") || strstr(word, "mm");
        return strv_length(p->words) > 1 || (after && after[0] != '-');
}

/* What pmctl does not do has no options either; the answer tells more than a complaint about the first of them. */
static int unknown_option(const Parser *p, const char *arg) {
        return verb_has_answer(p->words) ? EXIT_CODE_OK : usage(p->options, "unknown option", arg);
}

static int parse_long(Parser *p, const char *arg) {
        const char *name = arg + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
        size_t length = equals ? (size_t) (equals - name) : strlen(name);
        const AppOption *flag = NULL;
        const CliOption *option;
        bool takes_value;

        option = cli_option_find(name, length);
        if (option && option->id == OPTION_ID_USER && (value || user_option_has_name(p))) {
                flag = app_flag_by_letter('u');
                option = flag ? NULL : option;
        }
        if (!option && !flag)
                flag = app_flag_find(name, length);
        if (!option && !flag)
                return unknown_option(p, arg);

        takes_value = option ? option->metavar != NULL : !app_flag_is_switch(flag);
        if (!takes_value && value)
                return usage(p->options, "this option takes no value:", arg);
        if (takes_value && !value) {
                bool optional = flag ? value_is_optional(flag) : option->metavar[0] == '[';

                if (optional ? next_word_is_value(p) : p->argv[p->next] != NULL)
                        value = p->argv[p->next++];
                else if (!optional)
                        return usage(p->options, "missing value of option", arg);
        }

        return option ? apply(p->options, option, value) : add_app_flag(p->options, flag, value);
}

/* Letters that take no value may be put together; what follows the letter of one that does is its value. */
static const CliOption *option_by_id(OptionId id) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].id == id)
                        return table + i;
        return NULL;
}

static const CliOption *option_by_letter(const Parser *p, char letter) {
        if (verb_is_logs(p))
                for (size_t i = 0; i < ELEMENTSOF(log_letters); i++)
                        if (log_letters[i].letter == letter)
                                return option_by_id(log_letters[i].id);
        return cli_option_by_letter(letter);
}

static int parse_letters(Parser *p, const char *arg) {
        for (const char *c = arg + 1; *c; c++) {
                const CliOption *option = option_by_letter(p, *c);
                const AppOption *flag = option ? NULL : app_flag_by_letter(*c);
                const char *value = NULL;
                int r;

                if (!option && !flag)
                        return unknown_option(p, arg);

                if (option ? option->metavar != NULL : !app_flag_is_switch(flag)) {
                        bool optional = flag ? value_is_optional(flag) : option->metavar[0] == '[';

                        if (c[1])
                                value = c + 1;
                        else if (optional ? next_word_is_value(p) : p->argv[p->next] != NULL)
                                value = p->argv[p->next++];
                        else if (!optional)
                                return usage(p->options, "missing value of option", arg);
                }

                r = option ? apply(p->options, option, value) : add_app_flag(p->options, flag, value);
                if (r != EXIT_CODE_OK || value)
                        return r;
        }
        return EXIT_CODE_OK;
}

static int add_word(Parser *p, char *word) {
        size_t n = strv_length(p->words);
        char **words;

        words = reallocarray(p->words, n + 2, sizeof *words);
        if (!words)
                return EXIT_CODE_FAILED;
        words[n] = word;
        words[n + 1] = NULL;
        p->words = words;
        return EXIT_CODE_OK;
}

static bool colors_wanted(int fd) {
        const char *term = getenv("TERM"), *force = getenv("CLICOLOR_FORCE");

        if (!isempty(getenv("NO_COLOR")))
                return false;
        if (!isempty(force) && !streq(force, "0"))
                return true;
        return isatty(fd) && !streq_ptr(term, "dumb");
}

/* "scale APP -2" takes two away. */
static bool is_scale_operand(const Parser *p, const char *arg) {
        return p->words && streq(p->words[0], "scale") && arg[strspn(arg + 1, "0123456789") + 1] == '\0';
}

int parse_command_line(int argc, char *argv[], Options *o, char ***ret_words) {
        Parser p = { .options = o, .argv = argv, .next = 1 };
        int r = EXIT_CODE_OK;

        *o = (Options) {
                .scope = PMD_SCOPE_AUTO,
                .silent = streq_ptr(getenv("PM2_SILENT"), "true"),
                .color = colors_wanted(STDOUT_FILENO),
                .color_stderr = colors_wanted(STDERR_FILENO),
                .lines = 15,
                .words = argv + 1,
        };

        while (r == EXIT_CODE_OK && p.next < argc) {
                char *arg = argv[p.next++];

                if (streq(arg, "--")) {
                        o->script_args = argv + p.next;
                        break;
                }
                if (startswith(arg, "--"))
                        r = parse_long(&p, arg);
                else if (arg[0] == '-' && arg[1] && !is_scale_operand(&p, arg))
                        r = parse_letters(&p, arg);
                else
                        r = add_word(&p, arg);
        }
        if (r != EXIT_CODE_OK) {
                free(p.words);
                return r;
        }

        *ret_words = p.words;
        return EXIT_CODE_OK;
}

void options_done(Options *o) {
        o->app_flags = mfree(o->app_flags);
        o->n_app_flags = 0;
}
