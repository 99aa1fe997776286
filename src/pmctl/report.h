/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmctl/pmctl-util.h"

/* What apps tell of themselves: actions, metrics, options. */

/* A pmd that does not know them has none. */
void fetch_reports(pmd_connection *c, char *const *targets, ProcessList *l);

/* That of a process, new reference, or NULL. */
json_object *process_report(const ProcessList *l, uint32_t id);

/* The members of pm2_env. report: NULL for an app that tells nothing. */
void write_report(JsonWriter *w, json_object *report);

/* The tables of describe. 0 or a negative errno. */
int print_report(const Options *o, const pmd_process *p, json_object *report);
