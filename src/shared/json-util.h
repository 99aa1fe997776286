/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"

/* What json-c lacks. */

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)
DEFINE_CLEANUP_FUNC(json_tokener *, json_tokener_free)

/* Both take the value, for which memory may have run out: 0 or -ENOMEM. */
int json_add(json_object *o, const char *key, json_object *value);
int json_append(json_object *array, json_object *value);

/* The member of an object if it has that type, else NULL, also where o is no object. Whatever its type: json_object_object_get(). */
json_object *json_get(json_object *o, const char *key, json_type type);
const char *json_get_string(json_object *o, const char *key);
