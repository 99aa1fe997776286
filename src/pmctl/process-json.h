/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* Processes as JSON: in pm2's form, and in our own. */

/* The array of jlist, exactly pm2's fields. The processes must have been listed with their environments. */
void write_pm2_processes(JsonWriter *w, const ProcessList *l);

/* {"schema":1,"processes":[…]}, the names and units as on D-Bus. */
typedef void (*write_more_t)(JsonWriter *w, const pmd_process *p, void *userdata); /* more members of a process */
void write_processes(JsonWriter *w, const ProcessList *l, write_more_t more, void *userdata); /* more may be NULL */

/* The variable that tells a process the number of its instance. */
const char *instance_variable(const pmd_process *p);

/* Null if it is UINT64_MAX, which stands for what is not known. */
void json_writer_known(JsonWriter *w, const char *key, uint64_t value);
