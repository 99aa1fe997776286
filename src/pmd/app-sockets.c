/* SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/app-sockets.h"
#include "pmd/app.h"
#include "pmd/cluster-socket.h"
#include "pmd/credentials.h"
#include "pmd/fd-store.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/env-util.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/listen-address.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define BACKLOG 4096
#define STORED_NAME_MAX 255

struct AppSocket {
        char *address; /* as listen_address_to_string() has it */
        int fd;
        uid_t uid;     /* who made the file of a Unix socket */
        gid_t gid;
        LIST_FIELDS(AppSocket, sockets);
};

/* ---- one socket ---- */

/* A name cannot hold an address. */
static uint64_t hash(const char *s) {
        uint64_t h = 0xcbf29ce484222325;

        for (; *s; s++)
                h = (h ^ (uint8_t) *s) * 0x100000001b3;
        return h;
}

static const char *stored_name(const App *a, const char *address, char buf[static STORED_NAME_MAX + 1]) {
        (void) snprintf(buf, STORED_NAME_MAX + 1, "listen.%016" PRIx64 ".%.200s", hash(address), path_basename(a->object_path));
        return buf;
}

static AppSocket *find(const App *a, const char *address) {
        LIST_FOREACH(sockets, s, a->sockets)
                if (streq(s->address, address))
                        return s;
        return NULL;
}

static uid_t user_of(const Process *p) {
        return p->credentials ? p->credentials->uid : geteuid();
}

static gid_t group_of(const Process *p) {
        return p->credentials ? p->credentials->gid : getegid();
}

static int add(const Process *p, const char *address, int fd) {
        AppSocket *s = new(AppSocket, 1);

        if (!s)
                return -ENOMEM;
        *s = (AppSocket) { .address = strdup(address), .fd = fd, .uid = user_of(p), .gid = group_of(p) };
        if (!s->address) {
                free(s);
                return -ENOMEM;
        }
        LIST_APPEND(sockets, p->app->sockets, s);
        return 0;
}

static void close_socket(App *a, AppSocket *s) {
        LIST_REMOVE(sockets, a->sockets, s);
        safe_close(s->fd);
        free(s->address);
        free(s);
}

/* A file that a socket left behind, and that nobody serves any more. */
static bool is_stale(const char *path, void *userdata) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return false;
        strcpy(address.sun_path, path);
        return connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 && errno == ECONNREFUSED;
}

static int bind_socket(const Process *p, const ListenAddress *address) {
        static const ClusterSocketKind kinds[_LISTEN_KIND_MAX] = {
                [LISTEN_TCP] = CLUSTER_SOCKET_TCP,
                [LISTEN_UDP] = CLUSTER_SOCKET_UDP,
                [LISTEN_UNIX] = CLUSTER_SOCKET_UNIX,
        };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (address->kind == LISTEN_UNIX)
                cluster_socket_remove_path(address->host, user_of(p), group_of(p), is_stale, NULL);
        fd = cluster_socket_bind(&(ClusterAddress) {
                        .kind = kinds[address->kind],
                        .host = address->host,
                        .family = address->family,
                        .port = address->port,
                        .uid = user_of(p),
                        .gid = group_of(p),
                }, false);
        if (fd < 0)
                return fd;
        if (address->kind != LISTEN_UDP) {
                r = cluster_socket_listen(fd, BACKLOG);
                if (r < 0)
                        return r;
        }
        /* Programs that are given a socket take it for a blocking one. */
        r = fd_nonblock(fd, false);
        return r < 0 ? r : TAKE_FD(fd);
}

static int open_socket(App *a, const Process *p, const ListenAddress *address, const char *text) {
        char name[STORED_NAME_MAX + 1];
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = bind_socket(p, address);
        if (fd < 0)
                return fd;
        r = add(p, text, fd);
        if (r < 0)
                return r;

        r = fd_store_push(a->manager->fd_store, stored_name(a, text, name), fd);
        if (r < 0)
                log_warning_errno(r, "Failed to keep the socket %s of %s for the case that pmd ends, ignoring: %m", text, a->name);
        TAKE_FD(fd);
        return 0;
}

/* ---- those of a process ---- */

static int refuse(Process *p, const char *text, int error) {
        free(p->start_fault);
        p->start_fault = strprintf("Cannot listen on %s: %s.%s", text, strerror(-error),
                                   error == -EADDRINUSE ? " Another program does; find it with: ss -lnp" : "");
        return error;
}

static int get_socket(Process *p, const char *given, int *ret) {
        _cleanup_listen_address_ ListenAddress address = {};
        _cleanup_free_ char *text = NULL;
        const char *fault;
        AppSocket *s;
        int r;

        r = listen_address_parse(given, &address, &fault);
        if (r < 0)
                return r;
        text = listen_address_to_string(&address);
        if (!text)
                return -ENOMEM;

        if (!find(p->app, text)) {
                r = open_socket(p->app, p, &address, text);
                if (r < 0)
                        return refuse(p, text, r);
        }
        s = find(p->app, text);
        *ret = s->fd;
        return 0;
}

int app_open_sockets(Process *p, int **ret_fds, size_t *ret_n) {
        size_t n = strv_length(p->config->listen);
        _cleanup_free_ int *fds = new(int, MAX(n, (size_t) 1));
        int r;

        if (!fds)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                r = get_socket(p, p->config->listen[i], fds + i);
                if (r < 0)
                        return r;
        }

        *ret_fds = n > 0 ? TAKE_PTR(fds) : NULL;
        *ret_n = n;
        return 0;
}

/* "tcp8080", "unix": what stands in LISTEN_FDNAMES. */
static char *make_names(char *const *listen) {
        _cleanup_strv_free_ char **names = NULL;

        STRV_FOREACH(l, listen) {
                _cleanup_listen_address_ ListenAddress address = {};
                _cleanup_free_ char *name = NULL;
                const char *fault;

                if (listen_address_parse(*l, &address, &fault) < 0)
                        return NULL;
                name = address.kind == LISTEN_UNIX ? strdup("unix") : strprintf("%s%u", listen_kind_to_string(address.kind), address.port);
                if (!name || strv_extend(&names, name) < 0)
                        return NULL;
        }
        return strv_join(names, ":");
}

int app_set_sockets_environment(const Process *p, char ***env) {
        _cleanup_free_ char *names = NULL, *n = NULL;
        int r;

        if (!p->config->listen)
                return 0;
        names = make_names(p->config->listen);
        n = strprintf("%zu", strv_length(p->config->listen));
        if (!names || !n)
                return -ENOMEM;

        r = strv_env_set(env, "LISTEN_FDS", n);
        if (r >= 0)
                r = strv_env_set(env, "LISTEN_FDNAMES", names);
        if (r >= 0)
                r = strv_env_set(env, "LISTEN_PID", "0000000000"); /* the child puts in its own */
        return r;
}

static void adopt_socket(Process *p, const char *given) {
        _cleanup_listen_address_ ListenAddress address = {};
        _cleanup_free_ char *text = NULL;
        char name[STORED_NAME_MAX + 1];
        const char *fault;
        App *a = p->app;
        int fd;

        if (listen_address_parse(given, &address, &fault) < 0)
                return;
        text = listen_address_to_string(&address);
        if (!text || find(a, text))
                return;
        fd = fd_store_take(a->manager->fd_store, stored_name(a, text, name));
        if (fd < 0)
                return;
        if (add(p, text, fd) < 0)
                safe_close(fd);
}

void app_adopt_sockets(Process *p) {
        STRV_FOREACH(l, p->config->listen)
                adopt_socket(p, *l);
}

/* ---- the end ---- */

static bool is_needed_by(const Process *p, const char *address) {
        if (!process_needs_sockets(p))
                return false;

        STRV_FOREACH(l, p->config->listen) {
                _cleanup_listen_address_ ListenAddress parsed = {};
                _cleanup_free_ char *text = NULL;
                const char *fault;

                if (listen_address_parse(*l, &parsed, &fault) < 0)
                        continue;
                text = listen_address_to_string(&parsed);
                if (!text || streq(text, address))
                        return true;
        }
        return false;
}

static bool is_needed(const App *a, const char *address) {
        APP_FOREACH_INCARNATION(p, a)
                if (is_needed_by(p, address))
                        return true;
        return false;
}

void app_release_sockets(App *a) {
        char name[STORED_NAME_MAX + 1];

        LIST_FOREACH_SAFE(sockets, s, a->sockets) {
                if (is_needed(a, s->address))
                        continue;
                /* The path first: while the socket is kept, the next pmd knows of it. */
                FAULT_BEFORE(SOCKET_REMOVE);
                if (startswith(s->address, "unix://"))
                        cluster_socket_remove_path(s->address + STRLEN("unix://"), s->uid, s->gid, NULL, NULL);
                FAULT_AFTER(SOCKET_REMOVE);
                (void) fd_store_remove(a->manager->fd_store, stored_name(a, s->address, name));
                /* The keeper closes it in its own time, but the port is free now. */
                s->fd = close_listening(s->fd);
                close_socket(a, s);
        }
}

void app_close_sockets(App *a) {
        while (a->sockets)
                close_socket(a, a->sockets);
}
