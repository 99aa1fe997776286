/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "pmd/app.h"
#include "pmd/cluster.h"
#include "pmd/credentials.h"
#include "pmd/event-bus.h"
#include "pmd/manager.h"
#include "pmd/node-channel.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "shared/env-util.h"
#include "shared/fd-util.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"

/* The channel of Node.js between a process and pmd, which is its parent, and the primary of its cluster. */

static bool is_node(const AppConfig *c) {
        const char *name = c->interpreter_path ? path_basename(c->interpreter_path) : "";

        return startswith(name, "node") || startswith(name, "bun");
}

static bool is_worker(const Process *p) {
        return p->config->exec_mode == EXEC_MODE_CLUSTER && is_node(p->config);
}

static bool is_wanted(const AppConfig *c) {
        return is_node(c) || c->wait_ready || c->shutdown_with_message;
}

/* ---- the app's sockets ---- */

static ClusterWorker worker_of(const Process *p) {
        return (ClusterWorker) { p->worker_id, p->instance };
}

static char *cluster_path(const App *a) {
        return strprintf("%s/clusters/%s", a->manager->instance->runtime_dir, path_basename(a->object_path));
}

static void configure_cluster(const Process *p) {
        const Credentials *c = p->credentials;

        cluster_configure(p->app->cluster, cluster_policy_from_string(p->config->cluster_policy), c ? c->uid : geteuid(), c ? c->gid : getegid());
}

static int get_cluster(App *a) {
        _cleanup_free_ char *path = NULL;

        if (a->cluster)
                return 0;
        path = cluster_path(a);
        if (!path)
                return -ENOMEM;
        return cluster_new(a->manager->event, a->manager->fd_store, ++a->manager->last_cluster, path, &a->cluster);
}

static void load_cluster(App *a) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (a->cluster)
                return;
        path = cluster_path(a);
        r = path ? cluster_load(a->manager->event, a->manager->fd_store, path, &a->cluster) : -ENOMEM;
        if (r < 0 && r != -ENOENT)
                log_warning_errno(r, "Failed to take over the sockets of %s, ignoring: %m", a->name);
        if (r >= 0)
                a->manager->last_cluster = MAX(a->manager->last_cluster, cluster_get_number(a->cluster));
}

void manager_clean_clusters(Manager *m) {
        _cleanup_free_ char *directory = strprintf("%s/clusters", m->instance->runtime_dir);
        _cleanup_closedir_ DIR *d = directory ? opendir(directory) : NULL;

        for (struct dirent *de; d && (de = readdir(d));) {
                _cleanup_free_ char *path = NULL, *name = NULL;
                App *a;

                if (de->d_type == DT_DIR)
                        continue;
                path = strjoin(PMD_PATH_APP "/", de->d_name);
                a = path && sd_bus_path_decode(path, PMD_PATH_APP, &name) > 0 ? manager_get_app(m, name) : NULL;
                if (!a || !a->cluster)
                        (void) unlinkat(dirfd(d), de->d_name, 0);
        }
}

bool process_needs_sockets(const Process *p) {
        return process_is_running(p) || p->state == PROCESS_BACKOFF || (p->state == PROCESS_DRAINING && p->goal == PROCESS_UP);
}

static bool needs_slot(const Process *p, unsigned slot) {
        return p->instance == slot && p->state != PROCESS_BACKOFF && process_needs_sockets(p);
}

static bool slot_is_used(unsigned slot, void *userdata) {
        const App *a = userdata;

        APP_FOREACH_INCARNATION(p, a)
                if (needs_slot(p, slot))
                        return true;
        return false;
}

static bool app_needs_listeners(const App *a) {
        APP_FOREACH_INCARNATION(p, a)
                if (process_needs_sockets(p))
                        return true;
        return false;
}

void app_release_listeners(App *a) {
        if (!a->cluster)
                return;
        if (app_needs_listeners(a))
                cluster_drop_slots(a->cluster, slot_is_used, a);
        else
                cluster_clear(a->cluster);
}

/* ---- messages of the cluster protocol ---- */

static void send_internal(Process *p, json_object *message, const char *type, int fd) {
        int r;

        r = json_object_object_add(message, "seq", json_object_new_uint64(p->n_internal_sent++)) < 0 ? -ENOMEM : 0;
        if (r >= 0 && fd >= 0)
                r = node_channel_send_handle(p->channel, message, type, fd);
        else if (r >= 0)
                r = node_channel_send_internal(p->channel, message);
        if (r < 0 && !IN_SET(r, -ENOTCONN, -ENOBUFS)) /* these are its own doing, and counted */
                log_warning_errno(r, "Failed to answer process %u (%s) on its channel, ignoring: %m", p->id, p->config->name);
}

static void on_query(Process *p, json_object *message) {
        _cleanup_(json_object_putp) json_object *reply = NULL;
        const char *type;
        int fd, r;

        r = get_cluster(p->app);
        if (r >= 0) {
                configure_cluster(p);
                r = cluster_query(p->app->cluster, worker_of(p), message, &reply, &fd, &type);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to answer process %u (%s), which wants to listen, ignoring: %m", p->id, p->config->name);
        else
                send_internal(p, reply, type, fd);
}

static void on_listening(Process *p) {
        int r;

        /* On file before anything follows from it: it is said only once. */
        p->listening = true;
        r = process_save(p);
        if (r < 0)
                log_warning_errno(r, "Failed to save what is known of process %u, ignoring: %m", p->id);
        if (p->app->cluster)
                cluster_worker_listening(p->app->cluster, worker_of(p));
        if (!p->config->wait_ready && !p->config->notify)
                process_event(p, PROCESS_EVENT_READY);
}

/* Who is being stopped, or replaced, will have a successor that wants the same socket. */
static void on_close(Process *p, json_object *message) {
        bool keep = !IN_SET(p->state, PROCESS_STARTING, PROCESS_ONLINE);
        json_object *key;

        if (p->app->cluster && json_object_object_get_ex(message, "key", &key) && json_object_is_type(key, json_type_string))
                cluster_worker_closed(p->app->cluster, worker_of(p), json_object_get_string(key), keep);
}

/* The worker wants to disconnect, and waits for an answer. */
static void on_exited_after_disconnect(Process *p, json_object *message) {
        _cleanup_(json_object_putp) json_object *reply = json_object_new_object();
        json_object *seq;

        if (!reply) {
                log_oom();
                return;
        }
        (void) json_object_object_get_ex(message, "seq", &seq);
        (void) json_object_object_add(reply, "cmd", json_object_new_string("NODE_CLUSTER"));
        (void) json_object_object_add(reply, "ack", json_object_get(seq));
        if (p->app->cluster)
                cluster_worker_retires(p->app->cluster, worker_of(p));
        send_internal(p, reply, NULL, -EBADF);
}

static void on_internal(json_object *message, const char *act, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        if (p->worker_id == 0 || !act)
                return;
        process_check_exec(p);
        if (streq(act, "queryServer") && p->timer == PROCESS_TIMER_FINISH)
                return; /* it was told to disconnect, and trips over handles that come later */
        if (streq(act, "queryServer"))
                on_query(p, message);
        else if (streq(act, "listening"))
                on_listening(p);
        else if (streq(act, "close"))
                on_close(p, message);
        else if (streq(act, "exitedAfterDisconnect"))
                on_exited_after_disconnect(p, message);
}

static void on_user(json_object *message, const char *json, size_t n, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        process_check_exec(p);
        if (p->config->wait_ready && json_object_is_type(message, json_type_string) && streq(json_object_get_string(message), "ready"))
                process_event(p, PROCESS_EVENT_READY);
        manager_process_message(p, json, n);
}

static void on_closed(void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        process_unstore_fd(p, "ipc");
        /* Likely it has ended, and what it leaves behind may take its time to do so as well: that is not for new connections to wait for. */
        if (p->worker_id > 0 && p->app->cluster)
                cluster_worker_retires(p->app->cluster, worker_of(p));
        /* A worker that was told to finish has done so; one that was told to shut down as well may have more to do. */
        if (p->timer == PROCESS_TIMER_FINISH && !p->config->shutdown_with_message)
                process_event(p, PROCESS_EVENT_DOWN);
}

static const NodeChannelHandler handler = {
        .internal = on_internal,
        .user = on_user,
        .closed = on_closed,
};

/* ---- its life ---- */

int process_open_channel(Process *p, int *ret_child_fd) {
        _cleanup_close_pair_ int fds[2] = EBADF_PAIR;
        int r;

        p->worker_id = 0;
        if (!is_wanted(p->config)) {
                *ret_child_fd = -EBADF;
                return 0;
        }

        r = node_channel_make_pair(fds);
        if (r < 0)
                return r;
        process_store_fd(p, "ipc", fds[0]);
        r = node_channel_new(p->manager->event, TAKE_FD(fds[0]), &handler, p, &p->channel);
        if (r < 0)
                return r;
        if (is_worker(p))
                p->worker_id = ++p->app->n_workers;

        *ret_child_fd = TAKE_FD(fds[1]);
        return 0;
}

static int set_number(char ***env, const char *name, unsigned number) {
        char buf[16];

        (void) snprintf(buf, sizeof buf, "%u", number);
        return strv_env_set(env, name, buf);
}

int process_set_channel_environment(const Process *p, int fd, char ***env) {
        int r;

        r = set_number(env, "NODE_CHANNEL_FD", (unsigned) fd);
        if (r >= 0)
                r = strv_env_set(env, "NODE_CHANNEL_SERIALIZATION_MODE", "json");
        if (r >= 0 && p->worker_id > 0)
                r = set_number(env, "NODE_UNIQUE_ID", p->worker_id);
        return r;
}

static void tell_counts(const Process *p) {
        NodeChannelCounts c = node_channel_get_counts(p->channel);

        if (c.n_invalid + c.n_too_large + c.n_refused + c.n_lost > 0)
                log_info("Process %u (%s): of the messages on its channel %" PRIu64 " were no JSON, %" PRIu64 " too large, %" PRIu64
                         " not read by it in time, %" PRIu64 " lost their handle.",
                         p->id, p->config->name, c.n_invalid, c.n_too_large, c.n_refused, c.n_lost);
}

void process_close_channel(Process *p) {
        if (p->channel) {
                node_channel_flush(p->channel);
                tell_counts(p);
                if (node_channel_is_open(p->channel))
                        process_unstore_fd(p, "ipc");
                p->channel = node_channel_free(p->channel);
        }
        if (p->worker_id > 0 && p->app->cluster)
                cluster_worker_ended(p->app->cluster, worker_of(p));
}

void process_adopt_channel(Process *p) {
        int fd, r;

        p->app->n_workers = MAX(p->app->n_workers, p->worker_id);
        if (p->worker_id > 0)
                load_cluster(p->app);

        fd = process_take_stored_fd(p, "ipc");
        if (fd < 0)
                return; /* it had none, or has closed it */
        r = node_channel_new(p->manager->event, fd, &handler, p, &p->channel);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the channel of process %u, ignoring: %m", p->id);
}

/* ---- to the process ---- */

int process_send_message(Process *p, const char *json) {
        return node_channel_is_open(p->channel) ? node_channel_send(p->channel, json, strlen(json)) : -ENOTCONN;
}

int process_send_disconnect(Process *p, int signo) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        const char *signal = signal_to_string(signo);

        if (p->worker_id == 0 || !node_channel_is_open(p->channel))
                return -ENOTCONN;

        o = json_object_new_object();
        if (!o ||
            json_object_object_add(o, "cmd", json_object_new_string("NODE_CLUSTER")) < 0 ||
            json_object_object_add(o, "act", json_object_new_string("disconnect")) < 0 ||
            (signal && json_object_object_add(o, "signal", json_object_new_string(signal)) < 0))
                return -ENOMEM;
        if (p->app->cluster)
                cluster_worker_retires(p->app->cluster, worker_of(p));
        send_internal(p, o, NULL, -EBADF);
        return 0;
}

bool process_ask_by_message(Process *p) {
        int r;

        if (p->worker_id > 0 && p->app->cluster)
                cluster_worker_retires(p->app->cluster, worker_of(p));
        if (!p->config->shutdown_with_message)
                return false;
        r = process_send_message(p, "\"shutdown\"");
        if (r < 0)
                log_debug_errno(r, "Process %u cannot be told to shut down by a message, sending the signal: %m", p->id);
        return r >= 0;
}
