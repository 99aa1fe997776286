/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "shared/macro.h"

/* A program can pass a descriptor whose last close(2) takes as long as the program wants: a socket that lingers, a file of a FUSE mount. So those that came with a message are
 * closed by a thread that is there for nothing else, and who sent them has to wait until it has done so. */

/* As many as the kernel lets pass in one message: what has no room in the buffer the kernel closes at once, in our time. */
#define FD_CLOSER_FDS_MAX 253U

typedef struct FdCloser FdCloser;

/* Takes the descriptors. done: when they are closed, from the event loop; it is for it to free the closer. If there can be no thread, they are closed here, and
 * *ret is NULL. */
void fd_closer_new(sd_event *event, const int *fds, size_t n, void (*done)(void *userdata), void *userdata, FdCloser **ret);
/* What has been begun goes on. */
FdCloser *fd_closer_free(FdCloser *c);

/* The descriptors that came along: how many. */
size_t fd_closer_take_rights(struct msghdr *m, int fds[static FD_CLOSER_FDS_MAX]);

/* Closes a Unix socket in which messages may be unread: theirs are closed with it. Returns -EBADF. */
int fd_closer_close_socket(int fd);
