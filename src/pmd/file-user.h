/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Files whose paths were named by users, or lie where users can change what a path means, are made, written and removed with the rights of that user. */

/* Makes the calling thread, and it alone, use files with the rights of that user and group, and of no other group. 0 or a negative errno, nothing changed then. */
int file_user_assume(uid_t uid, gid_t gid);
void file_user_reset(void); /* also if nothing was assumed */
