/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "pmd/manager-boot.h"

#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/manager-save.h"
#include "pmd/manager.h"
#include "pmd/store.h"
#include "shared/boot-id.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"

/* D-Bus activation, a start at boot and a restart after a crash look the same from inside, so a file in the runtime directory tells
 * whether pmd has been there since the machine came up. In a container, where that directory may outlive a restart and the id of the
 * boot is the host's, it is the start of process 1 that makes the difference. */

#define MARK_MAX 128U

static char *mark_path(const Manager *m) {
        return strjoin(m->instance->runtime_dir, "/started");
}

static int mark_of_this_boot(char **ret) {
        char boot[SD_ID128_STRING_MAX];
        ProcStat init = {};
        char *mark;
        int r;

        r = boot_id_get(boot);
        if (r < 0)
                return r;
        (void) proc_read_stat(1, &init); /* may be hidden from us */

        mark = strprintf("%s %" PRIu64 "\n", boot, init.start_time);
        if (!mark)
                return -ENOMEM;
        *ret = mark;
        return 0;
}

/* 1: it was not there before; leaves the mark. */
static int is_first_start(const Manager *m) {
        _cleanup_free_ char *path = mark_path(m), *mark = NULL, *before = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        r = mark_of_this_boot(&mark);
        if (r < 0)
                return r;

        r = read_full_file_at(AT_FDCWD, path, MARK_MAX, &before, NULL);
        if (r >= 0 && streq(before, mark))
                return 0;

        r = write_file_atomic(path, mark, strlen(mark), 0600);
        return r < 0 ? r : 1;
}

void manager_boot_remember(Manager *m) {
        if (m->boot_marked)
                (void) is_first_start(m);
}

void manager_boot_forget(Manager *m) {
        _cleanup_free_ char *path = mark_path(m);

        if (path)
                (void) unlink(path);
}

static void resurrect_now(Manager *m) {
        _cleanup_(restored_done) Restored restored = {};
        struct lh_entry *e;
        int r;

        r = manager_resurrect(m, &restored);
        if (r == -ENOENT)
                log_debug("There is no saved list to restore.");
        else if (r < 0)
                log_error_errno(r, "Failed to restore the saved list: %m");
        else
                log_info("Restored %zu processes of the saved list.", restored.n_processes);
        lh_foreach(m->apps, e) {
                App *a = lh_entry_v(e);

                if (a->job)
                        a->job->unattended = true;
        }
}

static int on_unit_file_state(sd_bus_message *reply, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        Manager *m = ASSERT_PTR(userdata);
        const char *state;
        int r;

        m->boot_slot = sd_bus_slot_unref(m->boot_slot);

        if (e) {
                log_warning("The service manager does not tell whether pmd.service is enabled, not restoring the saved list: %s", e->message);
                return 0;
        }
        r = sd_bus_message_read(reply, "s", &state);
        if (r < 0) {
                log_warning_errno(r, "Failed to read whether pmd.service is enabled, not restoring the saved list: %m");
                return 0;
        }

        log_debug("pmd.service is %s.", state);
        if (streq(state, "enabled") || streq(state, "enabled-runtime"))
                resurrect_now(m);
        return 0;
}

static void ask_whether_enabled(Manager *m) {
        sd_bus *bus = bus_face_get_bus(m->bus_face);
        int r;

        if (!bus)
                return;
        r = sd_bus_call_method_async(bus, &m->boot_slot, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                     "org.freedesktop.systemd1.Manager", "GetUnitFileState", on_unit_file_state, m, "s", "pmd.service");
        if (r < 0)
                log_warning_errno(r, "Failed to ask whether pmd.service is enabled, not restoring the saved list: %m");
}

static void clean_saved_list(const Manager *m) {
        _cleanup_free_ char *path = manager_saved_path(m);

        if (path)
                store_clean(path);
}

void manager_boot(Manager *m, bool resurrect) {
        int r;

        clean_saved_list(m);
        if (m->instance->scope == INSTANCE_PRIVATE && !resurrect)
                return;

        m->boot_marked = true;
        r = is_first_start(m);
        if (r == 0)
                return;
        if (r < 0)
                log_warning_errno(r, "Failed to note that pmd has been started, ignoring: %m");

        if (resurrect)
                resurrect_now(m);
        else
                ask_whether_enabled(m);
}
