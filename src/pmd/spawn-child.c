/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <string.h>

#include "pmd/raw-syscall.h"
#include "pmd/spawn-child.h"
#include "pmd/spawn-restrict.h"
#include "pmd/spawner.h"
#include "shared/macro.h"

#define SIGNALS_SIZE (_NSIG / 8)

#ifdef SYS_fcntl64
#define SYS_FCNTL SYS_fcntl64
#else
#define SYS_FCNTL SYS_fcntl
#endif

_noreturn_ static void child_exit(int code) {
        for (;;)
                (void) RAW_SYSCALL(SYS_exit_group, code);
}

_noreturn_ static void child_fail(const SpawnChild *c, SpawnStep step, int error) {
        SpawnError e = { .step = step, .error = error };

        (void) RAW_SYSCALL(SYS_write, c->error_fd, &e, sizeof(e));
        child_exit(step == SPAWN_STEP_EXEC && error == ENOENT ? 127 : 126); /* as shells tell these apart */
}

static int child_reset_signals(void) {
        static const uint64_t zeros[8]; /* as the kernel has it: SIG_DFL, no flags, no signals */
        long r;

        /* Before the mask, so that no handler of ours runs here. */
        for (int s = 1; s < _NSIG; s++) {
                r = RAW_SYSCALL(SYS_rt_sigaction, s, zeros, NULL, SIGNALS_SIZE);
                if (r < 0 && r != -EINVAL)
                        return (int) r;
        }
        return (int) RAW_SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, zeros, NULL, SIGNALS_SIZE);
}

/* Makes room below first: a descriptor that is there by chance goes elsewhere. */
static int child_move_up(int *fd, int first) {
        if (*fd >= first)
                return 0;
        *fd = (int) RAW_SYSCALL(SYS_FCNTL, *fd, F_DUPFD_CLOEXEC, first);
        return *fd < 0 ? *fd : 0;
}

static int child_move_all_up(int *fds, size_t n, int first) {
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = child_move_up(fds + i, first);
        return r;
}

static int close_between(int first, int last) {
        if (first > last)
                return 0;
        return (int) RAW_SYSCALL(SYS_close_range, first, last, 0);
}

/* What pmd has open is closed at once, not by execve(): a child may wait at its gate for long, and must hold neither a
 * socket of pmd's nor the other end of a gate. */
static int child_arrange_fds(SpawnChild *c) {
        size_t n_extra = c->parameters.n_extra_fds;
        int first = STDERR_FILENO + 1 + (int) n_extra, low, high, r;

        r = child_move_all_up(c->stdio, ELEMENTSOF(c->stdio), first);
        if (r < 0)
                return r;
        r = child_move_all_up(c->extra, n_extra, first);
        if (r < 0)
                return r;
        r = child_move_up(&c->error_fd, first);
        if (r < 0)
                return r;
        r = child_move_up(&c->gate_fd, first);
        if (r < 0)
                return r;

        for (int i = 0; i < 3; i++) {
                r = (int) RAW_SYSCALL(SYS_dup3, c->stdio[i], i, 0);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n_extra; i++) {
                r = (int) RAW_SYSCALL(SYS_dup3, c->extra[i], STDERR_FILENO + 1 + (int) i, 0);
                if (r < 0)
                        return r;
        }

        low = MIN(c->gate_fd, c->error_fd);
        high = MAX(c->gate_fd, c->error_fd);
        r = close_between(first, low - 1);
        if (r < 0)
                return r;
        r = close_between(low + 1, high - 1);
        if (r < 0)
                return r;
        return close_between(high + 1, INT32_MAX);
}

size_t spawn_child_list_fds(SpawnChild *c, int **ret) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(c->stdio); i++)
                ret[n++] = c->stdio + i;
        ret[n++] = &c->error_fd;
        for (size_t i = 0; i < c->parameters.n_extra_fds; i++)
                ret[n++] = c->extra + i;
        return n;
}

static int child_get_fds(SpawnChild *c) {
        int *slots[SPAWNER_FDS_MAX], fds[SPAWNER_FDS_MAX], r;
        size_t n = spawn_child_list_fds(c, slots);

        r = spawner_receive_fds(c->gate_fd, c->last_place, fds, n);
        for (size_t i = 0; r >= 0 && i < n; i++)
                *slots[i] = fds[i];
        return r;
}

/* Digits by hand: of libc's functions some take locks. */
static void child_put_pid(PidPlace *place) {
        char digits[16], *d = digits + sizeof(digits), *to = place->text + place->prefix;
        unsigned pid = (unsigned) RAW_SYSCALL(SYS_getpid);

        if (!place->slot)
                return;
        do
                *--d = (char) ('0' + pid % 10);
        while ((pid /= 10) > 0);
        while (d < digits + sizeof(digits))
                *to++ = *d++;
        *to = 0;
        *place->slot = place->text;
}

static void child_wait_at_gate(SpawnChild *c) {
        GateMessage m;
        long n;

        do
                n = RAW_SYSCALL(SYS_read, c->gate_fd, &m, sizeof(m));
        while (n == -EINTR);
        if (n != sizeof(m))
                child_exit(SPAWN_EXIT_GATE_CLOSED);

        if (!c->invocation_id_slot)
                return;
        if (m.invocation_id[0] != 0) {
                memcpy(c->invocation_id + STRLEN("INVOCATION_ID="), m.invocation_id, sizeof(m.invocation_id));
                *c->invocation_id_slot = c->invocation_id;
                return;
        }
        for (char **p = c->invocation_id_slot; *p; p++)
                p[0] = p[1];
}

#ifdef SYS_setresuid32 /* the plain ones are of 16 bits there */
#define RAW_SETGROUPS SYS_setgroups32
#define RAW_SETRESGID SYS_setresgid32
#define RAW_SETRESUID SYS_setresuid32
#else
#define RAW_SETGROUPS SYS_setgroups
#define RAW_SETRESGID SYS_setresgid
#define RAW_SETRESUID SYS_setresuid
#endif

/* libc's functions would wait for all threads to change with us, and of those of pmd none is here. */
static void child_change_user(const SpawnChild *c) {
        const SpawnParameters *p = &c->parameters;
        long r;

        /* Whoever has a session keyring may use the keys in it, whose they may be: ours can be that of a login of root's. Where the call is refused
         * so it is to the app. Before the change of user, whose quota is small. */
        if (p->uid != (uid_t) RAW_SYSCALL(SYS_getuid))
                (void) RAW_SYSCALL(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);

        r = RAW_SYSCALL(RAW_SETGROUPS, p->n_groups, p->groups);
        if (r >= 0)
                r = RAW_SYSCALL(RAW_SETRESGID, p->gid, p->gid, p->gid);
        if (r < 0)
                child_fail(c, SPAWN_STEP_GROUP, (int) -r);
        r = RAW_SYSCALL(RAW_SETRESUID, p->uid, p->uid, p->uid);
        if (r < 0)
                child_fail(c, SPAWN_STEP_USER, (int) -r);
}

void spawn_child_run(void *userdata) {
        SpawnChild *c = userdata;
        const SpawnParameters *p = &c->parameters;
        SpawnStep step = SPAWN_STEP_NONE;
        int r;

        if (c->last_place < 0)
                (void) RAW_SYSCALL(SYS_close, c->gate_peer_fd);
        else if (child_get_fds(c) < 0)
                child_exit(SPAWN_EXIT_GATE_CLOSED);

        r = (int) RAW_SYSCALL(SYS_setsid);
        if (r >= 0)
                r = child_reset_signals();
        if (r < 0)
                child_fail(c, SPAWN_STEP_SETUP, -r);
        r = child_arrange_fds(c);
        if (r < 0)
                child_fail(c, SPAWN_STEP_SETUP, -r);

        for (size_t i = 0; i < ELEMENTSOF(c->pid_places); i++)
                child_put_pid(c->pid_places + i);
        child_wait_at_gate(c);

        r = restrict_before_user(p->restrictions, &step);
        if (r < 0)
                child_fail(c, step, -r);
        if (p->set_user)
                child_change_user(c);
        r = restrict_after_user(p->restrictions, &step);
        if (r < 0)
                child_fail(c, step, -r);
        /* Only now: it needs the rights of that user. */
        r = p->cwd ? (int) RAW_SYSCALL(SYS_chdir, p->cwd) : 0;
        if (r < 0)
                child_fail(c, SPAWN_STEP_CHDIR, -r);

        r = (int) RAW_SYSCALL(SYS_execve, p->path, p->argv, c->envp);
        child_fail(c, SPAWN_STEP_EXEC, -r);
}
