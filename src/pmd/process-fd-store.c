/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "pmd/process-run-internal.h"

#include "pmd/fd-store.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/fd-bag.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define STORED_NAME_MAX 32

/* "p3.7.ipc" of incarnation 7; "p3.7", the bag, for NULL. */
static const char *stored_name(const Process *p, const char *what, char buf[static STORED_NAME_MAX]) {
        (void) snprintf(buf, STORED_NAME_MAX, "p%u.%u%s%s", p->id, p->incarnation, what ? "." : "", strempty(what));
        return buf;
}

void process_store_fd(Process *p, const char *what, int fd) {
        char name[STORED_NAME_MAX];
        int r;

        r = fd_store_push(p->manager->fd_store, stored_name(p, what, name), fd);
        if (r < 0)
                log_warning_errno(r, "Failed to keep %s for the case that pmd ends, ignoring: %m", name);
}

void process_unstore_fd(Process *p, const char *what) {
        char name[STORED_NAME_MAX];

        (void) fd_store_remove(p->manager->fd_store, stored_name(p, what, name));
}

int process_take_stored_fd(Process *p, const char *what) {
        char name[STORED_NAME_MAX];

        return fd_store_take(p->manager->fd_store, stored_name(p, what, name));
}

static const char *const stored_kinds[_STORED_FD_MAX] = {
        [STORED_OUT] = "out",
        [STORED_ERR] = "err",
        [STORED_PIDFD] = "pidfd",
};

/* Of three descriptors each: where 16000 are in flight on a machine the kernel looks through them with each that is sent. */
#define BAGS_MAX 4096U

static void count_bag(Process *p, bool has) {
        if (p->in_bag == has)
                return;
        p->in_bag = has;
        if (has)
                p->manager->n_bags++;
        else
                p->manager->n_bags--;
}

/* In one bag, if that can be: systemd compares each descriptor that comes with all that it has. */
void process_store_incarnation(Process *p, const int fds[static _STORED_FD_MAX]) {
        _cleanup_close_ int bag = -EBADF;

        if (!fd_store_is_kept(p->manager->fd_store))
                return;

        if (p->manager->with_bags && p->manager->n_bags < BAGS_MAX)
                bag = fd_bag_new(stored_kinds, fds, _STORED_FD_MAX);
        count_bag(p, bag >= 0);
        if (bag >= 0) {
                process_store_fd(p, NULL, bag);
                return;
        }
        for (StoredFd k = 0; k < _STORED_FD_MAX; k++)
                if (fds[k] >= 0)
                        process_store_fd(p, stored_kinds[k], fds[k]);
}

void process_unstore_incarnation(Process *p) {
        if (p->in_bag) {
                count_bag(p, false);
                process_unstore_fd(p, NULL);
                return;
        }
        for (StoredFd k = 0; k < _STORED_FD_MAX; k++)
                process_unstore_fd(p, stored_kinds[k]);
}

void process_unstore_stream(Process *p, LogStreamKind kind) {
        if (!p->in_bag)
                process_unstore_fd(p, stored_kinds[kind]);
}

/* Of a pipe that has come to its end there may be none, or one that is at its end. */
void process_take_incarnation(Process *p, int fds[static _STORED_FD_MAX]) {
        _cleanup_close_ int bag = process_take_stored_fd(p, NULL);
        int r;

        count_bag(p, bag >= 0);
        if (bag < 0) {
                for (StoredFd k = 0; k < _STORED_FD_MAX; k++)
                        fds[k] = process_take_stored_fd(p, stored_kinds[k]);
                return;
        }
        r = fd_bag_look(bag, stored_kinds, fds, _STORED_FD_MAX);
        if (r < 0)
                log_warning_errno(r, "Failed to look into what was kept of process %u, ignoring: %m", p->id);
}
