/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* To be preloaded: the clock on the wall is off by as many seconds as the file $CLOCK_JUMP says, while no other process notices. */

static long long read_offset(void) {
        const char *path = getenv("CLOCK_JUMP");
        char buf[32] = {};
        int fd;

        fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
                return 0;
        if (read(fd, buf, sizeof buf - 1) < 0)
                buf[0] = 0;
        (void) close(fd);
        return atoll(buf);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ts) {
        int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
        int r = real(id, ts);

        if (r == 0 && id == CLOCK_REALTIME)
                ts->tv_sec += (time_t) read_offset();
        return r;
}
