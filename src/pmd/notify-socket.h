/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/macro.h"

/* A socket to which programs speak sd_notify(3). The kernel vouches for the sender's pid; whose messages count is for may_send() to say, all
 * others are dropped and counted. */

typedef struct NotifySocket NotifySocket;

typedef struct NotifyHandler {
        bool (*may_send)(pid_t pid, void *userdata);
        void (*status)(const char *text, void *userdata);      /* STATUS=, valid UTF-8 */
        void (*watchdog)(bool failed, void *userdata);         /* WATCHDOG=1, a sign of life; WATCHDOG=trigger: it says itself that it failed */
        void (*ready)(void *userdata);                         /* READY=1 */
} NotifyHandler;

/* Binds a socket in the file system that only owner, and root, may send to; what was at that path is removed. The handler's functions come from
 * the event loop. 0 or a negative errno (-ENAMETOOLONG). */
int notify_socket_new(sd_event *event, const char *path, uid_t owner, const NotifyHandler *handler, void *userdata, NotifySocket **ret);

/* Goes on with one that was bound by a pmd that has ended. Takes the fd. */
int notify_socket_adopt(sd_event *event, int fd, const char *path, const NotifyHandler *handler, void *userdata, NotifySocket **ret);

/* The file stays. */
NotifySocket *notify_socket_free(NotifySocket *s);
DEFINE_CLEANUP_FUNC(NotifySocket *, notify_socket_free);

int notify_socket_get_fd(const NotifySocket *s);
const char *notify_socket_get_path(const NotifySocket *s);
uint64_t notify_socket_get_dropped(const NotifySocket *s);
