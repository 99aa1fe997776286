/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

typedef enum OptionId {
        OPTION_ID_SYSTEM,
        OPTION_ID_USER,
        OPTION_ID_HOME,
        OPTION_ID_JSON,
        OPTION_ID_SILENT,
        OPTION_ID_NO_COLOR,
        OPTION_ID_NO_PAGER,
        OPTION_ID_MINI_LIST,
        OPTION_ID_SORT,
        OPTION_ID_FORCE,
        OPTION_ID_UPDATE_ENV,
        OPTION_ID_ENV,
        OPTION_ID_ONLY,
        OPTION_ID_PARALLEL,
        OPTION_ID_DRY_RUN,
        OPTION_ID_NO_DAEMON,
        OPTION_ID_LINES,
        OPTION_ID_RAW,
        OPTION_ID_NOSTREAM,
        OPTION_ID_FOLLOW,
        OPTION_ID_FORMAT,
        OPTION_ID_TIMESTAMP,
        OPTION_ID_HIGHLIGHT,
        OPTION_ID_GREP,
        OPTION_ID_PRIORITY,
        OPTION_ID_SINCE,
        OPTION_ID_UNTIL,
        OPTION_ID_CURSOR,
        OPTION_ID_BOOT,
        OPTION_ID_CATALOG,
        OPTION_ID_OUT,
        OPTION_ID_ERR,
        OPTION_ID_HP,
        OPTION_ID_SERVICE_NAME,
        OPTION_ID_WAIT_IP,
        OPTION_ID_NO_PMX,
        OPTION_ID_NO_AUTOMATION,
        OPTION_ID_VERSION,
        OPTION_ID_HELP,
} OptionId;

/* An option of pmctl itself; those of definitions are in app_options(). */
typedef struct CliOption {
        OptionId id;
        const char *name;
        char letter;          /* 0: none */
        const char *metavar;  /* NULL: takes no value */
        const char *help;     /* NULL: accepted, but not worth a word */
} CliOption;

const CliOption *cli_options(size_t *ret_n);

/* The n-th option of definitions that the command line has and that is not one of pmctl's own; NULL behind the last. */
const AppOption *app_flag_at(size_t n);

/* Whether an option of definitions takes no value. */
bool app_flag_is_switch(const AppOption *option);

/* What the flag says, for app_config_set(): turning a switch on means "false" where it is called "no-…". NULL if memory ran out. */
json_object *app_flag_to_json(const Options *o, const AppFlag *flag);

/* Sorts the command line into options and words; the words are the verb and its operands, the strings are argv's.
 * 0 or an ExitCode, the message printed. */
int parse_command_line(int argc, char *argv[], Options *o, char ***ret_words);
void options_done(Options *o);
