/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/pmd-forward.h"
#include "shared/app-config.h"

/* What the definitions of processes become by a change: *ret has a reference for each, and those that shared one share the new one. overlay: attributes; those that are null go back to their defaults.
 * replace: the overlay is the whole definition, and what it does not say goes back to its default too.
 *
 * An overlay's "env" is the environment of who asks for the change: it takes the place of the former one, but for
 * the variables that the definition itself sets; with replace, it is the whole environment. The name of an app
 * cannot change.
 *
 * 0; or a negative errno with *reterr for people, the faults of all of them, one a line. */
int manager_derive_configs(Process *const *processes, size_t n, json_object *overlay, bool replace, AppConfig ***ret,
                           char **reterr);
AppConfig **manager_free_configs(AppConfig **configs, size_t n);

/* The release that lies there now may be another one than at the start before. */
int manager_update_versions(Process *const *processes, size_t n);

/* Gives them to the processes, which take them when they are started the next time, and to their apps. replace: as above. */
void manager_change_configs(Process *const *processes, size_t n, AppConfig *const *configs, bool replace);
