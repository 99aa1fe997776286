/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/app-config.h"

/* What each type of option can do with its field of a definition; used by app-config*.c only. */

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
