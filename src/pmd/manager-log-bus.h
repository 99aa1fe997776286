/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* The methods of org.pmd1.Manager that are about logs. */
int method_reopen_logs(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_flush_logs(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
