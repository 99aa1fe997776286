/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "shared/macro.h"

/* Who may do what. Root and pmd's own user may do everything; on the system bus polkit is asked about others, everywhere
 * else they are refused. On the private socket the kernel says who the peer is; on a bus it is asked for, asynchronously. */

#define PMD_ACTION_MANAGE_APPS "org.pmd1.manage-apps"
#define PMD_ACTION_READ_ENVIRONMENT "org.pmd1.read-environment"
#define PMD_ACTION_EXIT "org.pmd1.exit"

typedef struct BusPolkit BusPolkit;

/* ask_polkit: whether this pmd is the system's. */
int bus_polkit_new(bool ask_polkit, BusPolkit **ret);
BusPolkit *bus_polkit_free(BusPolkit *p);
DEFINE_CLEANUP_FUNC(BusPolkit *, bus_polkit_free);

/* To be called by the handler of a method before it changes or tells anything, and at most once per call of the method.
 *
 * details: NULL, or a strv of names and values in turn, for rules of the administrator. good_user: one more who may, (uid_t) -1: none.
 * Returns 1 if allowed, with the caller's uid in *ret_uid (may be NULL). 0: not known yet, the handler must return 1 at once and
 * is called again with the same message. A negative errno with *reterr set, to be returned: refused. */
int bus_polkit_check(
                BusPolkit *p,
                sd_bus_message *m,
                const char *action,
                const char *const *details,
                uid_t good_user,
                uid_t *ret_uid,
                sd_bus_error *reterr);
