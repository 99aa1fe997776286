/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"

/* Ecosystem files: definitions of apps, written as JSON (with whatever JavaScript pm2 takes there), as YAML, or as a
 * JavaScript module that "node" evaluates in a child with the caller's rights. What a file says is brought into one shape here, a list
 * of definitions; what the options in them mean is the option table's business (shared/app-config.h). */

/* Limits of what a file may say. Nothing that describes apps comes near them. */
#define ECOSYSTEM_SIZE_MAX (16U << 20) /* bytes of the file, and of what it evaluates to */
#define ECOSYSTEM_DEPTH_MAX 64U

typedef struct EcosystemApp {
        json_object *definition; /* an object, for app_config_set_all(); has no env_NAME, name_prefix, append_env_to_name any more */
        char *path;              /* where it stands in the file: "apps[2]", "[2]", "static[0]"; "" if the file is one app */
} EcosystemApp;

typedef struct Ecosystem {
        char *file;          /* what was read, for people: a path as the caller would write it, or "standard input" */
        EcosystemApp *apps;  /* those that "only" names */
        size_t n_apps;
        json_object *deploy; /* the object, NULL: none */
        char **warnings;     /* a sentence each, escaped for a terminal */
} Ecosystem;

/* Whether an operand means an ecosystem file, which need not exist: "-", a name that contains ".json", ".yml", ".yaml" or ".config.js",
 * ".config.cjs", ".config.mjs", or a directory that holds an ecosystem file. A command with spaces is one only if it is a file's name. */
bool ecosystem_is_file(const char *arg);

/* Reads a file, a directory's ecosystem file, or ("-") standard input. env_name (NULL: none) chooses the env_NAME to lay over env; only
 * (NULL: all) names the apps to return, separated by commas or spaces. Relative paths in the file stay as they are: they
 * resolve against the caller's working directory, as with pm2. 0; -ENOENT "File x not found"; -EINVAL "File x malformated: …" with line and
 * column where they are known; -E2BIG above the limits; -ETIME if evaluating took too long; -ENOPKG without node where it is needed; or
 * another negative errno. *reterr is for the user, escaped for a terminal, and may have several lines. */
int ecosystem_load(const char *path, const char *env_name, const char *only, Ecosystem **ret, char **reterr);

Ecosystem *ecosystem_free(Ecosystem *e);
DEFINE_CLEANUP_FUNC(Ecosystem *, ecosystem_free);
#define _cleanup_ecosystem_free_ _cleanup_(ecosystem_freep)

/* The faults of one app, a line each as app_config_set_all() gives them, with the app's place before each: "apps[2].script: …".
 * New memory, NULL if memory ran out. */
char *ecosystem_app_faults(const EcosystemApp *app, const char *faults);

/* A commented sample, static. */
const char *ecosystem_sample(bool simple);

/* Writes it to ecosystem.config.js in the working directory, or to ecosystem.config.cjs where a package.json makes .js files ES modules.
 * 0; -EEXIST unless force, with *reterr for the user; or another negative errno. *ret_name is static. */
int ecosystem_write_sample(bool simple, bool force, const char **ret_name, char **reterr);
