/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/cluster-balance.h"
#include "pmd/cluster-socket.h"
#include "pmd/cluster.h"
#include "shared/list.h"

/* What cluster.c and cluster-serialize.c share. */

#define STORED_NAME_MAX 64

/* A worker that was given a listener's socket. */
typedef struct Member {
        unsigned worker, slot;
        bool active;    /* it accepts */
} Member;

typedef struct Listener Listener;
struct Listener {
        LIST_FIELDS(Listener, listeners);
        unsigned number; /* for names in the fd store */
        char *key;
        ClusterSocketKind kind;
        char *host;
        int family;
        unsigned port;   /* the real one, once there is a socket */
        unsigned flags;
        dev_t device;    /* of a Unix socket's file */
        ino_t inode;
        uid_t uid;       /* and who made it */
        gid_t gid;
        json_object *data; /* the first that a worker gave, for all of them */

        int *sockets;    /* by slot; the only one that all share is that of slot 0 */
        size_t n_sockets, n_sockets_allocated;
        ClusterBalance *balance; /* NULL: they share one */
        Member *members;
        size_t n_members, n_members_allocated;
};

struct Cluster {
        sd_event *event;
        FdStore *fd_store;
        unsigned number;
        char *path;      /* of the file */
        ClusterPolicy policy;
        uid_t uid;
        gid_t gid;
        LIST_HEAD(Listener, listeners);
        size_t n_listeners;
        unsigned last_listener;
        sd_event_source *sweep_source;
};

Listener *listener_free(Listener *l);
DEFINE_CLEANUP_FUNC(Listener *, listener_free);
int listener_set_socket(Listener *l, unsigned slot, int fd);
int listener_add_member(Listener *l, unsigned worker, unsigned slot, bool active);
void listener_update_balance(Listener *l);
const char *listener_socket_name(const Cluster *c, const Listener *l, unsigned slot, char buf[static STORED_NAME_MAX]);
const char *listener_map_name(const Cluster *c, const Listener *l, const char *map, char buf[static STORED_NAME_MAX]);
void listener_unstore_balance(const Cluster *c, const Listener *l);

