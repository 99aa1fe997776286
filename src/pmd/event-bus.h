/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/pmd-forward.h"
#include "pmd/process.h"

/* What happens, told as pm2's event bus tells it: named events with a JSON packet, to those who have subscribed. Without subscribers nothing is
 * built; what apps say of themselves (actions, metrics) is kept all the same. */

/* A message that an app sent over its channel: n bytes of JSON, any value; what is not JSON is ignored. It becomes an event of the bus,
 * unless it is one of those that pmd keeps for itself. */
void manager_process_message(Process *p, const char *json, size_t n);
