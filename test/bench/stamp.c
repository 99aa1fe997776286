/* SPDX-License-Identifier: MIT */

/* Appends the time at which main() began, in ns of CLOCK_MONOTONIC, to the file named, and waits to be killed. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
        struct timespec ts;
        int fd;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        if (argc != 2)
                return 2;
        fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dprintf(fd, "%lld\n", (long long) ts.tv_sec * 1000000000 + ts.tv_nsec) < 0)
                return 1;
        for (;;)
                pause();
}
