/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* Of org.pmd1.Manager. */
int method_set_properties(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
