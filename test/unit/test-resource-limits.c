/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "test.h"

#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/resource-limits.h"
#include "shared/string-table.h"
#include "tree.h"

TEST(string_table) {
        ASSERT_STRING_TABLE(limit_kind, _LIMIT_KIND_MAX);
        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++) {
                ASSERT_TRUE(app_option_find(limit_kind_to_string(k)));
                ASSERT_TRUE(!isempty(limit_controller(k)));
        }
}

TEST(mask) {
        ASSERT_EQ(resource_limits_mask(&(ResourceLimits) {}), 0);
        ASSERT_EQ(resource_limits_mask(&(ResourceLimits) { .memory_max.permyriad = 1, .tasks_max = UINT64_MAX }),
                  LIMIT_BIT(LIMIT_MEMORY_MAX) | LIMIT_BIT(LIMIT_TASKS_MAX));
        ASSERT_EQ(resource_limits_mask(&(ResourceLimits) { .memory_high.bytes = 1, .cpu_quota = 1, .cpu_weight = 1, .io_weight = 1,
                                                           .allowed_cpus = (char *) "0" }),
                  LIMIT_BIT(LIMIT_MEMORY_HIGH) | LIMIT_BIT(LIMIT_CPU_QUOTA) | LIMIT_BIT(LIMIT_CPU_WEIGHT) | LIMIT_BIT(LIMIT_IO_WEIGHT) |
                          LIMIT_BIT(LIMIT_ALLOWED_CPUS));
}

TEST(memory_percent) {
        ResourceLimits half = { .memory_max.permyriad = 5000 }, all = { .memory_max.permyriad = 10000 };
        uint64_t total = (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);

        ASSERT_TRUE(resource_limits_get(&all, LIMIT_MEMORY_MAX) == total);
        ASSERT_TRUE(resource_limits_get(&half, LIMIT_MEMORY_MAX) == total / 2);
        ASSERT_TRUE(resource_limits_get(&half, LIMIT_MEMORY_HIGH) == UINT64_MAX);
}

TEST(copy) {
        ResourceLimits a = { .tasks_max = 3, .allowed_cpus = (char *) "0" }, b = {};

        ASSERT_OK(resource_limits_copy(&b, &a));
        ASSERT_EQ(b.tasks_max, 3);
        ASSERT_STREQ(b.allowed_cpus, "0");
        ASSERT_TRUE(b.allowed_cpus != a.allowed_cpus);
        resource_limits_done(&b);
        ASSERT_EQ(resource_limits_mask(&b), 0);
}

static const struct {
        LimitKind kind;
        ResourceLimits limits;
        const char *file, *content;
} writes[] = {
        { LIMIT_MEMORY_MAX, { .memory_max.bytes = 4096 }, "memory.max", "4096" },
        { LIMIT_MEMORY_MAX, { .memory_max.bytes = UINT64_MAX }, "memory.max", "max" },
        { LIMIT_MEMORY_MAX, {}, "memory.max", "max" },
        { LIMIT_MEMORY_HIGH, { .memory_high.bytes = 1 }, "memory.high", "1" },
        { LIMIT_CPU_QUOTA, { .cpu_quota = 1500000 }, "cpu.max", "150000 100000" },
        { LIMIT_CPU_QUOTA, { .cpu_quota = 10000 }, "cpu.max", "1000 100000" },
        { LIMIT_CPU_QUOTA, { .cpu_quota = UINT64_MAX }, "cpu.max", "max 100000" },
        { LIMIT_CPU_QUOTA, {}, "cpu.max", "max 100000" },
        { LIMIT_CPU_WEIGHT, { .cpu_weight = 7 }, "cpu.weight", "7" },
        { LIMIT_CPU_WEIGHT, {}, "cpu.weight", "100" },
        { LIMIT_IO_WEIGHT, { .io_weight = 10000 }, "io.weight", "default 10000" },
        { LIMIT_IO_WEIGHT, {}, "io.weight", "default 100" },
        { LIMIT_IO_WEIGHT, { .io_weight = 10000 }, "io.bfq.weight", "default 1000" },
        { LIMIT_IO_WEIGHT, { .io_weight = 50 }, "io.bfq.weight", "default 50" },
        { LIMIT_TASKS_MAX, { .tasks_max = 12 }, "pids.max", "12" },
        { LIMIT_TASKS_MAX, { .tasks_max = UINT64_MAX }, "pids.max", "max" },
        { LIMIT_ALLOWED_CPUS, { .allowed_cpus = (char *) "0-3,5" }, "cpuset.cpus", "0-3,5\n" },
        { LIMIT_ALLOWED_CPUS, {}, "cpuset.cpus", "\n" },
};

/* A directory with a file of that name is as good as a cgroup. */
TEST(write) {
        for (size_t i = 0; i < ELEMENTSOF(writes); i++) {
                _cleanup_(tree_remove) char *dir = tree_new();
                _cleanup_free_ char *path = NULL, *content = NULL;
                _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                printf("# %zu: %s\n", i, writes[i].content);
                ASSERT_OK(fd);
                ASSERT_TRUE(!cgroup_can_limit(fd, writes[i].kind));
                ASSERT_EQ(cgroup_write_limit(fd, &writes[i].limits, writes[i].kind), -EOPNOTSUPP);

                path = tree_write(dir, writes[i].file, "", 0, 0600);
                ASSERT_TRUE(cgroup_can_limit(fd, writes[i].kind));
                ASSERT_OK(cgroup_write_limit(fd, &writes[i].limits, writes[i].kind));
                ASSERT_OK(read_full_file(path, &content, NULL));
                ASSERT_STREQ(content, writes[i].content);
        }
}

TEST(old_cgroups) {
        /* Whatever this machine has, nothing is in a unit of this name. */
        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++)
                ASSERT_TRUE(!cgroup_v1_can_limit(getpid(), "pm-no-such-0-1.scope", k));
}
