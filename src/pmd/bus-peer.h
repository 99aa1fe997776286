/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

/* On the private socket there is no bus, but most clients, busctl among them, greet one before they talk. This answers them. */
int bus_peer_add(sd_bus *bus);
