/* SPDX-License-Identifier: MIT */
#include <sys/epoll.h>

#include "pmd/keeper-exits.h"

#include "pmd/keeper.h"
#include "shared/fd-util.h"
#include "shared/log.h"

/* Most are asked for at once, or never. */
#define REMEMBERED_MAX 1024U

struct KeeperExits {
        int fd;
        sd_event_source *source;
        keeper_exits_told_t told;
        void *userdata;
        KeeperExit *exits; /* a ring */
        size_t n_exits, next;
};

static void remember(KeeperExits *x, const KeeperExit *e) {
        x->exits[x->next] = *e;
        x->next = (x->next + 1) % REMEMBERED_MAX;
        x->n_exits = MIN(x->n_exits + 1, (size_t) REMEMBERED_MAX);
}

/* Calls back only from the loop: who asks is in the midst of something. */
static void read_exits(KeeperExits *x, bool tell) {
        KeeperExit e;
        int r;

        while ((r = keeper_read_exit(x->fd, &e)) > 0) {
                remember(x, &e);
                if (tell && x->told)
                        x->told(e.pid, x->userdata);
        }
        if (r == 0)
                return;

        if (r != -EPIPE)
                log_warning_errno(r, "Failed to read from the keeper how processes ended, ignoring: %m");
        x->source = sd_event_source_disable_unref(x->source);
        x->fd = safe_close(x->fd);
}

static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        read_exits(ASSERT_PTR(userdata), true);
        return 0;
}

int keeper_exits_new(sd_event *event, int fd, keeper_exits_told_t told, void *userdata, KeeperExits **ret) {
        _cleanup_(keeper_exits_freep) KeeperExits *x = NULL;
        int r;

        if (fd < 0) {
                *ret = NULL;
                return 0;
        }

        x = new0(KeeperExits, 1);
        if (!x) {
                safe_close(fd);
                return -ENOMEM;
        }
        x->fd = fd;
        x->told = told;
        x->userdata = userdata;
        x->exits = new0(KeeperExit, REMEMBERED_MAX);
        if (!x->exits)
                return -ENOMEM;

        r = fd_nonblock(fd, true);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &x->source, fd, EPOLLIN, on_readable, x);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(x);
        return 0;
}

KeeperExits *keeper_exits_free(KeeperExits *x) {
        if (!x)
                return NULL;

        sd_event_source_disable_unref(x->source);
        safe_close(x->fd);
        free(x->exits);
        return mfree(x);
}

static const KeeperExit *find(const KeeperExits *x, const PidRef *p) {
        for (size_t i = 0; i < x->n_exits; i++) {
                const KeeperExit *e = x->exits + i;

                if (e->pid == p->pid && (e->start_time == 0 || p->start_time == 0 || e->start_time == p->start_time))
                        return e;
        }
        return NULL;
}

int keeper_exits_get(KeeperExits *x, const PidRef *p, siginfo_t *ret) {
        const KeeperExit *e;
        bool reaped;

        if (!x)
                return -EOPNOTSUPP;

        /* In this order: it is told before it is reaped. */
        reaped = pidref_kill(p, 0) == -ESRCH;
        if (x->fd >= 0)
                read_exits(x, false);
        e = find(x, p);
        if (!e)
                return reaped || x->fd < 0 ? -EOPNOTSUPP : 0;

        *ret = (siginfo_t) { .si_code = e->code, .si_status = e->status };
        return 1;
}
