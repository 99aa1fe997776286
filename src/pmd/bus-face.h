/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "pmd/bus-peer.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-queue.h"
#include "pmd/event-bus.h"
#include "pmd/pmd-forward.h"
#include "shared/cgroup-util.h"
#include "shared/list.h"
#include "shared/macro.h"

/* The face of pmd: the connection to the bus, the clients of the private socket, and the same objects on all of
 * them. */

/* Connects to the system or session bus (none for a private instance), attaches it to the manager's event loop, and
 * prepares the rest. Nothing is served yet, so the manager can make its runner on bus_face_get_bus(). Where no bus
 * can be reached pmd does without: that is logged, not an error. 0 or a negative errno. */
int bus_face_new(Manager *m, BusFace **ret);

/* Serves: registers the objects, asks for the name org.pmd1 and listens on the private socket. The caller holds the
 * lock of the instance; a socket file that is there is stale. If the name turns out to be taken, the event loop ends
 * with -EBUSY. 0 or a negative errno. */
int bus_face_start(BusFace *f);
/* Once started: if somebody has removed the private socket, there is another one then. 0 or a negative errno; it has been logged. */
int bus_face_listen_again(BusFace *f);

BusFace *bus_face_free(BusFace *f);
DEFINE_CLEANUP_FUNC(BusFace *, bus_face_free);

/* That for calls to other services, to which nobody but them can send: their answers do not have to wait behind what strangers ask. NULL if there is none. Still owned
 * by f. */
sd_bus *bus_face_get_bus(BusFace *f);

/* ---- what follows is for the other files of the face ---- */

#define BUS_CLIENTS_MAX 1024U

/* A client that has this much unread is not going to read it. */
#define BUS_CLIENT_QUEUE_MAX 32768U

typedef struct BusClient {
        BusFace *face;
        sd_bus *bus;
        BusPeer *peer;
        uid_t uid;     /* by SO_PEERCRED */
        bool fresh;    /* just authenticated: waits for greet_source */
        bool has_called;
        bool dead;     /* waits for cleanup_source */
        LIST_FIELDS(struct BusClient, clients);
} BusClient;

struct BusFace {
        Manager *manager;
        sd_bus *bus;
        sd_bus *client_bus; /* by which pmd asks the service manager; may be the same */
        BusPolkit *polkit;
        char *user_name; /* of pmd itself */

        int listen_fd;
        char *socket_path; /* set once the socket file is ours */
        sd_event_source *listen_source, *listen_again_source;
        LIST_HEAD(BusClient, clients);
        unsigned n_clients, clients_max;
        bool full_logged;
        sd_event_source *greet_source, *cleanup_source;
        sd_event_source *bus_again_source; /* the bus is gone */
        usec_t bus_again_delay;

        /* Apps whose properties changed in this turn of the loop. */
        App **dirty_apps;
        size_t n_dirty_apps, n_dirty_apps_allocated;
        sd_event_source *dirty_apps_source;

        /* For manager-event-bus.c. */
        LIST_HEAD(struct EventSubscriber, subscribers);
        unsigned n_subscribers;
        EventSink event_sink;
        bool has_tap; /* lines come from the log relay */

        /* The figures read last, which are four properties of one object. */
        const Process *usage_process;
        uint64_t usage_iteration;
        ResourceUsage usage;
        double usage_cpu_percent;
};

/* Calls send() for the bus and each client that is ready and wants that signal, and closes the clients that cannot take it. */
typedef int (*bus_face_send_t)(sd_bus *bus, void *userdata);
void bus_face_for_each(BusFace *f, const BusSignal *signal, bus_face_send_t send, void *userdata);
