/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* What an app tells of itself in messages, as the agents that go into apps of pm2 do: actions that can be triggered, metrics, options. It
 * belongs to one incarnation and is bounded; what goes beyond is left out. */
typedef struct ProcessReport {
        json_object *actions;  /* array of {action_name, …} */
        json_object *metrics;  /* name → {value, …} */
        json_object *options;
        char *node_version;    /* NULL: not told */
        uint64_t n_refused;    /* messages with more than is kept */
} ProcessReport;

ProcessReport *process_report_free(ProcessReport *r);
DEFINE_CLEANUP_FUNC(ProcessReport *, process_report_free);

/* Takes a message that is meant for it; *report is made if there is none yet. True if it was one, false if it is the bus's. */
bool process_report_take(ProcessReport **report, json_object *message);

/* Whether it has told of such an action. */
bool process_report_has_action(const ProcessReport *r, const char *name);
/* Whether it has told of any. */
bool process_report_has_actions(const ProcessReport *r);

/* {"axm_actions": …, "axm_monitor": …, "axm_options": …, "node_version": …}, new reference. NULL if memory ran out. */
json_object *process_report_to_json(const ProcessReport *r);
