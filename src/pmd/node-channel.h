/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* One end of the channel that Node.js has between a parent and a child: JSON texts that newlines end, on a stream socket, some with a
 * descriptor. Messages of Node itself, objects whose "cmd" begins with "NODE_", are told from those of the program.
 *
 * Both directions are bounded: a child that floods gets its turn when nobody else wants one, and what a child that does not read has no room for is
 * refused. */

typedef struct NodeChannelHandler {
        void (*internal)(json_object *message, const char *act, void *userdata); /* "cmd" is NODE_CLUSTER; act may be NULL */
        void (*user)(json_object *message, const char *json, size_t n, void *userdata); /* any JSON value; message NULL is null */
        void (*closed)(void *userdata); /* the child has closed its end; the last call of all */
} NodeChannelHandler;

/* What became of messages. */
typedef struct NodeChannelCounts {
        uint64_t n_received;
        uint64_t n_invalid;  /* no JSON */
        uint64_t n_too_large;
        uint64_t n_refused;  /* for which the child's queue had no room */
        uint64_t n_lost;     /* handles that did not arrive, however often they were sent */
} NodeChannelCounts;

/* Takes the fd. The handler's functions come from the event loop; none of them may free the channel. */
int node_channel_new(sd_event *event, int fd, const NodeChannelHandler *handler, void *userdata, NodeChannel **ret);
NodeChannel *node_channel_free(NodeChannel *c);
DEFINE_CLEANUP_FUNC(NodeChannel *, node_channel_free);

/* Both ends of a new channel; the first is pmd's. */
int node_channel_make_pair(int ret[static 2]);

/* Queues a message of the program, n bytes of JSON without a newline. 0; -ENOTCONN: the child has closed its end; -ENOBUFS: it does not read. */
int node_channel_send(NodeChannel *c, const char *json, size_t n);

/* Queues a message of Node; both stay the caller's. type: what Node calls a handle like fd, "net.Native" or "dgram.Native". Errors as above. */
int node_channel_send_internal(NodeChannel *c, json_object *message);
int node_channel_send_handle(NodeChannel *c, json_object *message, const char *type, int fd);

/* Handles what has been sent so far, though the child has ended. */
void node_channel_flush(NodeChannel *c);

bool node_channel_is_open(const NodeChannel *c);
NodeChannelCounts node_channel_get_counts(const NodeChannel *c);
