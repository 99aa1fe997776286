/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "pmd/pmd-forward.h"

/* The event bus towards clients: the Event signal of org.pmd1.Manager, sent to those who have subscribed and to nobody else. */

int method_subscribe_events(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_unsubscribe_events(sd_bus_message *message, void *userdata, sd_bus_error *reterr);
int method_list_reports(sd_bus_message *message, void *userdata, sd_bus_error *reterr);

/* A connection is about to be closed: its subscription ends. */
void event_bus_forget_connection(BusFace *f, sd_bus *bus);
