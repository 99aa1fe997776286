/* SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <sys/un.h>

#include "shared/fd-util.h"
#include "shared/notify-util.h"
#include "shared/string-util.h"

static bool may_stand_in_fd_name(char c) {
        return c >= ' ' && c < 0x7f && c != ':';
}

bool fd_name_is_valid(const char *s) {
        if (isempty(s))
                return false;
        for (const char *p = s; *p; p++)
                if (!may_stand_in_fd_name(*p))
                        return false;
        return strlen(s) <= FD_NAME_MAX;
}

char *fd_name_escape(const char *s) {
        static const char hex[] = "0123456789abcdef";
        char *escaped, *p;

        escaped = p = new(char, strlen(s) * STRLEN("\\xNN") + 1);
        if (!escaped)
                return NULL;
        for (; *s; s++)
                if (may_stand_in_fd_name(*s) && *s != '\\')
                        *p++ = *s;
                else {
                        *p++ = '\\';
                        *p++ = 'x';
                        *p++ = hex[(uint8_t) *s >> 4];
                        *p++ = hex[(uint8_t) *s & 0xf];
                }
        *p = 0;
        return escaped;
}

int notify_connect(const char *address) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        size_t n = strlen(address);

        if (!IN_SET(address[0], '/', '@') || n < 2)
                return -EAFNOSUPPORT;
        if (n >= sizeof(sa.sun_path))
                return -ENAMETOOLONG;
        memcpy(sa.sun_path, address, n);
        if (address[0] == '@')
                sa.sun_path[0] = 0;
        else
                n++; /* the NUL behind a path belongs to it */

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &sa, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int notify_send(int fd, const char *text, int passed) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (char *) text, .iov_len = strlen(text) };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (passed >= 0) {
                control.header = (struct cmsghdr) {
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                };
                memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
                mh.msg_control = &control;
                mh.msg_controllen = sizeof(control);
        }

        do
                n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

int notify_listen(int *ret_fd, char **ret_address) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        socklen_t size = sizeof(sa);
        char *address;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int) { 1 }, sizeof(int)) < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *) &sa, sizeof(sa_family_t)) < 0)
                return -errno;
        if (getsockname(fd, (struct sockaddr *) &sa, &size) < 0)
                return -errno;

        sa.sun_path[0] = '@';
        address = strndup(sa.sun_path, size - offsetof(struct sockaddr_un, sun_path));
        if (!address)
                return -ENOMEM;
        *ret_address = address;
        *ret_fd = TAKE_FD(fd);
        return 0;
}
