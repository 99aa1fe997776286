/* SPDX-License-Identifier: MIT */
#include "pmd/systemd-client-internal.h"
#include "shared/cgroup-util.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* A pmd that was killed between asking for a scope and opening the gate of its process may leave a scope that was empty from the beginning, and
 * that the manager so never sees become empty. The next pmd meets it as a name that is taken. */

static bool is_empty(const char *cgroup) {
        _cleanup_close_ int fd = -EBADF;

        if (isempty(cgroup))
                return false; /* it is not up yet, or not any more */
        fd = cgroup_open(cgroup);
        if (fd < 0)
                return fd == -ENOENT;
        return cgroup_is_populated(fd) == 0;
}

static int on_cgroup(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *unit = ASSERT_PTR(userdata), *cgroup;
        int r;

        if (sd_bus_message_is_method_error(m, NULL))
                return 0; /* it is gone */
        r = sd_bus_message_read(m, "v", "s", &cgroup);
        if (r < 0 || !is_empty(cgroup))
                return 0;

        log_debug("Stopping %s, which is empty and left over.", unit);
        FAULT_BEFORE(SCOPE_STOP);
        r = sd_bus_call_method_async(sd_bus_message_get_bus(m), NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "StopUnit", NULL, NULL,
                                     "ss", unit, "replace");
        FAULT_AFTER(SCOPE_STOP);
        if (r < 0)
                log_debug_errno(r, "Failed to stop %s, ignoring: %m", unit);
        return 0;
}

void scope_remove_left_over(sd_bus *bus, const char *unit) {
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        _cleanup_free_ char *path = NULL, *name = strdup(unit);
        int r;

        r = name ? sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path) : -ENOMEM;
        if (r >= 0)
                r = sd_bus_call_method_async(bus, &slot, SYSTEMD_NAME, path, "org.freedesktop.DBus.Properties", "Get", on_cgroup, name,
                                             "ss", "org.freedesktop.systemd1.Scope", "ControlGroup");
        if (r >= 0)
                r = sd_bus_slot_set_destroy_callback(slot, free);
        if (r < 0) {
                log_debug_errno(r, "Failed to look at %s, ignoring: %m", unit);
                return;
        }
        TAKE_PTR(name);
        (void) sd_bus_slot_set_floating(slot, true);
}
