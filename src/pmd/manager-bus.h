/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* org.pmd1.Manager */
extern const sd_bus_vtable manager_bus_vtable[];
