/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmd/credentials.h"
#include "pmd/file-user.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* The names of the files of a process, as pm2 makes them. */

/* "x.log" becomes "x-3.log": another name for each process of an app. */
static char *insert_id(const char *path, const char *suffix, unsigned id) {
        const char *end = endswith(path, suffix);
        size_t size, n;
        char *s;

        if (!end)
                return strdup(path);
        n = (size_t) (end - path);
        size = strlen(path) + sizeof "-4294967295";
        s = malloc(size);
        if (s) /* each row of a list has three: what is known is copied, not formatted */
                (void) snprintf(mempcpy(s, path, n), size - n, "-%u%s", id, suffix);
        return s;
}

static bool is_null_file(const char *path) {
        return streq(path, "/dev/null") || streq(path, "NULL");
}

static LogTarget effective_log_target(const Process *p) {
        if (p->config->disable_logs)
                return LOG_TARGET_NONE;
        if (p->config->log_target != LOG_TARGET_AUTO)
                return p->config->log_target;
        return p->manager->log_to_journal ? LOG_TARGET_JOURNAL : LOG_TARGET_FILE;
}

LogTarget process_log_target(const Process *p) {
        LogTarget t = effective_log_target(p);

        /* A file that was asked for by name is written whatever the default is. */
        if (t == LOG_TARGET_JOURNAL && p->config->log_target == LOG_TARGET_AUTO && (p->config->out_file || p->config->error_file))
                return LOG_TARGET_BOTH;
        return t;
}

int process_log_path(const Process *p, LogStreamKind kind, char **ret) {
        const AppConfig *c = p->config;
        const char *given = kind == LOG_STREAM_OUT ? c->out_file : c->error_file;
        _cleanup_free_ char *name = NULL, *base = NULL;
        char *path;

        *ret = NULL;

        if (given && is_null_file(given))
                return 0;
        if (!IN_SET(process_log_target(p), LOG_TARGET_FILE, LOG_TARGET_BOTH))
                return 0;
        if (!given && effective_log_target(p) == LOG_TARGET_JOURNAL)
                return 0;

        if (!given && p->manager->console) {
                path = strdup(kind == LOG_STREAM_OUT ? "/dev/stdout" : "/dev/stderr");
                if (!path)
                        return -ENOMEM;
                *ret = path;
                return 0;
        }
        if (given)
                base = path_resolve(c->cwd, given);
        else {
                name = file_name_of_app(c->name);
                if (name)
                        base = strjoin(p->manager->instance->log_dir, "/", name, kind == LOG_STREAM_OUT ? "-out.log" : "-error.log");
        }
        if (!base)
                return -ENOMEM;

        path = c->merge_logs ? strdup(base) : insert_id(base, ".log", p->id);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

int process_combined_log_path(const Process *p, char **ret) {
        const AppConfig *c = p->config;
        _cleanup_free_ char *name = NULL, *base = NULL;
        char *path;

        *ret = NULL;

        if (!c->log_file || is_null_file(c->log_file) || process_log_target(p) == LOG_TARGET_NONE)
                return 0;

        if (isempty(c->log_file)) {
                name = file_name_of_app(c->name);
                base = name ? strjoin(p->manager->instance->log_dir, "/", name, ".log") : NULL;
        } else
                base = path_resolve(c->cwd, c->log_file);
        if (!base)
                return -ENOMEM;
        path = c->merge_logs ? strdup(base) : insert_id(base, ".log", p->id);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

int process_pid_file(const Process *p, char **ret) {
        _cleanup_free_ char *name = NULL, *base = NULL;
        char *path;

        if (p->config->pid_file)
                base = path_resolve(p->config->cwd, p->config->pid_file);
        else {
                name = file_name_of_app(p->config->name);
                if (name)
                        base = strjoin(p->manager->instance->pid_dir, "/", name, ".pid");
        }
        if (!base)
                return -ENOMEM;

        path = insert_id(base, ".pid", p->id);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

/* A path that the definition named is opened with the rights of the app's user: pmd's own must not reach where that user cannot. */
static int assume_user(const Process *p) {
        return p->credentials && p->config->pid_file ? file_user_assume(p->credentials->uid, p->credentials->gid) : 0;
}

static int open_pid_file(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);

        return fd < 0 ? -errno : fd;
}

static int write_pid(const Process *p, const char *path) {
        _cleanup_close_ int fd = -EBADF;
        char buf[24];
        int r;

        fd = open_pid_file(path);
        if (fd == -ENOENT) {
                r = mkdir_parents(path, 0755);
                if (r < 0)
                        return r;
                fd = open_pid_file(path);
        }
        if (fd < 0)
                return fd;
        (void) snprintf(buf, sizeof buf, "%d\n", (int) p->main.pid);
        return write_all(fd, buf, strlen(buf));
}

void process_write_pid_file(const Process *p) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = process_pid_file(p, &path);
        if (r >= 0)
                r = assume_user(p);
        if (r >= 0) {
                r = write_pid(p, path);
                file_user_reset();
        }
        if (r < 0)
                log_warning_errno(r, "Failed to write pid file of process %u (%s) at %s, ignoring: %m", p->id, p->config->name, strna(path));
}

void process_remove_pid_file(const Process *p) {
        _cleanup_free_ char *path = NULL;

        if (process_pid_file(p, &path) < 0 || assume_user(p) < 0)
                return;
        (void) unlink(path);
        file_user_reset();
}
