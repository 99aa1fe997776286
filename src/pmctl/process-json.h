/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* Processes as JSON: in pm2's form, and in our own. */

/* The array of jlist, exactly pm2's fields. The processes must have been listed with their environments. */
void write_pm2_processes(JsonWriter *w, const ProcessList *l);

/* {"schema":1,"processes":[…]}, the names and units as on D-Bus. */
void write_processes(JsonWriter *w, const ProcessList *l);
