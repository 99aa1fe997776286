/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "pmd/spawn-memory.h"
#include "shared/macro.h"

/* What keeps a start short where there are many processes.
 *
 * A child that had copies of all descriptors of pmd, of which there are several for each process, would have to close them again. So it shares the table
 * with pmd (CLONE_FILES) until it takes a copy of its lowest part only (CLOSE_RANGE_UNSHARE). One of a few low places is its own; the socket there brings
 * what it is to have (SCM_RIGHTS).
 *
 * And with each place comes memory, in which a child can be that shares pmd's: it stays as it is until that child has executed its program, or is gone. */

typedef struct Spawner Spawner;
typedef struct SpawnPlace SpawnPlace;

#define SPAWNER_PLACES 32U
#define SPAWNER_FDS_MAX 64U

/* The earlier, the lower the places; before there are threads. 0 or a negative errno. */
int spawner_new(Spawner **ret);
Spawner *spawner_free(Spawner *s); /* NULL is fine; places that are taken must not be used any more */
DEFINE_CLEANUP_FUNC(Spawner *, spawner_free);

/* A place with a copy of fd in it; NULL if none is free, or s is NULL. */
SpawnPlace *spawner_take_place(Spawner *s, int fd);

/* Returns NULL. pidfd: of a child that may still be there, and before whose end nobody else gets the place; it stays the caller's. -EBADF: it has executed its program, or has
 * been waited for, or there is none. */
SpawnPlace *spawn_place_release(SpawnPlace *p, int pidfd);

/* Whether a child may be in our memory: see spawn_memory_is_plain(), which cannot change while we run. */
bool spawn_place_may_share_memory(const SpawnPlace *p);
int spawn_place_get_fd(const SpawnPlace *p);
SpawnMemory *spawn_place_get_memory(SpawnPlace *p);
/* Above this there are no places. */
int spawn_place_get_last(const SpawnPlace *p);

/* For what a child has nothing else: /dev/null, the spawner's. -EBADF: open it yourself. */
int spawner_get_null_fd(const Spawner *s);

/* To the other end of the socket in the place. 0 or a negative errno: then the child has to be forked with all there is. */
int spawner_send_fds(int socket_fd, const int *fds, size_t n);

/* In the child, system calls only: has only the lowest descriptors from now on, and n more, in the order in which they were sent. 0 or a negative errno. */
int spawner_receive_fds(int place, int last_place, int *ret_fds, size_t n);
