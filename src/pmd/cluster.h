/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* The sockets that the workers of one app share, as the primary of a Node cluster holds them: workers ask for one by "queryServer", get the listening
 * socket itself, and accept from it; pmd is not in the way of any connection. The sockets outlive workers, so that what waits in their queues is
 * served by the next, and pmd: copies are in the fd store, and what is to be known of them in a file.
 *
 * A TCP port is served by one socket that all workers accept from, or by one for each slot (the number of an instance), among which the kernel deals
 * out connections in turn; see cluster-balance.h. */

typedef enum ClusterPolicy {
        CLUSTER_POLICY_AUTO,
        CLUSTER_POLICY_SHARED,
        CLUSTER_POLICY_REUSEPORT, /* as far as the kernel allows */
        _CLUSTER_POLICY_MAX,
        _CLUSTER_POLICY_INVALID = -EINVAL,
} ClusterPolicy;

const char *cluster_policy_to_string(ClusterPolicy p);
ClusterPolicy cluster_policy_from_string(const char *s);

int cluster_new(sd_event *event, FdStore *fd_store, unsigned number, const char *path, Cluster **ret);
/* Goes on with what a pmd that has ended left. -ENOENT: nothing. */
int cluster_load(sd_event *event, FdStore *fd_store, const char *path, Cluster **ret);
/* Writes the file, or removes it if there is nothing to say. */
void cluster_save(const Cluster *c);
Cluster *cluster_free(Cluster *c); /* what is in the store stays there */
DEFINE_CLEANUP_FUNC(Cluster *, cluster_free);

unsigned cluster_get_number(const Cluster *c); /* of this pmd's clusters, for names in the fd store */
size_t cluster_count_listeners(const Cluster *c);

/* For the sockets that are made from now on; uid and gid make the files of Unix sockets. */
void cluster_configure(Cluster *c, ClusterPolicy policy, uid_t uid, gid_t gid);

/* Whom a message came from: a number no other worker of the app has or had, and its slot. */
typedef struct ClusterWorker {
        unsigned id, slot;
} ClusterWorker;

/* Answers a queryServer. *ret_reply is a new object without its "seq"; *ret_fd the cluster's, and what Node calls its type; -EBADF if the answer is an
 * error. -ENOMEM: there is none. */
int cluster_query(Cluster *c, ClusterWorker w, json_object *message, json_object **ret_reply, int *ret_fd, const char **ret_type);

/* It serves: its slot gets its share of connections. */
void cluster_worker_listening(Cluster *c, ClusterWorker w);
/* It is about to finish: its slot gets no more of them, unless another worker of that slot serves. */
void cluster_worker_retires(Cluster *c, ClusterWorker w);
/* It has closed one of its servers. The socket goes with the last worker unless keep is set. */
void cluster_worker_closed(Cluster *c, ClusterWorker w, const char *key, bool keep);
/* It has ended. Sockets stay, for its successor. */
void cluster_worker_ended(Cluster *c, ClusterWorker w);

/* Nobody is there to serve these slots, or will soon: what waits in their queues goes to the others. */
void cluster_drop_slots(Cluster *c, bool (*is_used)(unsigned slot, void *userdata), void *userdata);
/* Closes all. */
void cluster_clear(Cluster *c);
