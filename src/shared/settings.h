/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/app-config.h"
#include "shared/conf-file.h"
#include "shared/instance.h"

/* What pmd.conf can say: the keys of [Manager], and [module:NAME] sections, whose keys become environment variables of the app
 * NAME (pm2's "set NAME:KEY VALUE"). pmd.conf(5) has the same table. */

#define SETTINGS_FILE "pmd.conf"
#define SETTINGS_SECTION "Manager"
#define SETTINGS_MODULE_PREFIX "module:"
#define SETTINGS_MODULE_NONE "module" /* of keys that belong to no module */

typedef struct Setting {
        const char *key;
        const char *option; /* of definitions, whose default it is; NULL: pmd's own */
        const char *default_value;
        const char *help;
} Setting;

const Setting *settings_table(size_t *ret_n);
const Setting *setting_find(const char *key);

/* 0, or -EINVAL with *reterr a sentence that begins with the key. */
int setting_check(const Setting *s, const char *value, char **reterr);

/* Reads the files of an instance. What makes no sense is left out and told in *ret_faults, a line each; NULL if all is well. 0 or -ENOMEM. */
int settings_load(const Instance *i, Conf *ret, char **ret_faults);

/* The value of a key of [Manager], or its default. */
const char *settings_get(const Conf *c, const char *key);

/* Sets what the definition leaves open. It is not "given" by that. 0 or -ENOMEM. */
int settings_apply(const Conf *c, AppConfig *config);

/* Adds the settings of the module of that name to an environment: a variable each, and one called NAME with all as JSON. */
int settings_add_environment(const Conf *c, const char *name, char ***env);
/* Whether that adds anything. */
bool settings_have_environment(const Conf *c, const char *name);
