/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmd/input-pipe.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/fd-util.h"
#include "shared/log.h"

/* The standard input of processes that are to have one. */

int process_open_input(Process *p, int *ret_read_fd) {
        _cleanup_close_pair_ int fds[2] = EBADF_PAIR;
        int r;

        if (!p->config->stdin_pipe)
                return 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        process_store_fd(p, "in", fds[1]);
        r = input_pipe_new(p->manager->event, TAKE_FD(fds[1]), &p->input);
        if (r < 0)
                return r;

        *ret_read_fd = TAKE_FD(fds[0]);
        return 0;
}

void process_close_input(Process *p) {
        if (!p->input)
                return;
        p->input = input_pipe_free(p->input);
        process_unstore_fd(p, "in");
}

void process_adopt_input(Process *p) {
        int fd = process_take_stored_fd(p, "in"), r;

        if (fd < 0)
                return; /* it has none */
        r = input_pipe_new(p->manager->event, fd, &p->input);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the standard input of process %u, ignoring: %m", p->id);
}

int process_write_input(Process *p, const char *text, size_t n) {
        return p->input ? input_pipe_write(p->input, text, n) : -ENOTCONN;
}
