/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* The sockets that a worker of a Node cluster asks its primary for, made as Node makes them. */

typedef enum ClusterSocketKind {
        CLUSTER_SOCKET_TCP,
        CLUSTER_SOCKET_UDP,
        CLUSTER_SOCKET_UNIX,
        _CLUSTER_SOCKET_KIND_MAX,
        _CLUSTER_SOCKET_KIND_INVALID = -EINVAL,
} ClusterSocketKind;

const char *cluster_socket_kind_to_string(ClusterSocketKind k);
ClusterSocketKind cluster_socket_kind_from_string(const char *s);

/* What libuv calls these. */
#define CLUSTER_SOCKET_IPV6ONLY 1U
#define CLUSTER_SOCKET_UDP_REUSEADDR 4U

typedef struct ClusterAddress {
        ClusterSocketKind kind;
        const char *host;  /* of an IP address, or a path; NULL: any */
        int family;        /* AF_INET, AF_INET6; AF_UNSPEC: as the host says */
        unsigned port;
        unsigned flags;
        uid_t uid;         /* who makes the file of a Unix socket */
        gid_t gid;
} ClusterAddress;

/* Binds a new socket, not listening yet. A stream socket with join shares its port with the others of its group, to which cluster_socket_open_group() made
 * the first. An fd or a negative errno: -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, … as bind(2). */
int cluster_socket_bind(const ClusterAddress *a, bool join);
/* Nobody outside can have the port, but sockets of ours may share it from now on. */
int cluster_socket_open_group(int fd);
int cluster_socket_listen(int fd, int backlog);
/* Removes the file of a Unix socket with the rights of who made it: the path may lead elsewhere by now, also between a look at it and this. is_ours may be NULL. */
void cluster_socket_remove_path(const char *path, uid_t uid, gid_t gid, bool (*is_ours)(const char *path, void *userdata), void *userdata);
/* The port it is bound to, or a negative errno. */
int cluster_socket_get_port(int fd);
