/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* Processes as JSON: in pm2's form, and in our own. */

/* One element of jlist, exactly pm2's fields. The process must have been listed with its environment. */
void write_pm2_process(JsonWriter *w, const pmd_process *p);

/* {"schema":1,"processes":[…]}, the names and units as on D-Bus. */
void write_processes(JsonWriter *w, const ProcessList *l);
