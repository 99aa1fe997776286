/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Several listening sockets on one port, among which the kernel deals out new connections in turn, by a BPF program: SO_REUSEPORT alone would choose by a
 * hash of the addresses, which is uneven, and does not ask whether anybody accepts. What waits in the queue of a socket that is closed is moved to
 * one of the others. */

#define CLUSTER_SLOTS_MAX 256U

typedef struct ClusterBalance ClusterBalance;

/* -EPERM, -ENOSYS, -EINVAL, …: this kernel does not have it, or not for us. */
int cluster_balance_new(ClusterBalance **ret);
/* Takes the descriptors of another pmd's. */
int cluster_balance_adopt(int state_fd, int sockets_fd, ClusterBalance **ret);
ClusterBalance *cluster_balance_free(ClusterBalance *b); /* sockets and program go on */
DEFINE_CLEANUP_FUNC(ClusterBalance *, cluster_balance_free);

/* The first socket of the port, which is listening. */
int cluster_balance_attach(ClusterBalance *b, int fd);
/* Any socket of the port, the first too. */
int cluster_balance_add(ClusterBalance *b, unsigned slot, int fd);
/* Who gets connections; with none of them all do. */
int cluster_balance_set_active(ClusterBalance *b, const unsigned *slots, size_t n);

/* To be kept for the next pmd. */
int cluster_balance_get_state_fd(const ClusterBalance *b);
int cluster_balance_get_sockets_fd(const ClusterBalance *b);
