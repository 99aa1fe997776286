/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* Definitions as the command line makes them, in the surroundings of who typed it. */

typedef struct Caller {
        char *cwd;
        char **env; /* but for what D-Bus cannot carry */
} Caller;

/* 0 or an ExitCode, the message printed. */
int caller_get(const Options *o, Caller *ret);
void caller_done(Caller *c);
#define _cleanup_caller_ _cleanup_(caller_done)

/* As apply_action(); with a caller, what the command line says of the definition is changed. */
int apply_changes(const Options *o, pmd_connection *c, const Action *a, char *const *targets, const Caller *caller);

/* Does to the apps of an ecosystem file what the verb says, without the list. An ExitCode. */
int act_on_file(const Options *o, pmd_connection *c, const Caller *caller, const char *verb, const char *path);

/* Gives an app n processes, relative: n more, or fewer. An ExitCode. */
int scale_app(const Options *o, pmd_connection *c, const char *app, int n, bool relative);

/* What the flags and the arguments say of a script, before anything is derived from it; with the caller's
 * environment. 0 or an ExitCode, the message printed. */
int config_from_options(const Options *o, const Caller *caller, const char *script, AppConfig **ret);

/* A copy, derived and checked where the caller stands: an error is about his files and his PATH. 0 or a negative
 * errno, with *reterr. */
int config_finish(const AppConfig *config, const Caller *caller, AppConfig **ret, char **reterr);

/* What the flags, the arguments and --update-env change of processes that there are; *ret is NULL if nothing.
 * toggles_watch: --watch without paths is none of it. 0 or an ExitCode, the message printed. */
int overlay_from_options(const Options *o, const Caller *caller, bool toggles_watch, pmd_definition **ret);
