/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* An address to listen on, as definitions write it: "tcp://0.0.0.0:8080", "tcp://[::1]:8080", "tcp://:8080" or an asterisk (any), the same with udp://,
 * "unix:///run/app.sock"; short: "8080", "127.0.0.1:8080", "/run/app.sock". */

typedef enum ListenKind {
        LISTEN_TCP,
        LISTEN_UDP,
        LISTEN_UNIX,
        _LISTEN_KIND_MAX,
        _LISTEN_KIND_INVALID = -EINVAL,
} ListenKind;

const char *listen_kind_to_string(ListenKind k);
ListenKind listen_kind_from_string(const char *s);

typedef struct ListenAddress {
        ListenKind kind;
        char *host;    /* an IP address without brackets; NULL: any. Of LISTEN_UNIX the absolute path */
        int family;    /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: any */
        unsigned port; /* 1 to 65535; of LISTEN_UNIX 0 */
} ListenAddress;

/* 0, -ENOMEM, or -EINVAL with *ret_fault static text: what is wrong with it. */
int listen_address_parse(const char *s, ListenAddress *ret, const char **ret_fault);
/* The same address is the same text. New memory. */
char *listen_address_to_string(const ListenAddress *a);
void listen_address_done(ListenAddress *a);

#define _cleanup_listen_address_ _cleanup_(listen_address_done)
