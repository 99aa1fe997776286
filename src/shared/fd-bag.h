/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Several descriptors in one: a socket in which a message waits that has them along. Whoever has a copy of it can look into it, as often as
 * they like, and it is gone with the last copy.
 *
 * To the kernel what is in there is in flight. Who has more than RLIMIT_NOFILE of that cannot pass any descriptor to another process, which goes
 * for all programs of a user unless they have CAP_SYS_RESOURCE or CAP_SYS_ADMIN. So root fills bags as a user whom nobody is. */

#define FD_BAG_MAX 16U

/* Whether this process can fill as many as it likes and keeps no user's programs from their work. */
bool fd_bag_is_harmless(void);

/* A bag with copies of those that are not negative; kinds[i] says what fds[i] is. A descriptor, O_CLOEXEC set, or a negative errno. */
int fd_bag_new(const char *const kinds[], const int fds[], size_t n);

/* Sets fds[i] to a copy of the one of kinds[i], O_CLOEXEC set, or to -EBADF if there is none. 0; -EBADMSG: it is no bag; or another negative
 * errno. */
int fd_bag_look(int bag, const char *const kinds[], int fds[], size_t n);
