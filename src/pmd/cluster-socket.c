/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/cluster-socket.h"

#include "pmd/file-user.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/path-util.h"
#include "shared/string-table.h"

static const char *const cluster_socket_kind_table[_CLUSTER_SOCKET_KIND_MAX] = {
        [CLUSTER_SOCKET_TCP] = "tcp",
        [CLUSTER_SOCKET_UDP] = "udp",
        [CLUSTER_SOCKET_UNIX] = "unix",
};

DEFINE_STRING_TABLE(ClusterSocketKind, cluster_socket_kind);

typedef union SocketAddress {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
} SocketAddress;

static int set_option(int fd, int level, int name, int value) {
        return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The scope of a link-local address stands behind a percent sign, as a number or a name. */
static int parse_ipv6(const char *host, struct sockaddr_in6 *ret) {
        _cleanup_free_ char *address = strdup(host);
        char *scope;

        if (!address)
                return -ENOMEM;
        scope = strchr(address, '%');
        if (scope)
                *scope++ = 0;
        if (inet_pton(AF_INET6, address, &ret->sin6_addr) != 1)
                return -EINVAL;
        if (scope) {
                ret->sin6_scope_id = if_nametoindex(scope) ?: (uint32_t) strtoul(scope, NULL, 10);
                if (ret->sin6_scope_id == 0)
                        return -EINVAL;
        }
        return 0;
}

static int make_ip(const char *host, int family, unsigned port, SocketAddress *ret, socklen_t *ret_size) {
        if (port > UINT16_MAX)
                return -EINVAL;

        *ret = (SocketAddress) {};
        if (family != AF_INET6 && inet_pton(AF_INET, host, &ret->in.sin_addr) == 1) {
                ret->in.sin_family = AF_INET;
                ret->in.sin_port = htons((uint16_t) port);
                *ret_size = sizeof(ret->in);
                return 0;
        }
        if (family == AF_INET)
                return -EINVAL;

        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons((uint16_t) port);
        *ret_size = sizeof(ret->in6);
        return parse_ipv6(host, &ret->in6);
}

static int make_socket(int family, int type) {
        int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd < 0 ? -errno : fd;
}

static int bind_ip(const ClusterAddress *a, const char *host, int family, bool join) {
        bool tcp = a->kind == CLUSTER_SOCKET_TCP;
        _cleanup_close_ int fd = -EBADF;
        SocketAddress address;
        socklen_t size;
        int r;

        r = make_ip(host, family, a->port, &address, &size);
        if (r < 0)
                return r;
        fd = make_socket(address.any.sa_family, tcp ? SOCK_STREAM : SOCK_DGRAM);
        if (fd < 0)
                return fd;

        if (tcp || a->flags & CLUSTER_SOCKET_UDP_REUSEADDR)
                r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (r >= 0 && address.any.sa_family == AF_INET6)
                r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, (a->flags & CLUSTER_SOCKET_IPV6ONLY) != 0);
        if (r >= 0 && join)
                r = cluster_socket_open_group(fd);
        if (r < 0)
                return r;

        FAULT_BEFORE(SOCKET_BIND);
        if (bind(fd, &address.any, size) < 0)
                return -errno;
        FAULT_AFTER(SOCKET_BIND);
        return TAKE_FD(fd);
}

static int bind_any(const ClusterAddress *a, bool join) {
        int fd;

        if (a->kind == CLUSTER_SOCKET_UDP)
                return bind_ip(a, a->family == AF_INET6 ? "::" : "0.0.0.0", a->family, join);

        fd = bind_ip(a, "::", AF_INET6, join);
        return fd >= 0 ? fd : bind_ip(a, "0.0.0.0", AF_INET, join);
}

/* With the rights of the app's user, who may be allowed less than pmd. */
static int bind_path(int fd, const ClusterAddress *a, const SocketAddress *address) {
        int r;

        r = file_user_assume(a->uid, a->gid);
        if (r < 0)
                return r;
        FAULT_BEFORE(SOCKET_BIND);
        r = bind(fd, &address->any, sizeof(address->un)) < 0 ? -errno : 0;
        FAULT_AFTER(SOCKET_BIND);
        file_user_reset();
        return r;
}

static int bind_unix(const ClusterAddress *a) {
        SocketAddress address = { .un.sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!a->host || !path_is_absolute(a->host))
                return -EINVAL;
        if (strlen(a->host) >= sizeof(address.un.sun_path))
                return -EINVAL;
        strcpy(address.un.sun_path, a->host);

        fd = make_socket(AF_UNIX, SOCK_STREAM);
        if (fd < 0)
                return fd;
        r = bind_path(fd, a, &address);
        if (r == -ENOENT)
                r = -EACCES; /* as libuv says it */
        return r < 0 ? r : TAKE_FD(fd);
}

int cluster_socket_bind(const ClusterAddress *a, bool join) {
        if (a->kind == CLUSTER_SOCKET_UNIX)
                return bind_unix(a);
        return a->host ? bind_ip(a, a->host, a->family, join) : bind_any(a, join);
}

void cluster_socket_remove_path(const char *path, uid_t uid, gid_t gid, bool (*is_ours)(const char *path, void *userdata), void *userdata) {
        if (file_user_assume(uid, gid) < 0)
                return;
        if (!is_ours || is_ours(path, userdata))
                (void) unlink(path);
        file_user_reset();
}

int cluster_socket_open_group(int fd) {
        return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

int cluster_socket_listen(int fd, int backlog) {
        return listen(fd, backlog) < 0 ? -errno : 0;
}

int cluster_socket_get_port(int fd) {
        SocketAddress address = {};
        socklen_t size = sizeof(address);

        if (getsockname(fd, &address.any, &size) < 0)
                return -errno;
        switch (address.any.sa_family) {
        case AF_INET:
                return ntohs(address.in.sin_port);
        case AF_INET6:
                return ntohs(address.in6.sin6_port);
        default:
                return -EAFNOSUPPORT;
        }
}
