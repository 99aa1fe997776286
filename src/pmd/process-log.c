/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/app.h"
#include "pmd/credentials.h"
#include "pmd/log-ring.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "shared/date-format.h"
#include "shared/env-util.h"
#include "shared/fd-util.h"
#include "shared/log-json.h"
#include "shared/string-util.h"

/* The output of a process: through the log thread, or to the journal without us. */

#define JOURNAL_STREAM_SOCKET "/run/systemd/journal/stdout"

static LogCounter *dropped_counter(Process *p) {
        if (!p->log_dropped)
                p->log_dropped = log_counter_new();
        return p->log_dropped;
}

/* Files with the default names are in our own directory, where the app's user may not go. */
static bool has_own_path(const Process *p, LogStreamKind kind) {
        return !(kind == LOG_STREAM_OUT ? p->config->out_file : p->config->error_file);
}

int process_relay_stream(Process *p, LogStreamKind kind, int read_fd, log_stream_closed_t closed) {
        _cleanup_free_ char *path = NULL, *combined = NULL;
        _cleanup_close_ int fd = read_fd;
        LogTarget target = process_log_target(p);
        const AppConfig *c = p->config;
        LogRotation rotation = {
                .max_size = c->log_max_size,
                .retain = c->log_retain,
                .compress = c->log_compress,
                .date_format = c->log_rotate_date_format,
                .interval = c->log_rotate_interval,
        };
        int r;

        r = process_log_path(p, kind, &path);
        if (r < 0)
                return r;
        r = process_combined_log_path(p, &combined);
        if (r < 0)
                return r;

        LogStreamSpec spec = {
                .kind = kind,
                .app = p->app->name,
                .name_space = c->name_space,
                .id = p->id,
                .instance = p->instance,
                .journal = IN_SET(target, LOG_TARGET_JOURNAL, LOG_TARGET_BOTH),
                .path = path,
                .own_path = has_own_path(p, kind),
                .combined_path = combined,
                .own_combined_path = isempty(c->log_file),
                .uid = p->credentials ? p->credentials->uid : geteuid(),
                .gid = p->credentials ? p->credentials->gid : getegid(),
                .date_format = c->log_date_format ?: (c->time ? TIME_DATE_FORMAT : NULL),
                .json = streq_ptr(c->log_type, "json"),
                .rotation = &rotation,
                .parse_json = streq_ptr(c->log_parse, "json"),
                .stderr_priority = c->log_stderr_priority ? log_json_level(c->log_stderr_priority) : 0,
                .overflow = c->log_overflow ? log_overflow_from_string(c->log_overflow) : LOG_OVERFLOW_AUTO,
                .dropped = dropped_counter(p),
        };

        return log_relay_add_stream(p->manager->log_relay, TAKE_FD(fd), &spec, closed, p, &p->streams[kind]);
}

static const char *what_is_lost(const Process *p, bool journal) {
        const char *overflow = p->config->log_overflow;

        return streq_ptr(overflow, "drop") || (journal && !streq_ptr(overflow, "block")) ? "the oldest are lost" : "the app has to wait";
}

int process_describe_log_trouble(const Process *p, char **ret) {
        int error = log_counter_get_error(p->log_dropped);
        usec_t since = log_counter_get_since(p->log_dropped);
        bool journal;

        if (since == 0 && error == 0)
                return 0;
        if (since == 0)
                *ret = strprintf("its log cannot be written, and its lines are lost: %s", strerror(-error));
        else if (usec_sub(now(CLOCK_MONOTONIC), since) < LOG_STUCK_USEC) /* that is nothing */
                return 0;
        else {
                journal = process_log_target(p) == LOG_TARGET_JOURNAL;
                *ret = strprintf("%s takes no lines of it%s%s; they are kept, but when there are too many %s", journal ? "the journal" : "its log",
                                 error == 0 ? "" : ": ", error == 0 ? "" : strerror(-error), what_is_lost(p, journal));
        }
        return *ret ? 1 : -ENOMEM;
}

/* ---- without us ---- */

bool process_logs_directly(const Process *p) {
        return streq_ptr(p->config->log_driver, "direct") && process_log_target(p) == LOG_TARGET_JOURNAL;
}

/* journald takes the unit from root only. Without it the lines of a process that has ended by the time they are read would have none. */
static char *make_header(const Process *p, LogStreamKind kind) {
        const char *unit = geteuid() == 0 && p->unit && endswith(p->unit->name, ".scope") ? p->unit->name : "";
        int priority = 6;

        if (kind == LOG_STREAM_ERR)
                priority = p->config->log_stderr_priority ? log_json_level(p->config->log_stderr_priority) : 3;
        return strprintf("%s\n%s\n%d\n1\n0\n0\n0\n", p->app->name, unit, priority);
}

int process_open_journal_stream(const Process *p, LogStreamKind kind, int *ret_fd) {
        const struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = JOURNAL_STREAM_SOCKET };
        _cleanup_free_ char *header = make_header(p, kind);
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!header)
                return -ENOMEM;

        /* A journald that hangs must not make us wait: then connecting fails. */
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &sa, sizeof sa) < 0 || shutdown(fd, SHUT_RD) < 0)
                return -errno;
        r = write_all(fd, header, strlen(header));
        if (r < 0)
                return r;
        r = fd_nonblock(fd, false);
        if (r < 0)
                return r;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int process_set_journal_stream(char ***env, int fd) {
        char value[64];
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
                return 0;

        (void) snprintf(value, sizeof value, "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino);
        return strv_env_set(env, "JOURNAL_STREAM", value);
}

/* ---- emptying ---- */

int process_flush_log(const Process *p) {
        uid_t uid = p->credentials ? p->credentials->uid : geteuid();
        gid_t gid = p->credentials ? p->credentials->gid : getegid();
        LogRelay *relay = p->manager->log_relay;
        _cleanup_free_ char *combined = NULL;
        bool own;
        int r;

        for (LogStreamKind k = 0; k < _LOG_STREAM_KIND_MAX; k++) {
                _cleanup_free_ char *path = NULL;

                own = has_own_path(p, k);
                r = process_log_path(p, k, &path);
                if (r >= 0 && path)
                        r = log_relay_flush_file(relay, path, own, own ? geteuid() : uid, own ? getegid() : gid);
                if (r < 0)
                        return r;
        }

        own = isempty(p->config->log_file);
        r = process_combined_log_path(p, &combined);
        if (r < 0 || !combined)
                return r;
        return log_relay_flush_file(relay, combined, own, own ? geteuid() : uid, own ? getegid() : gid);
}
