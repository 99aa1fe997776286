/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/macro.h"

/* Descriptors that outlive pmd: systemd, or the keeper, holds copies of them and hands them to the next pmd, by the FDSTORE
 * protocol of sd_notify(3). A name stands for one descriptor: who wants to push another by the same name removes the first before.
 *
 * Nothing here blocks. What the manager's socket has no room for waits in a queue, in order, and is sent from the event loop.
 * Where nobody keeps descriptors ($NOTIFY_SOCKET is not set, or its reader is gone, or the store is NULL) pushing and removing do
 * nothing. */

typedef struct FdStore FdStore;

/* Takes what the last pmd has left, and $LISTEN_FDS, $LISTEN_PID and $LISTEN_FDNAMES out of the environment: call it once, before
 * there are threads. Of several by one name one is kept. */
int fd_store_new(sd_event *event, FdStore **ret);
FdStore *fd_store_free(FdStore *s); /* NULL is fine; closes what was not taken, which stays in the store */
DEFINE_CLEANUP_FUNC(FdStore *, fd_store_free);

/* Whether somebody takes what is pushed. */
bool fd_store_is_kept(const FdStore *s);

/* 1: it is kept, or on its way; fd stays the caller's, who may close it. 0: nobody keeps it. -EINVAL: no valid fd_name.
 * -ENOBUFS: too many are waiting to be sent. */
int fd_store_push(FdStore *s, const char *name, int fd);

/* Forgets it, be it there or not. As above. */
int fd_store_remove(FdStore *s, const char *name);

/* What the last pmd pushed by that name, the caller's from now on, O_CLOEXEC set; it stays in the store as well. -ENOENT: nothing,
 * or it was taken before. */
int fd_store_take(FdStore *s, const char *name);

/* The names of those that have not been taken, i = 0, 1, …; NULL behind the last. Taking one moves those behind it. */
const char *fd_store_get_name(const FdStore *s, size_t i);

/* Closes those that have not been taken and removes them from the store: for the end of start-up, when everything of use is taken.
 * Returns how many there were. */
size_t fd_store_drop_rest(FdStore *s);

/* Whether what was pushed is not all sent yet, but may well be soon. */
bool fd_store_is_behind(const FdStore *s);

/* sent() is called from the event loop whenever the store has been behind and no longer is. */
int fd_store_set_sent(FdStore *s, void (*sent)(void *userdata), void *userdata);

/* How many messages wait to be sent. Who wants to end on purpose, and be started again, waits until there are none. */
size_t fd_store_get_pending(const FdStore *s);

