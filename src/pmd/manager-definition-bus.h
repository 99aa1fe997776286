/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* The methods of org.pmd1.Manager that are about definitions, and about how many processes there are of one. */
int method_start_app(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_restart(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_reload(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_scale(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
