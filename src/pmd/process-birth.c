/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmd/process-run-internal.h"

#include "pmd/app-sockets.h"
#include "pmd/app.h"
#include "pmd/credentials.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/spawn-restrict.h"
#include "pmd/spawner.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* All that an incarnation needs, and its child, which waits at its gate. */

/* Neither is touched where the stream goes to /dev/null, the first not where it does not go through us. */
static int open_stream(Process *p, LogStreamKind kind, int *ret_read_fd, int *ret_write_fd) {
        int fds[2], r;

        if (process_log_target(p) == LOG_TARGET_NONE)
                return 0;
        if (process_logs_directly(p)) {
                r = process_open_journal_stream(p, kind, ret_write_fd);
                if (r >= 0)
                        return 0;
                log_warning_errno(r, "Failed to connect process %u to the journal, passing its lines on: %m", p->id);
        }

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret_read_fd = fds[0];
        *ret_write_fd = fds[1];
        return 0;
}

/* The sockets come first, as sd_listen_fds(3) has it. */
static int gather_extra_fds(Process *p, int channel_fd, char ***env, int **ret, size_t *ret_n) {
        _cleanup_free_ int *sockets = NULL, *fds = NULL;
        size_t n;
        int r;

        r = app_open_sockets(p, &sockets, &n);
        if (r < 0)
                return r;
        fds = new(int, n + 1);
        if (!fds)
                return -ENOMEM;
        if (n > 0)
                memcpy(fds, sockets, n * sizeof(int));
        fds[n] = channel_fd;

        r = app_set_sockets_environment(p, env);
        if (r >= 0 && channel_fd >= 0)
                r = process_set_channel_environment(p, STDERR_FILENO + 1 + (int) n, env);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(fds);
        *ret_n = n + (channel_fd >= 0);
        return 0;
}

static int fork_child(Process *p, int in_fd, int out_fd, int err_fd, int channel_fd) {
        _cleanup_strv_free_ char **argv = NULL, **envp = NULL;
        _cleanup_free_ int *extra_fds = NULL;
        size_t n_extra_fds;
        const AppConfig *c = p->config;
        const Credentials *cred = p->credentials;
        SpawnRestrictions restrictions;
        SpawnResult child;
        int r;

        r = process_build_argv(p, &argv);
        if (r < 0)
                return r;
        r = process_restrictions(c, &restrictions);
        if (r < 0)
                return r;
        r = process_build_environment(p, &envp);
        if (r < 0)
                return r;
        r = process_set_journal_stream(&envp, err_fd);
        if (r < 0)
                return r;
        r = gather_extra_fds(p, channel_fd, &envp, &extra_fds, &n_extra_fds);
        if (r < 0)
                return r;

        r = spawn_process(&(SpawnParameters) {
                        .argv = argv,
                        .path = c->interpreter_path ?: c->exec_path,
                        .envp = envp,
                        .cwd = c->cwd,
                        .stdin_fd = in_fd,
                        .stdout_fd = out_fd,
                        .stderr_fd = err_fd,
                        .extra_fds = extra_fds,
                        .n_extra_fds = n_extra_fds,
                        .cgroup_fd = p->unit->cgroup_fd,
                        .set_user = cred,
                        .uid = cred ? cred->uid : 0,
                        .gid = cred ? cred->gid : 0,
                        .groups = cred ? cred->groups : NULL,
                        .n_groups = cred ? cred->n_groups : 0,
                        .restrictions = &restrictions,
                        .has_memory_limit = c->limits.memory_max.bytes > 0 || c->limits.memory_max.permyriad > 0,
                        .spawner = p->manager->spawner,
                }, &child);
        if (r < 0)
                return r;

        p->main = child.pidref;
        p->gate_fd = child.gate_fd;
        p->error_fd = child.error_fd;
        p->spawn_place = child.place;
        return 0;
}

/* That of a restored process may not have been known when it was made. */
int process_look_up_user(Process *p) {
        const AppConfig *c = p->config;

        if (p->credentials || (!c->user && !c->group))
                return 0;
        return credentials_new(c->user ?: "0", c->group, &p->credentials);
}

static int relay_stream(Process *p, LogStreamKind kind, int *read_fd) {
        return *read_fd < 0 ? 0 : process_follow_stream(p, kind, TAKE_FD(*read_fd));
}

int process_spawn_and_attach(Process *p) {
        _cleanup_close_ int in_fd = -EBADF, out_fd = -EBADF, err_fd = -EBADF, channel_fd = -EBADF;
        _cleanup_close_ int out_read_fd = -EBADF, err_read_fd = -EBADF;
        int r;

        r = process_look_up_user(p);
        if (r < 0)
                return r;
        r = process_open_notify(p);
        if (r < 0)
                return r;
        r = process_open_input(p, &in_fd);
        if (r < 0)
                return r;
        r = process_make_unit(p); /* its name goes into the header of a journal stream */
        if (r < 0)
                return r;
        r = open_stream(p, LOG_STREAM_OUT, &out_read_fd, &out_fd);
        if (r < 0)
                return r;
        r = open_stream(p, LOG_STREAM_ERR, &err_read_fd, &err_fd);
        if (r < 0)
                return r;
        r = process_open_channel(p, &channel_fd);
        if (r < 0)
                return r;
        r = runner_unit_prepare(p->unit);
        if (r < 0)
                return r;
        r = fork_child(p, in_fd, out_fd, err_fd, channel_fd);
        if (r < 0)
                return r;

        /* The service manager is at work on it meanwhile. */
        r = runner_unit_attach(p->unit);
        process_store_incarnation(p, (int[]) { [STORED_OUT] = out_read_fd, [STORED_ERR] = err_read_fd, [STORED_PIDFD] = p->main.fd });
        if (r >= 0)
                r = relay_stream(p, LOG_STREAM_OUT, &out_read_fd);
        if (r >= 0)
                r = relay_stream(p, LOG_STREAM_ERR, &err_read_fd);
        if (r >= 0)
                r = process_watch_main(p);
        if (r < 0) {
                (void) pidref_kill(&p->main, SIGKILL); /* reaped as an orphan */
                process_unstore_incarnation(p);
                return r;
        }
        return 0;
}
