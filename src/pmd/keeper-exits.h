/* SPDX-License-Identifier: MIT */
#pragma once

#include <signal.h>
#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/pidref.h"

/* How processes ended that are the keeper's children, because they are older than this pmd: what it tells by its pipe, see keeper.h. For
 * kernels that do not tell it themselves. */

/* One of them has ended, or was somebody else's. */
typedef void (*keeper_exits_told_t)(pid_t pid, void *userdata);

/* Takes the read end; -EBADF: there is no keeper, and *ret is NULL, which is fine everywhere. */
int keeper_exits_new(sd_event *event, int fd, keeper_exits_told_t told, void *userdata, KeeperExits **ret);
KeeperExits *keeper_exits_free(KeeperExits *x);
DEFINE_CLEANUP_FUNC(KeeperExits *, keeper_exits_free);

/* 1: si_code and si_status are set. 0: it will be told. -EOPNOTSUPP: it will not. */
int keeper_exits_get(KeeperExits *x, const PidRef *p, siginfo_t *ret);
