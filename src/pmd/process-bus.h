/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "pmd/process.h"
#include "shared/list-pack.h"
#include "shared/pmd-protocol.h"

/* org.pmd1.Process. The userdata of both callbacks is the Manager. */
extern const sd_bus_vtable process_bus_vtable[];
int process_bus_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                     sd_bus_error *reterr);
int process_bus_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *reterr);

#define PROCESS_PATH_MAX sizeof(PMD_PATH_PROCESS "/4294967295")
const char *process_bus_path(const Process *p, char buf[static PROCESS_PATH_MAX]);

/* The names of the properties that belong to these fields, NULL-terminated. */
#define PROCESS_PROPERTIES_MAX 32U
void process_bus_property_names(ProcessField fields, const char *ret[static PROCESS_PROPERTIES_MAX + 1]);

/* Appends one row of ListProcesses() except the definition, which is the last field. */
int process_bus_append_list_fields(sd_bus_message *m, sd_bus *bus, Process *p);
/* The same for ListPacked(), with the arrays after all else. */
void process_bus_pack_list_fields(ListPacker *k, Process *p);
