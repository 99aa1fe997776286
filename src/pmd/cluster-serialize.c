/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmd/cluster-internal.h"
#include "pmd/fd-store.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* What is to be known of sockets that are in the fd store. */

#define FILE_VERSION 1
#define FILE_SIZE_MAX (8U << 20)

/* Whose rights nobody has: an older pmd has not written whose socket it is, and its file is left then. */
#define UID_NONE ((uid_t) -1)
#define GID_NONE ((gid_t) -1)

/* ---- writing ---- */

static void add(json_object *o, const char *key, json_object *value) {
        (void) json_object_object_add(o, key, value);
}

static json_object *slots_to_json(const Listener *l) {
        json_object *a = json_object_new_array();

        for (size_t i = 0; i < l->n_sockets; i++)
                if (l->sockets[i] >= 0)
                        (void) json_object_array_add(a, json_object_new_int((int) i));
        return a;
}

static json_object *members_to_json(const Listener *l) {
        json_object *a = json_object_new_array();

        for (size_t i = 0; i < l->n_members; i++) {
                json_object *o = json_object_new_object();

                add(o, "worker", json_object_new_uint64(l->members[i].worker));
                add(o, "slot", json_object_new_uint64(l->members[i].slot));
                add(o, "active", json_object_new_boolean(l->members[i].active));
                (void) json_object_array_add(a, o);
        }
        return a;
}

static json_object *listener_to_json(const Listener *l) {
        json_object *o = json_object_new_object();

        add(o, "number", json_object_new_uint64(l->number));
        add(o, "key", json_object_new_string(l->key));
        add(o, "kind", json_object_new_string(cluster_socket_kind_to_string(l->kind)));
        if (l->host)
                add(o, "host", json_object_new_string(l->host));
        add(o, "family", json_object_new_int(l->family));
        add(o, "port", json_object_new_uint64(l->port));
        add(o, "flags", json_object_new_uint64(l->flags));
        add(o, "device", json_object_new_uint64(l->device));
        add(o, "inode", json_object_new_uint64(l->inode));
        add(o, "uid", json_object_new_uint64(l->uid));
        add(o, "gid", json_object_new_uint64(l->gid));
        add(o, "data", json_object_get(l->data));
        add(o, "balanced", json_object_new_boolean(l->balance != NULL));
        add(o, "slots", slots_to_json(l));
        add(o, "members", members_to_json(l));
        return o;
}

static int write_file(const Cluster *c) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        json_object *listeners = json_object_new_array();
        const char *text;
        size_t n;
        int r;

        LIST_FOREACH(listeners, l, c->listeners)
                (void) json_object_array_add(listeners, listener_to_json(l));
        add(o, "version", json_object_new_int(FILE_VERSION));
        add(o, "number", json_object_new_uint64(c->number));
        add(o, "last_listener", json_object_new_uint64(c->last_listener));
        add(o, "listeners", listeners);

        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
        if (!text)
                return -ENOMEM;
        r = write_file_replace(c->path, text, n, 0600);
        if (r != -ENOENT)
                return r;
        r = mkdir_parents(c->path, 0700);
        return r < 0 ? r : write_file_replace(c->path, text, n, 0600);
}

void cluster_save(const Cluster *c) {
        int r;

        if (!c->listeners) {
                (void) unlink(c->path);
                return;
        }
        r = write_file(c);
        if (r < 0)
                log_warning_errno(r, "Failed to write %s, ignoring: %m", c->path);
}

/* ---- reading ---- */

static uint64_t get_uint(json_object *o, const char *key) {
        return json_object_get_uint64(json_get(o, key, json_type_int));
}

static int take_balance(const Cluster *c, Listener *l) {
        _cleanup_close_ int state_fd = -EBADF, sockets_fd = -EBADF;
        char name[STORED_NAME_MAX];

        state_fd = fd_store_take(c->fd_store, listener_map_name(c, l, "state", name));
        if (state_fd < 0)
                return state_fd;
        sockets_fd = fd_store_take(c->fd_store, listener_map_name(c, l, "sockets", name));
        if (sockets_fd < 0)
                return sockets_fd;
        return cluster_balance_adopt(TAKE_FD(state_fd), TAKE_FD(sockets_fd), &l->balance);
}

static int take_sockets(const Cluster *c, Listener *l, json_object *slots) {
        size_t n = slots ? json_object_array_length(slots) : 0, taken = 0;

        for (size_t i = 0; i < n; i++) {
                unsigned slot = (unsigned) json_object_get_uint64(json_object_array_get_idx(slots, i));
                char name[STORED_NAME_MAX];
                int fd, r;

                if (slot >= CLUSTER_SLOTS_MAX)
                        return -EBADMSG;
                fd = fd_store_take(c->fd_store, listener_socket_name(c, l, slot, name));
                if (fd < 0)
                        continue;
                r = listener_set_socket(l, slot, fd);
                if (r < 0) {
                        safe_close(fd);
                        return r;
                }
                taken++;
        }
        return taken > 0 ? 0 : -ENOENT;
}

static int read_members(Listener *l, json_object *members) {
        size_t n = members ? json_object_array_length(members) : 0;
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++) {
                json_object *o = json_object_array_get_idx(members, i);

                r = listener_add_member(l, (unsigned) get_uint(o, "worker"), (unsigned) get_uint(o, "slot"),
                                        json_object_get_boolean(json_get(o, "active", json_type_boolean)));
        }
        return r;
}

static int read_listener(Cluster *c, json_object *o) {
        _cleanup_(listener_freep) Listener *l = new0(Listener, 1);
        const char *key = json_get_string(o, "key");
        json_object *data;
        int r;

        if (!l)
                return -ENOMEM;
        l->number = (unsigned) get_uint(o, "number");
        l->kind = cluster_socket_kind_from_string(json_get_string(o, "kind"));
        if (!key || l->kind < 0)
                return -EBADMSG;
        if (free_and_strdup(&l->key, key) < 0 ||
            free_and_strdup(&l->host, json_get_string(o, "host")) < 0)
                return -ENOMEM;
        l->family = (int) get_uint(o, "family");
        l->port = (unsigned) get_uint(o, "port");
        l->flags = (unsigned) get_uint(o, "flags");
        l->device = get_uint(o, "device");
        l->inode = get_uint(o, "inode");
        l->uid = json_get(o, "uid", json_type_int) ? (uid_t) get_uint(o, "uid") : UID_NONE;
        l->gid = json_get(o, "gid", json_type_int) ? (gid_t) get_uint(o, "gid") : GID_NONE;
        if (json_object_object_get_ex(o, "data", &data))
                l->data = json_object_get(data);

        r = json_object_get_boolean(json_get(o, "balanced", json_type_boolean)) ? take_balance(c, l) : 0;
        if (r >= 0)
                r = take_sockets(c, l, json_get(o, "slots", json_type_array));
        if (r >= 0)
                r = read_members(l, json_get(o, "members", json_type_array));
        if (r < 0) {
                listener_unstore_balance(c, l);
                return r;
        }

        listener_update_balance(l);
        LIST_PREPEND(listeners, c->listeners, TAKE_PTR(l));
        c->n_listeners++;
        return 0;
}

static int read_file(const char *path, json_object **ret) {
        _cleanup_free_ char *text = NULL;
        json_object *o;
        int r;

        r = read_full_file_at(AT_FDCWD, path, FILE_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        o = json_tokener_parse(text);
        if (get_uint(o, "version") != FILE_VERSION) {
                json_object_put(o);
                return -EBADMSG;
        }
        *ret = o;
        return 0;
}

int cluster_load(sd_event *event, FdStore *fd_store, const char *path, Cluster **ret) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        _cleanup_(cluster_freep) Cluster *c = NULL;
        json_object *listeners;
        bool gone = false;
        int r;

        r = read_file(path, &o);
        if (r < 0)
                return r;
        r = cluster_new(event, fd_store, (unsigned) get_uint(o, "number"), path, &c);
        if (r < 0)
                return r;
        c->last_listener = (unsigned) get_uint(o, "last_listener");

        listeners = json_get(o, "listeners", json_type_array);
        for (size_t i = 0; listeners && i < json_object_array_length(listeners); i++) {
                r = read_listener(c, json_object_array_get_idx(listeners, i));
                if (r == -ENOMEM)
                        return r;
                gone = gone || r == -ENOENT;
                if (r < 0)
                        log_warning_errno(r, "Failed to take over a socket of %s, ignoring: %m", path);
        }
        if (gone) /* such as when the last pmd died while it closed it */
                cluster_save(c);
        *ret = TAKE_PTR(c);
        return 0;
}
