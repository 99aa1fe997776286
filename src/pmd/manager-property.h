/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* Changes attributes of these processes at once, without a restart, and in the definitions of the apps that are among them as a whole.
 * NULL or "" takes one back to its default. 0; -EINVAL, -ERANGE or -ENOENT with *reterr for the user, nothing changed; -ENOMEM. */
int manager_set_properties(Manager *m, json_object *properties, Process *const *processes, size_t n, char **reterr);
