/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"

/* The sockets of "listen": bound once for an app, and given to each of its processes by the protocol of sd_listen_fds(3). They stay open while the app has
 * a process that runs or will run again, and in the fd store, so that nobody is refused while it is restarted, or pmd is. */

/* The descriptors for the next incarnation, in the order of the definition; the app's. NULL and 0 if it has no "listen". -errno: one
 * cannot be had, and p->start_fault says which and why. */
int app_open_sockets(Process *p, int **ret_fds, size_t *ret_n);

/* LISTEN_FDS, LISTEN_FDNAMES, and a place for LISTEN_PID. */
int app_set_sockets_environment(const Process *p, char ***env);

/* Takes those of a process that has been adopted out of the fd store. */
void app_adopt_sockets(Process *p);

/* Closes what no process of the app needs any more. */
void app_release_sockets(App *a);
void app_close_sockets(App *a); /* all; what is in the store stays there */
