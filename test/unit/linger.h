/* SPDX-License-Identifier: MIT */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "shared/fd-util.h"
#include "shared/time-util.h"
#include "test.h"

/* A socket whose last close(2) would wait for so long, and the other end, which has to stay open for that. */

#define LINGER_SEC 20
#define LINGER_USEC (LINGER_SEC * USEC_PER_SEC)

static inline int linger_new(int *ret_peer) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        static const char data[65536];
        socklen_t size = sizeof a;
        int fd;

        ASSERT_OK(bind(listener, (struct sockaddr *) &a, sizeof a));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &a, &size));
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(connect(fd, (struct sockaddr *) &a, sizeof a) >= 0 || errno == EINPROGRESS);
        *ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_OK(*ret_peer);
        while (send(fd, data, sizeof data, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                ;
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger) { .l_onoff = 1, .l_linger = LINGER_SEC }, sizeof(struct linger)));
        return fd;
}

/* Sends it along with a message, and closes it here. */
static inline void linger_send(int socket_fd, const char *text, int fd) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iovec = { (char *) text, strlen(text) };
        struct msghdr m = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };

        control.header = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
        ASSERT_EQ(sendmsg(socket_fd, &m, MSG_NOSIGNAL), (ssize_t) strlen(text));
        safe_close(fd);
}
