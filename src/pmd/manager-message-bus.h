/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* The methods of org.pmd1.Manager by which something is said to apps. */
int method_send_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_send_line(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_trigger(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
