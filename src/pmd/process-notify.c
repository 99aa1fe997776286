/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "pmd/credentials.h"
#include "pmd/manager.h"
#include "pmd/notify-socket.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* What a process says of itself by sd_notify(3), and the watchdog that expects it to. */

#define STATUS_TEXT_MAX 1024

/* ---- the watchdog ---- */

static void fail_watchdog(Process *p, const char *why) {
        log_warning("Process %u (%s): watchdog: %s.", p->id, p->config->name, why);
        process_event(p, PROCESS_EVENT_WATCHDOG);
}

static int on_watchdog(sd_event_source *s, uint64_t usec, void *userdata) {
        fail_watchdog(ASSERT_PTR(userdata), "there was no sign of life in time");
        return 0;
}

static int arm_watchdog(Process *p) {
        usec_t at = usec_add(now(CLOCK_MONOTONIC), p->config->watchdog_timeout);
        int r;

        if (!p->watchdog_source)
                return sd_event_add_time(p->manager->event, &p->watchdog_source, CLOCK_MONOTONIC, at, 1000, on_watchdog, p);
        r = sd_event_source_set_time(p->watchdog_source, at);
        return r < 0 ? r : sd_event_source_set_enabled(p->watchdog_source, SD_EVENT_ONESHOT);
}

void process_update_watchdog(Process *p) {
        bool wanted = p->notify && p->config->watchdog_timeout > 0 && p->state == PROCESS_ONLINE;
        int r = 0;

        if (!wanted)
                p->watchdog_source = sd_event_source_disable_unref(p->watchdog_source);
        else if (!p->watchdog_source)
                r = arm_watchdog(p);
        if (r < 0)
                log_error_errno(r, "Failed to arm the watchdog of process %u, ignoring: %m", p->id);
}

/* ---- messages ---- */

static bool may_send(pid_t pid, void *userdata) {
        const Process *p = ASSERT_PTR(userdata);

        return p->unit && runner_unit_has_process(p->unit, pid);
}

static void on_status(const char *text, void *userdata) {
        Process *p = ASSERT_PTR(userdata);
        _cleanup_free_ char *copy = strndup(text, STATUS_TEXT_MAX);

        if (!copy) {
                log_oom();
                return;
        }
        /* Not in the middle of a character. */
        for (size_t n = strlen(copy); n > 0 && !utf8_is_valid(copy, n); n--)
                copy[n - 1] = 0;
        if (streq_ptr(copy, p->status_text))
                return;

        free(p->status_text);
        p->status_text = TAKE_PTR(copy);
        p->host->changed(p, PROCESS_FIELD_STATUS_TEXT);
}

static void on_ready(void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        process_check_exec(p);
        if (p->config->notify)
                process_event(p, PROCESS_EVENT_READY);
}

static void on_sign_of_life(bool failed, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        if (failed && p->config->watchdog_timeout > 0)
                fail_watchdog(p, "it says that it has failed");
        else if (p->watchdog_source && arm_watchdog(p) < 0)
                log_oom();
}

static const NotifyHandler handler = {
        .may_send = may_send,
        .status = on_status,
        .watchdog = on_sign_of_life,
        .ready = on_ready,
};

/* ---- the socket ---- */

/* Apps of other users must come to their own socket, but the runtime directory is nobody else's. */
static int make_path(const Process *p, char **ret) {
        const Instance *i = p->manager->instance;
        _cleanup_free_ char *directory = strjoin(i->runtime_dir, i->scope == INSTANCE_SYSTEM ? "-notify" : "/notify");
        char *path;
        int r;

        if (!directory)
                return -ENOMEM;
        r = mkdir_p(directory, 0711);
        if (r < 0)
                return r;

        path = strprintf("%s/%u.%u.sock", directory, p->id, p->incarnation);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

static bool is_wanted(const Process *p) {
        return p->config->notify || p->config->watchdog_timeout > 0;
}

static int open_socket(Process *p, const char *path) {
        int r;

        r = notify_socket_new(p->manager->event, path, p->credentials ? p->credentials->uid : geteuid(), &handler, p, &p->notify);
        if (r < 0)
                return log_warning_errno(r, "Failed to make the notification socket %s: %m", path);

        process_store_fd(p, "notify", notify_socket_get_fd(p->notify));
        return 0;
}

int process_open_notify(Process *p) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (p->status_text) {
                p->status_text = mfree(p->status_text);
                p->host->changed(p, PROCESS_FIELD_STATUS_TEXT);
        }
        if (!is_wanted(p))
                return 0;

        r = make_path(p, &path);
        return r < 0 ? r : open_socket(p, path);
}

void process_close_notify(Process *p) {
        if (!p->notify)
                return;
        if (notify_socket_get_dropped(p->notify) > 0)
                log_info("Process %u (%s): %" PRIu64 " messages to its notification socket were dropped: not its own, or malformed.",
                         p->id, p->config->name, notify_socket_get_dropped(p->notify));

        process_unstore_fd(p, "notify");
        (void) unlink(notify_socket_get_path(p->notify));
        p->watchdog_source = sd_event_source_disable_unref(p->watchdog_source);
        p->notify = notify_socket_free(p->notify);
}

/* What was sent to the old one has been read, as it could be reached no more for a while. */
void process_repair_notify(Process *p) {
        _cleanup_free_ char *path = NULL;

        if (!p->notify || access(notify_socket_get_path(p->notify), F_OK) >= 0 || errno != ENOENT)
                return;
        if (make_path(p, &path) < 0)
                return;
        process_unstore_fd(p, "notify");
        p->notify = notify_socket_free(p->notify);
        (void) open_socket(p, path);
}

int process_adopt_notify(Process *p) {
        _cleanup_free_ char *path = NULL;
        int fd, r;

        if (!is_wanted(p))
                return 0;

        r = make_path(p, &path);
        if (r < 0)
                return r;
        fd = process_take_stored_fd(p, "notify");
        return fd < 0 ? open_socket(p, path) : notify_socket_adopt(p->manager->event, fd, path, &handler, p, &p->notify);
}
