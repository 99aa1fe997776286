/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmd/systemd-client-internal.h"
#include "shared/parse-util.h"
#include "shared/resource-limits.h"
#include "shared/string-util.h"

/* The one place where limits become properties of units, for the start of a scope and for changes later. */

static const char *const properties[_LIMIT_KIND_MAX] = {
        [LIMIT_MEMORY_HIGH] = "MemoryHigh",
        [LIMIT_MEMORY_MAX] = "MemoryMax",
        [LIMIT_CPU_QUOTA] = "CPUQuotaPerSecUSec",
        [LIMIT_CPU_WEIGHT] = "CPUWeight",
        [LIMIT_IO_WEIGHT] = "IOWeight",
        [LIMIT_TASKS_MAX] = "TasksMax",
        [LIMIT_ALLOWED_CPUS] = "AllowedCPUs",
};

static int append_cpus(sd_bus_message *m, const char *list) {
        _cleanup_free_ uint8_t *mask = NULL;
        _cleanup_free_ char *normal = NULL;
        size_t n = 0;
        int r;

        if (list) {
                r = parse_cpu_list(list, &normal, &mask, &n);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", properties[LIMIT_ALLOWED_CPUS]);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', mask, n);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

int systemd_append_limits(sd_bus_message *m, const ResourceLimits *l, unsigned mask) {
        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++) {
                int r;

                if (!(mask & LIMIT_BIT(k)))
                        continue;
                r = k == LIMIT_ALLOWED_CPUS ? append_cpus(m, l->allowed_cpus) :
                                              sd_bus_message_append(m, "(sv)", properties[k], "t", resource_limits_get(l, k));
                if (r < 0)
                        return r;
        }
        return 0;
}

int systemd_client_set_limits(SystemdClient *c, const char *unit, const ResourceLimits *l, unsigned mask) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "SetUnitProperties");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "sb", unit, 1);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r < 0)
                return r;
        r = systemd_append_limits(m, l, mask);
        if (r < 0)
                return r;
        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        return client_enqueue(c, m, NULL);
}

/* A file for each, which the manager writes and alone knows how to take away; it outlives the slice. */
static bool is_kept(const char *slice, bool user, LimitKind k) {
        const char *runtime = user ? getenv("XDG_RUNTIME_DIR") : "/run";
        _cleanup_free_ char *path = NULL;

        path = strprintf("%s/systemd/%s.control/%s.d/50-%s.conf", strempty(runtime), user ? "user" : "system", slice, properties[k]);
        return path && access(path, F_OK) >= 0;
}

unsigned systemd_slice_weights(const char *slice, bool user) {
        unsigned mask = 0;

        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++)
                if ((LIMITS_OF_SLICE & LIMIT_BIT(k)) && is_kept(slice, user, k))
                        mask |= LIMIT_BIT(k);
        return mask;
}
