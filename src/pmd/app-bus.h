/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* org.pmd1.App. The userdata of both callbacks is the Manager. */
extern const sd_bus_vtable app_bus_vtable[];
int app_bus_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                 sd_bus_error *reterr);
int app_bus_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *reterr);
