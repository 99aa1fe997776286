/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/fd-bag.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"

#define TEXT_MAX 256U

/* In the range that no system gives to users or containers (systemd's UIDS-GIDS: 1879048192 … 2147483647). */
#define NOBODY_ELSE ((uid_t) 0x706d6400)

/* Of the calling thread, where libc would change all. */
#ifdef SYS_setresuid32
#define RAW_SETRESUID SYS_setresuid32
#else
#define RAW_SETRESUID SYS_setresuid
#endif

typedef union Control {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(FD_BAG_MAX * sizeof(int))];
} Control;

/* In another one root is a user like any other to the kernel, and perhaps one who has a desktop. */
static bool in_first_user_namespace(void) {
        unsigned inside, outside, n;
        bool first = true;
        FILE *f;

        f = fopen("/proc/self/uid_map", "re");
        if (!f)
                return true;
        if (fscanf(f, "%u %u %u", &inside, &outside, &n) == 3)
                first = inside == 0 && outside == 0 && n == UINT32_MAX;
        (void) fclose(f);
        return first;
}

static bool has_capability(cap_t caps, cap_value_t value) {
        cap_flag_value_t v = CAP_CLEAR;

        return cap_get_flag(caps, value, CAP_EFFECTIVE, &v) >= 0 && v == CAP_SET;
}

bool fd_bag_is_harmless(void) {
        cap_t caps;
        bool r;

        if (geteuid() != 0 || !in_first_user_namespace())
                return false;
        caps = cap_get_proc();
        if (!caps)
                return false;
        r = has_capability(caps, CAP_SETUID) && (has_capability(caps, CAP_SYS_RESOURCE) || has_capability(caps, CAP_SYS_ADMIN));
        (void) cap_free(caps);
        return r;
}

static int fill(int socket, char *text, const int *fds, size_t n) {
        Control control = {};
        struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = CMSG_SPACE(n * sizeof(int)),
        };

        control.header = (struct cmsghdr) {
                .cmsg_level = SOL_SOCKET,
                .cmsg_type = SCM_RIGHTS,
                .cmsg_len = CMSG_LEN(n * sizeof(int)),
        };
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
        return sendmsg(socket, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* What is in flight counts for the real user of its sender. The effective one stays, and with it what may be done. */
static int fill_as_nobody_else(int socket, char *text, const int *fds, size_t n) {
        uid_t uid = getuid();
        int r;

        if (geteuid() != 0)
                return fill(socket, text, fds, n);
        if (syscall(RAW_SETRESUID, NOBODY_ELSE, -1, -1) < 0)
                return -errno;
        r = fill(socket, text, fds, n);
        if (syscall(RAW_SETRESUID, uid, -1, -1) < 0)
                return -errno;
        return r;
}

int fd_bag_new(const char *const kinds[], const int fds[], size_t n) {
        _cleanup_close_pair_ int pair[2] = EBADF_PAIR;
        char text[TEXT_MAX], *p = text;
        int packed[FD_BAG_MAX], r;
        size_t n_packed = 0;

        for (size_t i = 0; i < n; i++) {
                if (fds[i] < 0)
                        continue;
                if (n_packed >= FD_BAG_MAX || (size_t) (p - text) + strlen(kinds[i]) + 2 > sizeof(text))
                        return -E2BIG;
                p = stpcpy(stpcpy(p, kinds[i]), "\n");
                packed[n_packed++] = fds[i];
        }
        if (n_packed == 0)
                return -EINVAL;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        r = fill_as_nobody_else(pair[0], text, packed, n_packed);
        return r < 0 ? r : TAKE_FD(pair[1]);
}

static size_t take_rights(struct msghdr *mh, int fds[static FD_BAG_MAX]) {
        size_t n = 0;

        for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h))
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
                        n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(h), n * sizeof(int));
                }
        return n;
}

/* What nobody asks for is closed. */
static void sort_out(char *text, int *got, size_t n_got, const char *const kinds[], int fds[], size_t n) {
        for (size_t k = 0; k < n_got; k++) {
                const char *kind = strsep(&text, "\n");

                for (size_t i = 0; i < n && got[k] >= 0; i++)
                        if (fds[i] < 0 && streq_ptr(kind, kinds[i]))
                                fds[i] = TAKE_FD(got[k]);
                got[k] = safe_close(got[k]);
        }
}

int fd_bag_look(int bag, const char *const kinds[], int fds[], size_t n) {
        char text[TEXT_MAX + 1];
        Control control;
        struct iovec iov = { .iov_base = text, .iov_len = TEXT_MAX };
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int got[FD_BAG_MAX];
        size_t n_got;
        ssize_t size;

        for (size_t i = 0; i < n; i++)
                fds[i] = -EBADF;

        size = recvmsg(bag, &mh, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0)
                return IN_SET(errno, ENOTSOCK, EAGAIN, ENOTCONN, EINVAL, EOPNOTSUPP) ? -EBADMSG : -errno;

        text[size] = 0;
        n_got = take_rights(&mh, got);
        if (mh.msg_flags & MSG_CTRUNC) { /* we may not have so many, and got but some */
                while (n_got > 0)
                        safe_close(got[--n_got]);
                return -EMFILE;
        }
        sort_out(text, got, n_got, kinds, fds, n);
        return n_got > 0 ? 0 : -EBADMSG;
}
