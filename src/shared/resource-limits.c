/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/resource-limits.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define CPU_PERIOD_USEC (USEC_PER_SEC / 10)

static const char *const limit_kind_table[_LIMIT_KIND_MAX] = {
        [LIMIT_MEMORY_HIGH] = "memory_high",
        [LIMIT_MEMORY_MAX] = "memory_max",
        [LIMIT_CPU_QUOTA] = "cpu_quota",
        [LIMIT_CPU_WEIGHT] = "cpu_weight",
        [LIMIT_IO_WEIGHT] = "io_weight",
        [LIMIT_TASKS_MAX] = "tasks_max",
        [LIMIT_ALLOWED_CPUS] = "allowed_cpus",
};

DEFINE_STRING_TABLE(LimitKind, limit_kind)

/* Controllers, and files of a cgroup; the second file is for a kernel without the first. */
static const struct {
        const char *controller, *controller_v1, *file, *other_file;
} kinds[_LIMIT_KIND_MAX] = {
        [LIMIT_MEMORY_HIGH] = { "memory", NULL, "memory.high", NULL },
        [LIMIT_MEMORY_MAX] = { "memory", "memory", "memory.max", NULL },
        [LIMIT_CPU_QUOTA] = { "cpu", "cpu", "cpu.max", NULL },
        [LIMIT_CPU_WEIGHT] = { "cpu", "cpu", "cpu.weight", NULL },
        [LIMIT_IO_WEIGHT] = { "io", "blkio", "io.weight", "io.bfq.weight" },
        [LIMIT_TASKS_MAX] = { "pids", "pids", "pids.max", NULL },
        [LIMIT_ALLOWED_CPUS] = { "cpuset", NULL, "cpuset.cpus", NULL },
};

const char *limit_controller(LimitKind k) {
        return kinds[k].controller;
}

static bool memory_is_said(const MemoryLimit *m) {
        return m->bytes > 0 || m->permyriad > 0;
}

unsigned resource_limits_mask(const ResourceLimits *l) {
        const bool said[_LIMIT_KIND_MAX] = {
                [LIMIT_MEMORY_HIGH] = memory_is_said(&l->memory_high),
                [LIMIT_MEMORY_MAX] = memory_is_said(&l->memory_max),
                [LIMIT_CPU_QUOTA] = l->cpu_quota > 0,
                [LIMIT_CPU_WEIGHT] = l->cpu_weight > 0,
                [LIMIT_IO_WEIGHT] = l->io_weight > 0,
                [LIMIT_TASKS_MAX] = l->tasks_max > 0,
                [LIMIT_ALLOWED_CPUS] = l->allowed_cpus,
        };
        unsigned mask = 0;

        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++)
                if (said[k])
                        mask |= LIMIT_BIT(k);
        return mask;
}

int resource_limits_copy(ResourceLimits *to, const ResourceLimits *from) {
        ResourceLimits l = *from;

        if (from->allowed_cpus) {
                l.allowed_cpus = strdup(from->allowed_cpus);
                if (!l.allowed_cpus)
                        return -ENOMEM;
        }
        *to = l;
        return 0;
}

void resource_limits_done(ResourceLimits *l) {
        free(l->allowed_cpus);
        *l = (ResourceLimits) {};
}

static uint64_t memory_bytes(const MemoryLimit *m) {
        unsigned __int128 total;

        if (m->permyriad == 0)
                return m->bytes > 0 ? m->bytes : UINT64_MAX;

        total = (unsigned __int128) sysconf(_SC_PHYS_PAGES) * (unsigned __int128) sysconf(_SC_PAGESIZE);
        return MAX((uint64_t) (total * m->permyriad / 10000), UINT64_C(1));
}

uint64_t resource_limits_get(const ResourceLimits *l, LimitKind k) {
        switch (k) {
        case LIMIT_MEMORY_HIGH:
                return memory_bytes(&l->memory_high);
        case LIMIT_MEMORY_MAX:
                return memory_bytes(&l->memory_max);
        case LIMIT_CPU_QUOTA:
                return l->cpu_quota ?: UINT64_MAX;
        case LIMIT_CPU_WEIGHT:
                return l->cpu_weight ?: UINT64_MAX;
        case LIMIT_IO_WEIGHT:
                return l->io_weight ?: UINT64_MAX;
        case LIMIT_TASKS_MAX:
                return l->tasks_max ?: UINT64_MAX;
        default:
                return UINT64_MAX;
        }
}

/* ---- cgroups ---- */

/* BFQ knows 1 to 1000, with 100 as the usual, too. */
static uint64_t bfq_weight(uint64_t weight) {
        return weight <= 100 ? weight : 100 + (weight - 100) * (1000 - 100) / (10000 - 100);
}

static char *format_limit(const ResourceLimits *l, LimitKind k, bool other_file) {
        uint64_t v = resource_limits_get(l, k);

        switch (k) {
        case LIMIT_ALLOWED_CPUS:
                return strjoin(strempty(l->allowed_cpus), "\n"); /* not empty: nothing would be written */
        case LIMIT_CPU_WEIGHT:
                return strprintf("%" PRIu64, v == UINT64_MAX ? 100 : v);
        case LIMIT_IO_WEIGHT:
                v = v == UINT64_MAX ? 100 : v;
                return strprintf("default %" PRIu64, other_file ? bfq_weight(v) : v);
        case LIMIT_CPU_QUOTA:
                if (v == UINT64_MAX)
                        return strprintf("max %" PRIu64, (uint64_t) CPU_PERIOD_USEC);
                return strprintf("%" PRIu64 " %" PRIu64, v / (USEC_PER_SEC / CPU_PERIOD_USEC), (uint64_t) CPU_PERIOD_USEC);
        default:
                return v == UINT64_MAX ? strdup("max") : strprintf("%" PRIu64, v);
        }
}

static int write_limit(int cgroup_fd, const ResourceLimits *l, LimitKind k, const char *file, bool other_file) {
        _cleanup_free_ char *value = format_limit(l, k, other_file);

        if (!value)
                return -ENOMEM;
        return write_virtual_file_at(cgroup_fd, file, value);
}

int cgroup_write_limit(int cgroup_fd, const ResourceLimits *l, LimitKind k) {
        int r;

        r = write_limit(cgroup_fd, l, k, kinds[k].file, false);
        if (r == -ENOENT && kinds[k].other_file)
                r = write_limit(cgroup_fd, l, k, kinds[k].other_file, true);
        return r == -ENOENT ? -EOPNOTSUPP : r;
}

bool cgroup_can_limit(int cgroup_fd, LimitKind k) {
        return faccessat(cgroup_fd, kinds[k].file, F_OK, 0) >= 0 ||
               (kinds[k].other_file && faccessat(cgroup_fd, kinds[k].other_file, F_OK, 0) >= 0);
}

/* "4:memory:/pm.slice/pm-api.slice/pm-api-0-1.scope" */
static bool line_is_controller_of_unit(const char *line, const char *controller, const char *unit) {
        _cleanup_strv_free_ char **controllers = NULL;
        const char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        _cleanup_free_ char *list = NULL;

        if (!second || !streq(path_basename(second + 1), unit))
                return false;
        list = strndup(first + 1, (size_t) (second - first - 1));
        controllers = list ? strv_split(list, ",") : NULL;
        return strv_contains(controllers, controller);
}

bool cgroup_v1_can_limit(pid_t pid, const char *unit, LimitKind k) {
        _cleanup_free_ char *path = strprintf("/proc/%d/cgroup", (int) pid), *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        int r;

        if (!path || !kinds[k].controller_v1)
                return false;
        r = read_full_file(path, &text, NULL);
        if (r < 0) {
                log_debug_errno(r, "Failed to read %s, ignoring: %m", path);
                return false;
        }

        lines = strv_split(text, "\n");
        STRV_FOREACH(line, lines)
                if (line_is_controller_of_unit(*line, kinds[k].controller_v1, unit))
                        return true;
        return false;
}
