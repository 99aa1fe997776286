/* SPDX-License-Identifier: MIT */

/* A server for the tests that knows nothing of pmd: it answers on the sockets that it is given as sd_listen_fds(3) says, and finishes
 * at SIGINT what it has begun. Argument: milliseconds that an answer to "/slow" takes. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#define SOCKETS_MAX 16

static int make_body(char *buf, size_t size) {
        return snprintf(buf, size, "{\"pid\":%d,\"uid\":%d}", (int) getpid(), (int) getuid());
}

static void serve_connection(int listener, int delay_msec) {
        char request[4096] = "", body[128], answer[512];
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), n;
        size_t have = 0;

        if (fd < 0)
                return;
        while (!strstr(request, "\r\n\r\n") && have < sizeof request - 1) {
                ssize_t k = read(fd, request + have, sizeof request - 1 - have);

                if (k <= 0)
                        break;
                have += (size_t) k;
        }
        if (strncmp(request, "GET /slow", 9) == 0)
                (void) usleep((unsigned) delay_msec * 1000);
        n = make_body(body, sizeof body);
        n = snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
        (void) !write(fd, answer, (size_t) n);
        close(fd);
}

static void serve_datagram(int fd) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        char buf[128];

        if (recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *) &from, &size) < 0)
                return;
        (void) sendto(fd, buf, (size_t) make_body(buf, sizeof buf), 0, (struct sockaddr *) &from, size);
}

int main(int argc, char *argv[]) {
        struct pollfd fds[SOCKETS_MAX + 1] = {};
        int n = sd_listen_fds(1), delay = argc > 1 ? atoi(argv[1]) : 0;
        sigset_t set;

        if (n <= 0 || n > SOCKETS_MAX) {
                fprintf(stderr, "got %d sockets\n", n);
                return 3;
        }
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        fds[n] = (struct pollfd) { .fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN };
        for (int i = 0; i < n; i++) {
                fds[i] = (struct pollfd) { .fd = SD_LISTEN_FDS_START + i, .events = POLLIN };
                (void) fcntl(fds[i].fd, F_SETFL, O_NONBLOCK); /* others accept from it as well */
        }

        for (;;) {
                if (poll(fds, (nfds_t) n + 1, -1) < 0 || fds[n].revents)
                        return 0;
                for (int i = 0; i < n; i++) {
                        if (!(fds[i].revents & POLLIN))
                                continue;
                        if (sd_is_socket(fds[i].fd, AF_UNSPEC, SOCK_DGRAM, 0) > 0)
                                serve_datagram(fds[i].fd);
                        else
                                serve_connection(fds[i].fd, delay);
                }
        }
}
