/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"

/* A JSON value in the form in which Node prints it, util.inspect() with { depth: null, maxArrayLength: null, maxStringLength: null }.
 * New memory, without a final newline; NULL if memory ran out. */
char *inspect(json_object *value);
