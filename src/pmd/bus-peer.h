/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "shared/macro.h"

/* What a bus would do for a client of the private socket: a few of the methods of org.freedesktop.DBus, for programs that take any connection for one
 * to a bus, and its matches. */

typedef struct BusPeer BusPeer;

/* Serves it on bus, which must outlive it. 0 or a negative errno. */
int bus_peer_new(sd_bus *bus, BusPeer **ret);
BusPeer *bus_peer_free(BusPeer *p); /* NULL is fine */
DEFINE_CLEANUP_FUNC(BusPeer *, bus_peer_free);

typedef struct BusSignal {
        const char *path, *interface, *member;
} BusSignal;

/* Whether one of its matches is about the signal, as far as path, interface and member tell. Who has never added one gets everything. */
bool bus_peer_wants(const BusPeer *p, const BusSignal *s);
