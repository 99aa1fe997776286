/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/app-config.h"

/* What each type of option can do with its field of a definition; used by app-config*.c and app-option*.c only. */

/* As app_config_set(), but knows no NULL and no defaults. */
int option_set(const AppOption *o, AppConfig *c, json_object *value, char **reterr);

/* New object, or NULL if memory ran out. */
json_object *option_get(const AppOption *o, const AppConfig *c);

/* 0, or -ENOMEM with "to" untouched. */
int option_copy(const AppOption *o, AppConfig *to, const AppConfig *from);

/* Nothing, false, 0. */
void option_clear(const AppOption *o, AppConfig *c);

/* *reterr (unless reterr is NULL) becomes the sentence, escaped for a terminal; %m is the text of error. Returns error, or -ENOMEM. */
int config_fault(char **reterr, int error, const char *format, ...) _printf_(3, 4);

/* Makes a path of the definition absolute; a leading "~" is the home directory of env. base NULL: it must be absolute. The fault begins
 * with key. */
int config_resolve_path(char *const *env, const char *base, const char *key, const char *path, char **ret, char **reterr);

/* ---- for the types of options (app-option.c) ---- */

/* "key: 'value' what" */
int option_fault(const AppOption *o, json_object *value, char **reterr, int error, const char *what);
int option_fault_range(const AppOption *o, json_object *value, int64_t min, uint64_t max, const char *unit, char **reterr);

/* Strings and numbers are text. The string belongs to the value. */
int option_text(const AppOption *o, json_object *value, const char **ret, char **reterr);
int option_integer(const AppOption *o, json_object *value, int64_t min, uint64_t max, int64_t *ret, char **reterr);
/* An array, or a string split into words; new memory. */
int option_strv(const AppOption *o, json_object *value, char ***ret, char **reterr);

/* -EINVAL, -ERANGE. JavaScript knows doubles only, so 1e3 is as good a number as 1000. */
int json_to_integer(json_object *value, int64_t *ret);
/* 0, 1 or -EINVAL. */
int json_to_boolean(json_object *value);

json_object *option_get_strv(const void *field);
int option_copy_strv(void *to, const void *from);

/* ---- app-option-pm2.c ---- */

int option_set_watch(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_watch(const void *field);
int option_copy_watch(void *to, const void *from);
void option_clear_watch(void *field);

int option_set_log_file(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_log_file(const void *field);

int option_set_cron(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_cron(const void *field);

int option_set_filter_env(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_filter_env(const void *field);
int option_copy_filter_env(void *to, const void *from);
void option_clear_filter_env(void *field);

int option_set_watch_options(const AppOption *o, void *field, json_object *value, char **reterr);

/* ---- app-option-limit.c ---- */

int option_set_size(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_size(const void *field);
int option_set_memory(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_memory(const void *field);
int option_set_count(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_count(const void *field);
int option_set_cpu_quota(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_cpu_quota(const void *field);
int option_set_cpus(const AppOption *o, void *field, json_object *value, char **reterr);
int option_set_int(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_int(const void *field);
int option_set_mode(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_mode(const void *field);
int option_set_rlimit(const AppOption *o, void *field, json_object *value, char **reterr);
json_object *option_get_rlimit(const void *field);
int option_set_capabilities(const AppOption *o, void *field, json_object *value, char **reterr);
int option_set_required(const AppOption *o, void *field, json_object *value, char **reterr);
