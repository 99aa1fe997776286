/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Both ends of the protocol of sd_notify(3), without ever blocking. */

#define FD_NAME_MAX 255U

/* Whether a descriptor can be kept by that name: not empty, at most FD_NAME_MAX bytes of printable ASCII, no ':'. */
bool fd_name_is_valid(const char *s);

/* Any text as a part of such a name: what it must not hold, and '\', becomes \xNN. New memory or NULL. */
char *fd_name_escape(const char *s);

/* A datagram socket connected to what $NOTIFY_SOCKET says ("/path" or "@name"), or a negative errno; -EAFNOSUPPORT for any other
 * kind. */
int notify_connect(const char *address);

/* Sends a text, and a descriptor unless it is negative. 0 or a negative errno. */
int notify_send(int fd, const char *text, int passed);

/* A socket to be notified at, which says who sends (SO_PASSCRED), and its address: an abstract name of the kernel's choice, so
 * there is nothing to clean up. New memory. 0 or a negative errno. */
int notify_listen(int *ret_fd, char **ret_address);
