/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "shared/macro.h"

/* How a child gets its descriptors, and none of pmd's, of which there are several for each process: to copy and close them all is most of
 * what a start costs where there are many. So the child shares pmd's table (CLONE_FILES) until it takes a copy of its lowest part only
 * (CLOSE_RANGE_UNSHARE). One of a few low places is its own; the socket there brings what it is to have (SCM_RIGHTS). */

typedef struct Spawner Spawner;

#define SPAWNER_PLACES 32U
#define SPAWNER_FDS_MAX 64U

/* The earlier, the lower the places; before there are threads. NULL is a spawner without places. 0 or a negative errno. */
int spawner_new(Spawner **ret);
Spawner *spawner_free(Spawner *s);
DEFINE_CLEANUP_FUNC(Spawner *, spawner_free);

/* A place for a copy of fd: its number; -EBUSY if there is none. It is given back when the child has executed its program, or is gone. */
int spawner_take_place(Spawner *s, int fd);
void spawner_release_place(Spawner *s, int place); /* -EBADF is fine */

/* For what a child has nothing else: /dev/null, the spawner's. -EBADF: open it yourself. */
int spawner_null_fd(const Spawner *s);

/* Above this there are no places. */
int spawner_last_place(const Spawner *s);

/* To the other end of the socket in the place. 0 or a negative errno: then the child has to be forked with all there is. */
int spawner_send_fds(int socket_fd, const int *fds, size_t n);

/* In the child, system calls only: has only the lowest descriptors from now on, and n more, in the order in which they were sent. 0 or a negative errno. */
int spawner_receive_fds(int place, int last_place, int *ret_fds, size_t n);
