/* SPDX-License-Identifier: MIT */
#include "pmd/process.h"
#include "pmd/spawn-restrict.h"
#include "shared/capability-util.h"

int process_restrictions(const AppConfig *c, SpawnRestrictions *ret) {
        SpawnRestrictions s = {
                .nice = c->nice,
                .oom_score_adjust = c->oom_score_adjust,
                .umask = c->umask,
                .set_capabilities = c->capabilities,
                .no_new_privileges = c->no_new_privileges,
        };
        int r;

        memcpy(s.rlimits, c->rlimits, sizeof(s.rlimits));
        r = capabilities_to_mask(c->capabilities, &s.capabilities);
        if (r < 0)
                return r;

        *ret = s;
        return 0;
}
