/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* The methods of org.pmd1.Manager that are about the saved list and the settings. */
int method_save(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_resurrect(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_clear_saved(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_reload_settings(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
