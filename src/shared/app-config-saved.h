/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/app-config.h"

/* A finished definition as it stands in the saved list: {"definition": what was given, "environment": […], "resolved": what
 * app_config_finish() made of it}. The last is for the day when a script or a directory is missing: the app is kept, and
 * can say what it misses. */
int app_config_save(const AppConfig *c, json_object **ret);

/* 0, or a negative errno with *reterr if the object is of no use. ret_error: 0, or what app_config_finish() said, in
 * words in *ret_fault; the definition is as it was when it was saved then. ret_notes: options that are not known, or not
 * valid any more, and were left out, a line each; NULL if there are none. */
int app_config_restore(
                json_object *saved, AppConfig **ret, int *ret_error, char **ret_fault, char **ret_notes, char **reterr);
