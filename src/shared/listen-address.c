/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shared/listen-address.h"

#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/string-table.h"
#include "shared/string-util.h"

static const char *const listen_kind_table[_LISTEN_KIND_MAX] = {
        [LISTEN_TCP] = "tcp",
        [LISTEN_UDP] = "udp",
        [LISTEN_UNIX] = "unix",
};

DEFINE_STRING_TABLE(ListenKind, listen_kind);

void listen_address_done(ListenAddress *a) {
        a->host = mfree(a->host);
}

static int fault(const char **ret_fault, const char *text) {
        *ret_fault = text;
        return -EINVAL;
}

static int parse_path(const char *s, ListenAddress *ret, const char **ret_fault) {
        if (!path_is_absolute(s))
                return fault(ret_fault, "the path of a Unix socket must be absolute: unix:///run/app.sock");
        if (strlen(s) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return fault(ret_fault, "the path of a Unix socket has at most 107 bytes");

        *ret = (ListenAddress) { LISTEN_UNIX, strdup(s), AF_UNIX, 0 };
        return ret->host ? 0 : -ENOMEM;
}

/* Takes brackets off; *ret_port stands behind the last colon, or is all there is. */
static int split(const char *s, char **ret_host, const char **ret_port, bool *ret_brackets, const char **ret_fault) {
        const char *colon = strrchr(s, ':'), *begin = s, *end = colon;

        *ret_port = colon ? colon + 1 : s;
        *ret_brackets = s[0] == '[';
        if (*ret_brackets) {
                if (!colon || colon[-1] != ']')
                        return fault(ret_fault, "an IPv6 address stands in brackets, with the port behind: tcp://[::1]:8080");
                begin++;
                end--;
        } else if (colon && memchr(s, ':', (size_t) (colon - s)))
                return fault(ret_fault, "an IPv6 address stands in brackets: tcp://[::1]:8080");

        *ret_host = colon ? strndup(begin, (size_t) (end - begin)) : strdup("");
        return *ret_host ? 0 : -ENOMEM;
}

static int get_family(const char *host, bool brackets) {
        struct in6_addr in6;
        struct in_addr in;

        if (brackets)
                return inet_pton(AF_INET6, host, &in6) == 1 ? AF_INET6 : -EINVAL;
        if (isempty(host) || streq(host, "*"))
                return AF_UNSPEC;
        return inet_pton(AF_INET, host, &in) == 1 ? AF_INET : -EINVAL;
}

static int parse_ip(ListenKind kind, const char *s, ListenAddress *ret, const char **ret_fault) {
        _cleanup_free_ char *host = NULL;
        const char *number;
        unsigned port;
        bool brackets;
        int family, r;

        r = split(s, &host, &number, &brackets, ret_fault);
        if (r < 0)
                return r;
        if (safe_atou(number, &port) < 0 || port == 0 || port > 65535)
                return fault(ret_fault, "the port must be a number from 1 to 65535");
        family = get_family(host, brackets);
        if (family < 0)
                return fault(ret_fault, "the address must be an IP address, or * for any");

        *ret = (ListenAddress) { kind, family == AF_UNSPEC ? NULL : TAKE_PTR(host), family, port };
        return 0;
}

int listen_address_parse(const char *s, ListenAddress *ret, const char **ret_fault) {
        const char *rest = strstr(s, "://");
        _cleanup_free_ char *scheme = NULL;
        ListenKind kind;

        if (!rest)
                return path_is_absolute(s) ? parse_path(s, ret, ret_fault) : parse_ip(LISTEN_TCP, s, ret, ret_fault);

        scheme = strndup(s, (size_t) (rest - s));
        if (!scheme)
                return -ENOMEM;
        kind = listen_kind_from_string(scheme);
        if (kind < 0)
                return fault(ret_fault, "it must begin with tcp://, udp:// or unix://");
        rest += STRLEN("://");
        return kind == LISTEN_UNIX ? parse_path(rest, ret, ret_fault) : parse_ip(kind, rest, ret, ret_fault);
}

char *listen_address_to_string(const ListenAddress *a) {
        if (a->kind == LISTEN_UNIX)
                return strjoin("unix://", a->host);
        if (a->family == AF_INET6)
                return strprintf("%s://[%s]:%u", listen_kind_to_string(a->kind), a->host, a->port);
        return strprintf("%s://%s:%u", listen_kind_to_string(a->kind), a->host ?: "*", a->port);
}
