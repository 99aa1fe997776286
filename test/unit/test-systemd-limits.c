/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "shared/resource-limits.h"
#include "systemd-fixture.h"
#include "test.h"

/* Reads "(sv)" until the end of the array into a text of "Name=value" lines. */
static char *read_properties(sd_bus_message *m) {
        char *text = strdup("");

        ASSERT_OK(sd_bus_message_enter_container(m, 'a', "(sv)"));
        while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
                const char *name, *type;
                char *next;

                ASSERT_OK(sd_bus_message_read(m, "s", &name));
                ASSERT_OK(sd_bus_message_peek_type(m, NULL, &type));
                if (streq(type, "t")) {
                        uint64_t v;

                        ASSERT_OK(sd_bus_message_read(m, "v", "t", &v));
                        next = strprintf("%s%s=%" PRIu64 "\n", text, name, v);
                } else if (streq(type, "ay")) {
                        const uint8_t *bytes;
                        size_t n;

                        ASSERT_OK(sd_bus_message_enter_container(m, 'v', "ay"));
                        ASSERT_OK(sd_bus_message_read_array(m, 'y', (const void **) &bytes, &n));
                        ASSERT_OK(sd_bus_message_exit_container(m));
                        next = strprintf("%s%s=%zu:%u:%u\n", text, name, n, n > 0 ? bytes[0] : 0, n > 1 ? bytes[1] : 0);
                } else {
                        ASSERT_OK(sd_bus_message_skip(m, "v"));
                        next = strdup(text);
                }
                free(text);
                text = next;
                ASSERT_OK(sd_bus_message_exit_container(m));
        }
        ASSERT_OK(sd_bus_message_exit_container(m));
        return text;
}

static const ResourceLimits all_limits = {
        .memory_max = { .bytes = 1 << 20 },
        .memory_high = { .bytes = UINT64_MAX },
        .cpu_quota = 1500000,
        .cpu_weight = 20,
        .io_weight = 30,
        .tasks_max = 40,
        .allowed_cpus = (char *) "0-1,9",
};

TEST(limits_of_start) {
        _cleanup_free_ char *text = NULL, *slice = NULL;
        const char *unit;
        Scope s = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(systemd_client_start_scope(f.client,
                        &(ScopeSpec) {
                                .unit = "a.scope",
                                .slice = "pm-x.slice",
                                .description = "x",
                                .main = &f.self,
                                .limits = &all_limits,
                                .slice_weights = LIMIT_BIT(LIMIT_CPU_WEIGHT),
                        },
                        on_started, on_removed, &s, &s.ref));

        /* It comes first, so that the slice begins with it; and one call at a time until it is known how a pid is passed. */
        while (!f.set_properties)
                ASSERT_OK(sd_event_run(f.event, UINT64_MAX));
        ASSERT_EQ(f.n_starts, 0);
        pump(&f);
        ASSERT_OK(sd_bus_message_read(f.set_properties, "sb", &unit, NULL));
        ASSERT_STREQ(unit, "pm-x.slice");
        slice = read_properties(f.set_properties);
        ASSERT_STREQ(slice, "CPUWeight=20\n");
        ASSERT_EQ(f.n_starts, 1);
        ASSERT_OK(sd_bus_message_rewind(f.starts[0], true));
        ASSERT_OK(sd_bus_message_skip(f.starts[0], "ss"));
        text = read_properties(f.starts[0]);
        ASSERT_STREQ(text, "TimeoutStopUSec=0\nMemoryHigh=18446744073709551615\nMemoryMax=1048576\nCPUQuotaPerSecUSec=1500000\n"
                           "CPUWeight=20\nIOWeight=30\nTasksMax=40\nAllowedCPUs=2:3:2\n");
        scope_ref_free(s.ref);
        fake_done(&f);
}

TEST(limits_later) {
        _cleanup_free_ char *text = NULL, *reset = NULL;
        const char *unit;
        Fake f;
        int runtime;

        fake_init(&f);
        ASSERT_OK(systemd_client_set_limits(f.client, "a.scope", &all_limits, LIMIT_BIT(LIMIT_MEMORY_MAX) | LIMIT_BIT(LIMIT_ALLOWED_CPUS)));
        pump(&f);
        ASSERT_TRUE(f.set_properties);
        ASSERT_OK(sd_bus_message_read(f.set_properties, "sb", &unit, &runtime));
        ASSERT_STREQ(unit, "a.scope");
        ASSERT_EQ(runtime, 1);
        text = read_properties(f.set_properties);
        ASSERT_STREQ(text, "MemoryMax=1048576\nAllowedCPUs=2:3:2\n");

        /* What is not said goes back to none. */
        ASSERT_OK(systemd_client_set_limits(f.client, "a.scope", &(ResourceLimits) {}, LIMIT_BIT(_LIMIT_KIND_MAX) - 1));
        pump(&f);
        ASSERT_OK(sd_bus_message_skip(f.set_properties, "sb"));
        reset = read_properties(f.set_properties);
        ASSERT_STREQ(reset, "MemoryHigh=18446744073709551615\nMemoryMax=18446744073709551615\nCPUQuotaPerSecUSec=18446744073709551615\n"
                            "CPUWeight=18446744073709551615\nIOWeight=18446744073709551615\nTasksMax=18446744073709551615\n"
                            "AllowedCPUs=0:0:0\n");
        fake_done(&f);
}

TEST(slice_weights_are_found) {
        char dir[] = "/tmp/test-systemd-client.XXXXXX";
        _cleanup_free_ char *path = NULL;
        int fd;

        ASSERT_TRUE(mkdtemp(dir));
        ASSERT_OK(setenv("XDG_RUNTIME_DIR", dir, true));
        ASSERT_EQ(systemd_slice_weights("app-pm-x.slice", true), 0);

        path = strprintf("mkdir -p %s/systemd/user.control/app-pm-x.slice.d", dir);
        ASSERT_EQ(system(path), 0);
        free(path);
        path = strprintf("%s/systemd/user.control/app-pm-x.slice.d/50-IOWeight.conf", dir);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_OK(fd);
        ASSERT_OK(close(fd));
        ASSERT_EQ(systemd_slice_weights("app-pm-x.slice", true), LIMIT_BIT(LIMIT_IO_WEIGHT));
        ASSERT_EQ(systemd_slice_weights("app-pm-y.slice", true), 0);

        free(path);
        path = strprintf("rm -r %s", dir);
        ASSERT_EQ(system(path), 0);
}
