/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmd/input-pipe.h"
#include "shared/fd-util.h"

struct InputPipe {
        int fd;
        sd_event_source *source; /* on while something waits */
        char *waiting;
        size_t n_waiting, n_allocated;
};

/* How much went out; 0 if there is no room, or a negative errno. */
static ssize_t write_some(int fd, const char *text, size_t n) {
        ssize_t k;

        do
                k = write(fd, text, n);
        while (k < 0 && errno == EINTR);
        if (k < 0)
                return errno == EAGAIN ? 0 : -errno;
        return k;
}

static int on_room(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        InputPipe *p = ASSERT_PTR(userdata);
        ssize_t k;

        k = write_some(p->fd, p->waiting, p->n_waiting);
        if (k < 0) /* nobody reads any more, which the next write tells */
                p->n_waiting = 0;
        else {
                memmove(p->waiting, p->waiting + k, p->n_waiting - (size_t) k);
                p->n_waiting -= (size_t) k;
        }
        return p->n_waiting == 0 ? sd_event_source_set_enabled(s, SD_EVENT_OFF) : 0;
}

int input_pipe_new(sd_event *event, int fd_consumed, InputPipe **ret) {
        _cleanup_(input_pipe_freep) InputPipe *p = NULL;
        _cleanup_close_ int fd = fd_consumed;
        int r;

        p = new0(InputPipe, 1);
        if (!p)
                return -ENOMEM;
        p->fd = TAKE_FD(fd);
        r = fd_nonblock(p->fd, true);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &p->source, p->fd, EPOLLOUT, on_room, p);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(p->source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(p);
        return 0;
}

InputPipe *input_pipe_free(InputPipe *p) {
        if (!p)
                return NULL;
        sd_event_source_disable_unref(p->source);
        safe_close(p->fd);
        free(p->waiting);
        return mfree(p);
}

int input_pipe_write(InputPipe *p, const char *text, size_t n) {
        ssize_t k = 0;

        if (n > INPUT_PIPE_WAITING_MAX - p->n_waiting || !GREEDY_REALLOC(p->waiting, p->n_allocated, p->n_waiting + n))
                return -ENOBUFS;
        if (p->n_waiting == 0) {
                k = write_some(p->fd, text, n);
                if (k < 0)
                        return (int) k;
        }
        if ((size_t) k == n)
                return 0;

        memcpy(p->waiting + p->n_waiting, text + k, n - (size_t) k);
        p->n_waiting += n - (size_t) k;
        return sd_event_source_set_enabled(p->source, SD_EVENT_ON);
}
