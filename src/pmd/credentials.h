/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* What "user" and "group" of a definition mean. Looked up when the definition comes in, since the user database may be slow. */
struct Credentials {
        unsigned n_ref;
        uid_t uid;
        gid_t gid;
        gid_t *groups; /* all of them, supplementary ones too */
        size_t n_groups;
        char *user, *home, *shell; /* of the user database; NULL for a number that is not in it */
};

/* user: name or number. group: name or number, NULL for the user's own. -ESRCH if there is no such user, -ENOENT if no such group. */
int credentials_new(const char *user, const char *group, Credentials **ret);
Credentials *credentials_ref(Credentials *c);
Credentials *credentials_unref(Credentials *c);
DEFINE_CLEANUP_FUNC(Credentials *, credentials_unref);
