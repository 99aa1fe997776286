/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd/cluster.h"

#include "pmd/cluster-balance.h"
#include "pmd/cluster-internal.h"
#include "pmd/cluster-socket.h"
#include "pmd/fd-store.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

static const char *const cluster_policy_table[_CLUSTER_POLICY_MAX] = {
        [CLUSTER_POLICY_AUTO] = "auto",
        [CLUSTER_POLICY_SHARED] = "shared",
        [CLUSTER_POLICY_REUSEPORT] = "reuseport",
};

DEFINE_STRING_TABLE(ClusterPolicy, cluster_policy);

#define LISTENERS_MAX 256U /* each has up to three places in the fd store, and one more for each slot */
#define KEY_SIZE_MAX 1024U
#define DATA_SIZE_MAX (16U * 1024)
#define BACKLOG 511
#define SWEEP_USEC (5 * USEC_PER_SEC)

/* ---- names in the fd store ---- */

static void push(Cluster *c, const char *name, int fd) {
        int r;

        r = fd_store_push(c->fd_store, name, fd);
        if (r < 0)
                log_warning_errno(r, "Failed to keep %s for the case that pmd ends, ignoring: %m", name);
}

const char *listener_socket_name(const Cluster *c, const Listener *l, unsigned slot, char buf[static STORED_NAME_MAX]) {
        (void) snprintf(buf, STORED_NAME_MAX, "c%u.%u.%u", c->number, l->number, slot);
        return buf;
}

const char *listener_map_name(const Cluster *c, const Listener *l, const char *map, char buf[static STORED_NAME_MAX]) {
        (void) snprintf(buf, STORED_NAME_MAX, "c%u.%u.%s", c->number, l->number, map);
        return buf;
}

static void store_balance(Cluster *c, const Listener *l) {
        char name[STORED_NAME_MAX];

        push(c, listener_map_name(c, l, "state", name), cluster_balance_get_state_fd(l->balance));
        push(c, listener_map_name(c, l, "sockets", name), cluster_balance_get_sockets_fd(l->balance));
}

void listener_unstore_balance(const Cluster *c, const Listener *l) {
        char name[STORED_NAME_MAX];

        (void) fd_store_remove(c->fd_store, listener_map_name(c, l, "state", name));
        (void) fd_store_remove(c->fd_store, listener_map_name(c, l, "sockets", name));
}

/* ---- listeners ---- */

Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;

        for (size_t i = 0; i < l->n_sockets; i++)
                safe_close(l->sockets[i]);
        free(l->sockets);
        cluster_balance_free(l->balance);
        json_object_put(l->data);
        free(l->members);
        free(l->host);
        free(l->key);
        return mfree(l);
}

static Listener *find_listener(const Cluster *c, const char *key) {
        LIST_FOREACH(listeners, l, c->listeners)
                if (streq(l->key, key))
                        return l;
        return NULL;
}

static ClusterAddress listener_address(const Cluster *c, const Listener *l) {
        return (ClusterAddress) { l->kind, l->host, l->family, l->port, l->flags, c->uid, c->gid };
}

static void remove_slot(Cluster *c, Listener *l, unsigned slot, int (*close_fd)(int fd)) {
        char name[STORED_NAME_MAX];

        if (slot >= l->n_sockets || l->sockets[slot] < 0)
                return;
        (void) fd_store_remove(c->fd_store, listener_socket_name(c, l, slot, name));
        l->sockets[slot] = close_fd(l->sockets[slot]);
}

/* Workers may go on with what they have of it. */
static void close_slot(Cluster *c, Listener *l, unsigned slot) {
        remove_slot(c, l, slot, safe_close);
}

/* Not the file of somebody who has taken the path meanwhile. */
static bool owns_path(const char *path, void *userdata) {
        const Listener *l = userdata;
        struct stat st;

        return lstat(path, &st) >= 0 && st.st_dev == l->device && st.st_ino == l->inode;
}

static void close_listener(Cluster *c, Listener *l) {
        log_debug("Closing the sockets of %s.", l->key);

        FAULT_BEFORE(SOCKET_REMOVE);
        if (l->kind == CLUSTER_SOCKET_UNIX)
                cluster_socket_remove_path(l->host, l->uid, l->gid, owns_path, l);
        FAULT_AFTER(SOCKET_REMOVE);
        /* Whoever keeps a copy lets go of it in its own time, but the port is free now. */
        for (unsigned i = 0; i < l->n_sockets; i++)
                remove_slot(c, l, i, close_listening);
        if (l->balance)
                listener_unstore_balance(c, l);
        LIST_REMOVE(listeners, c->listeners, l);
        c->n_listeners--;
        listener_free(l);
}

int listener_set_socket(Listener *l, unsigned slot, int fd) {
        if (!GREEDY_REALLOC(l->sockets, l->n_sockets_allocated, slot + 1))
                return -ENOMEM;
        while (l->n_sockets <= slot)
                l->sockets[l->n_sockets++] = -EBADF;
        l->sockets[slot] = fd;
        return 0;
}

static bool has_sockets(const Listener *l) {
        for (size_t i = 0; i < l->n_sockets; i++)
                if (l->sockets[i] >= 0)
                        return true;
        return false;
}

/* ---- making sockets ---- */

static void note_address(const Cluster *c, Listener *l, int fd) {
        struct stat st;
        int port;

        if (l->kind == CLUSTER_SOCKET_UNIX) {
                l->uid = c->uid;
                l->gid = c->gid;
                if (lstat(l->host, &st) >= 0) {
                        l->device = st.st_dev;
                        l->inode = st.st_ino;
                }
                return;
        }
        port = cluster_socket_get_port(fd);
        if (port > 0)
                l->port = (unsigned) port;
}

static int make_balance(Listener *l) {
        int r;

        r = cluster_balance_new(&l->balance);
        if (r < 0)
                log_debug_errno(r, "A socket for each worker is not possible here, sharing one: %m");
        return r;
}

/* The first socket of a port is bound without leave to share it, so that one in use by others, or by another app, is found out. */
static int open_socket(Cluster *c, Listener *l, int backlog, int *ret) {
        const ClusterAddress address = listener_address(c, l);
        _cleanup_close_ int fd = -EBADF;
        bool first = !has_sockets(l);
        int r = 0;

        fd = cluster_socket_bind(&address, l->balance && !first);
        if (fd < 0)
                return fd;
        if (l->balance && first)
                r = cluster_socket_open_group(fd);
        if (r >= 0 && l->kind != CLUSTER_SOCKET_UDP)
                r = cluster_socket_listen(fd, backlog);
        if (r >= 0 && l->balance && first)
                r = cluster_balance_attach(l->balance, fd);
        if (r < 0)
                return r;

        note_address(c, l, fd);
        *ret = TAKE_FD(fd);
        return 0;
}

static int add_socket(Cluster *c, Listener *l, unsigned slot, int backlog) {
        _cleanup_close_ int fd = -EBADF;
        char name[STORED_NAME_MAX];
        int r;

        r = open_socket(c, l, backlog, &fd);
        if (r < 0)
                return r;
        if (l->balance) {
                r = cluster_balance_add(l->balance, slot, fd);
                if (r < 0)
                        return r;
        }
        r = listener_set_socket(l, slot, fd);
        if (r < 0)
                return r;

        push(c, listener_socket_name(c, l, slot, name), fd);
        TAKE_FD(fd);
        return 0;
}

static unsigned listener_slot(const Listener *l, ClusterWorker w) {
        return l->balance ? w.slot % CLUSTER_SLOTS_MAX : 0;
}

/* A Unix socket whose file the app has removed, as many do before they listen, can be reached no more. */
static bool is_unreachable(const Listener *l) {
        return l->kind == CLUSTER_SOCKET_UNIX && access(l->host, F_OK) < 0 && errno == ENOENT;
}

static int get_socket(Cluster *c, Listener *l, ClusterWorker w, int backlog, int *ret) {
        unsigned slot = listener_slot(l, w);
        int r;

        if (is_unreachable(l))
                close_slot(c, l, slot);
        if (slot >= l->n_sockets || l->sockets[slot] < 0) {
                r = add_socket(c, l, slot, backlog);
                if (r < 0)
                        return r;
        }
        *ret = l->sockets[slot];
        return 0;
}

/* ---- members ---- */

static Member *find_member(const Listener *l, unsigned worker) {
        for (size_t i = 0; i < l->n_members; i++)
                if (l->members[i].worker == worker)
                        return l->members + i;
        return NULL;
}

int listener_add_member(Listener *l, unsigned worker, unsigned slot, bool active) {
        if (find_member(l, worker))
                return 0;
        if (!GREEDY_REALLOC(l->members, l->n_members_allocated, l->n_members + 1))
                return -ENOMEM;
        l->members[l->n_members++] = (Member) { worker, slot, active };
        return 0;
}

static bool remove_member(Listener *l, unsigned worker) {
        Member *m = find_member(l, worker);

        if (!m)
                return false;
        *m = l->members[--l->n_members];
        return true;
}

void listener_update_balance(Listener *l) {
        unsigned slots[CLUSTER_SLOTS_MAX];
        bool seen[CLUSTER_SLOTS_MAX] = {};
        size_t n = 0;
        int r;

        if (!l->balance)
                return;
        for (size_t i = 0; i < l->n_members; i++)
                if (l->members[i].active)
                        seen[l->members[i].slot % CLUSTER_SLOTS_MAX] = true;
        for (unsigned i = 0; i < CLUSTER_SLOTS_MAX; i++)
                if (seen[i])
                        slots[n++] = i;

        r = cluster_balance_set_active(l->balance, slots, n);
        if (r < 0)
                log_warning_errno(r, "Failed to change who gets connections of %s, ignoring: %m", l->key);
}

/* ---- queries ---- */

static int64_t get_int(json_object *o, const char *key, int64_t fallback) {
        json_object *v = json_get(o, key, json_type_int);

        return v ? json_object_get_int64(v) : fallback;
}

/* As JavaScript would write it. */
static const char *field_text(json_object *o, const char *key) {
        json_object *v;

        if (!json_object_object_get_ex(o, key, &v))
                return "undefined";
        return v ? json_object_get_string(v) : "null";
}

/* Same key, same socket: for all workers, and for each of several equal calls of one worker the one with its index. */
static int make_key(json_object *message, char **ret) {
        const char *address = field_text(message, "address"), *port = field_text(message, "port"), *type = field_text(message, "addressType");
        const char *fd = field_text(message, "fd"), *index = field_text(message, "index");
        char *key;

        if (!address || !port || !type || !fd || !index)
                return -ENOMEM;
        if (strlen(address) + strlen(port) + strlen(type) + strlen(fd) + strlen(index) > KEY_SIZE_MAX)
                return -EINVAL;
        key = strprintf("%s:%s:%s:%s:%s", address, port, type, fd, index);
        if (!key)
                return -ENOMEM;
        *ret = key;
        return 0;
}

static int read_type(Listener *l, json_object *message) {
        const char *name = json_get_string(message, "addressType");

        l->kind = name ? CLUSTER_SOCKET_UDP : CLUSTER_SOCKET_TCP;
        if (name && streq(name, "udp4"))
                l->family = AF_INET;
        else if (name && streq(name, "udp6"))
                l->family = AF_INET6;
        else if (name)
                return -EINVAL;
        else if (get_int(message, "addressType", 4) < 0)
                l->kind = CLUSTER_SOCKET_UNIX;
        return 0;
}

static int read_query(Listener *l, json_object *message) {
        const char *host = json_get_string(message, "address");
        int64_t port = get_int(message, "port", -1), flags = get_int(message, "flags", 0);
        int r;

        /* The number of a descriptor of the primary's. */
        if (get_int(message, "fd", -1) >= 0)
                return -EBADF;
        r = read_type(l, message);
        if (r < 0)
                return r;
        if (l->kind != CLUSTER_SOCKET_UNIX && (port < 0 || port > UINT16_MAX))
                return -EINVAL;
        if (l->kind == CLUSTER_SOCKET_UNIX && !host)
                return -EINVAL;

        l->port = l->kind == CLUSTER_SOCKET_UNIX ? 0 : (unsigned) port;
        l->flags = (unsigned) flags;
        return free_and_strdup(&l->host, host);
}

static int add_listener(Cluster *c, const char *key, json_object *message, Listener **ret) {
        Listener *l;
        int r;

        if (c->n_listeners >= LISTENERS_MAX)
                return -EMFILE;
        l = new0(Listener, 1);
        if (!l)
                return -ENOMEM;
        l->number = ++c->last_listener;
        r = free_and_strdup(&l->key, key);
        if (r >= 0)
                r = read_query(l, message);
        if (r < 0) {
                listener_free(l);
                return r;
        }
        if (l->kind == CLUSTER_SOCKET_TCP && c->policy != CLUSTER_POLICY_SHARED && make_balance(l) >= 0)
                store_balance(c, l);

        LIST_PREPEND(listeners, c->listeners, l);
        c->n_listeners++;
        *ret = l;
        return 0;
}

/* It is kept for each listener, here and on file. */
static bool is_small(json_object *o) {
        size_t n;

        return json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n) && n <= DATA_SIZE_MAX;
}

static int grant(Cluster *c, ClusterWorker w, const char *key, json_object *message, Listener **ret, int *ret_fd) {
        Listener *l = find_listener(c, key);
        int64_t backlog = get_int(message, "backlog", 0);
        json_object *data;
        int r;

        if (!l) {
                r = add_listener(c, key, message, &l);
                if (r < 0)
                        return r;
        }
        r = get_socket(c, l, w, backlog > 0 ? (int) MIN(backlog, INT32_MAX) : BACKLOG, ret_fd);
        if (r >= 0)
                r = listener_add_member(l, w.id, w.slot, false);
        if (r < 0) {
                if (!has_sockets(l))
                        close_listener(c, l);
                return r;
        }

        if (!l->data && json_object_object_get_ex(message, "data", &data) && is_small(data))
                l->data = json_object_get(data);
        *ret = l;
        return 0;
}

static json_object *make_reply(json_object *message, const char *key, const Listener *l, int error) {
        json_object *o = json_object_new_object(), *seq;

        if (!o)
                return NULL;
        (void) json_object_object_get_ex(message, "seq", &seq);
        if (json_object_object_add(o, "cmd", json_object_new_string("NODE_CLUSTER")) < 0 ||
            json_object_object_add(o, "errno", json_object_new_int(error)) < 0 ||
            json_object_object_add(o, "key", json_object_new_string(key)) < 0 ||
            json_object_object_add(o, "ack", json_object_get(seq)) < 0 ||
            json_object_object_add(o, "data", l ? json_object_get(l->data) : NULL) < 0) {
                json_object_put(o);
                return NULL;
        }
        return o;
}

int cluster_query(Cluster *c, ClusterWorker w, json_object *message, json_object **ret_reply, int *ret_fd, const char **ret_type) {
        _cleanup_free_ char *key = NULL;
        Listener *l = NULL;
        json_object *reply;
        int r, fd = -EBADF;

        r = make_key(message, &key);
        if (r >= 0)
                r = grant(c, w, key, message, &l, &fd);
        if (r < 0)
                log_debug_errno(r, "Refused worker %u the socket %s: %m", w.id, strna(key));
        else
                cluster_save(c);

        reply = make_reply(message, strempty(key), l, MIN(r, 0));
        if (!reply)
                return -ENOMEM;
        *ret_reply = reply;
        *ret_fd = fd;
        *ret_type = l && l->kind == CLUSTER_SOCKET_UDP ? "dgram.Native" : "net.Native";
        return 0;
}

/* ---- what becomes of workers ---- */

static int on_sweep(sd_event_source *s, uint64_t usec, void *userdata) {
        Cluster *c = ASSERT_PTR(userdata);

        LIST_FOREACH_SAFE(listeners, l, c->listeners)
                if (l->n_members == 0)
                        close_listener(c, l);
        cluster_save(c);
        return 0;
}

/* A new version of an app may listen elsewhere: connections to what nobody has asked for again must not wait for ever. */
static void schedule_sweep(Cluster *c) {
        usec_t at = usec_add(now(CLOCK_MONOTONIC), SWEEP_USEC);
        bool needed = false;
        int r;

        LIST_FOREACH(listeners, l, c->listeners)
                needed = needed || l->n_members == 0;
        if (!needed)
                return;

        if (!c->sweep_source)
                r = sd_event_add_time(c->event, &c->sweep_source, CLOCK_MONOTONIC, at, USEC_PER_SEC, on_sweep, c);
        else {
                r = sd_event_source_set_time(c->sweep_source, at);
                if (r >= 0)
                        r = sd_event_source_set_enabled(c->sweep_source, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to schedule the closing of unused sockets, ignoring: %m");
}

static void set_active(Cluster *c, ClusterWorker w, bool active) {
        bool changed = false;

        LIST_FOREACH(listeners, l, c->listeners) {
                Member *m = find_member(l, w.id);

                if (!m || m->active == active)
                        continue;
                m->active = active;
                changed = true;
                listener_update_balance(l);
        }
        if (changed)
                cluster_save(c);
}

void cluster_worker_listening(Cluster *c, ClusterWorker w) {
        set_active(c, w, true);
        schedule_sweep(c);
}

void cluster_worker_retires(Cluster *c, ClusterWorker w) {
        set_active(c, w, false);
}

void cluster_worker_closed(Cluster *c, ClusterWorker w, const char *key, bool keep) {
        Listener *l = find_listener(c, key);

        if (!l || !remove_member(l, w.id))
                return;
        listener_update_balance(l);
        if (l->n_members == 0 && !keep)
                close_listener(c, l);
        cluster_save(c);
}

void cluster_worker_ended(Cluster *c, ClusterWorker w) {
        bool changed = false;

        LIST_FOREACH(listeners, l, c->listeners)
                if (remove_member(l, w.id)) {
                        changed = true;
                        listener_update_balance(l);
                }
        if (changed)
                cluster_save(c);
}

static bool is_served_elsewhere(const Listener *l, unsigned slot) {
        for (size_t i = 0; i < l->n_members; i++)
                if (l->members[i].active && l->members[i].slot != slot)
                        return true;
        return false;
}

void cluster_drop_slots(Cluster *c, bool (*is_used)(unsigned slot, void *userdata), void *userdata) {
        bool changed = false;

        LIST_FOREACH(listeners, l, c->listeners)
                for (unsigned i = 0; l->balance && i < l->n_sockets; i++)
                        if (l->sockets[i] >= 0 && !is_used(i, userdata) && is_served_elsewhere(l, i)) {
                                close_slot(c, l, i);
                                changed = true;
                        }
        if (changed)
                cluster_save(c);
}

/* ---- */

int cluster_new(sd_event *event, FdStore *fd_store, unsigned number, const char *path, Cluster **ret) {
        _cleanup_(cluster_freep) Cluster *c = new0(Cluster, 1);

        if (!c)
                return -ENOMEM;
        c->event = sd_event_ref(event);
        c->fd_store = fd_store;
        c->number = number;
        c->path = strdup(path);
        if (!c->path)
                return -ENOMEM;

        *ret = TAKE_PTR(c);
        return 0;
}

void cluster_clear(Cluster *c) {
        if (!c->listeners)
                return;
        LIST_FOREACH_SAFE(listeners, l, c->listeners)
                close_listener(c, l);
        cluster_save(c);
}

Cluster *cluster_free(Cluster *c) {
        if (!c)
                return NULL;

        LIST_FOREACH_SAFE(listeners, l, c->listeners)
                listener_free(l);
        sd_event_source_disable_unref(c->sweep_source);
        sd_event_unref(c->event);
        free(c->path);
        return mfree(c);
}

void cluster_configure(Cluster *c, ClusterPolicy policy, uid_t uid, gid_t gid) {
        c->policy = policy;
        c->uid = uid;
        c->gid = gid;
}

unsigned cluster_get_number(const Cluster *c) {
        return c->number;
}

size_t cluster_count_listeners(const Cluster *c) {
        return c->n_listeners;
}
