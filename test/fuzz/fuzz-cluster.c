/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pmd/cluster.h"
#include "pmd/node-channel.h"
#include "shared/fd-util.h"

/* What a worker may write on its channel, taken for what a hostile one would. It has a network of its own. */

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Primary {
        Cluster *cluster;
        NodeChannel *channel;
} Primary;

static const ClusterWorker worker = { 1, 0 };

static const char *get_key(json_object *message) {
        json_object *key;

        return json_object_object_get_ex(message, "key", &key) && json_object_is_type(key, json_type_string) ? json_object_get_string(key) : "";
}

static void on_query(Primary *p, json_object *message) {
        _cleanup_(json_object_putp) json_object *reply = NULL;
        const char *type;
        int fd;

        if (cluster_query(p->cluster, worker, message, &reply, &fd, &type) < 0)
                abort();
        if (fd >= 0)
                (void) node_channel_send_handle(p->channel, reply, type, fd);
        else
                (void) node_channel_send_internal(p->channel, reply);
}

static void on_internal(json_object *message, const char *act, void *userdata) {
        Primary *p = userdata;

        if (!act)
                return;
        if (strcmp(act, "queryServer") == 0)
                on_query(p, message);
        else if (strcmp(act, "listening") == 0)
                cluster_worker_listening(p->cluster, worker);
        else if (strcmp(act, "close") == 0)
                cluster_worker_closed(p->cluster, worker, get_key(message), false);
}

static void on_user(json_object *message, const char *json, size_t n, void *userdata) {
        if (strlen(json) != n)
                abort();
}

static void on_closed(void *userdata) {
}

static const NodeChannelHandler handler = { on_internal, on_user, on_closed };

/* A worker may ask for any path as well. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
        if (geteuid() == 0 && unshare(CLONE_NEWNET) < 0)
                return 0;
        if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                abort();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char path[64], sink[65536];
        Primary p = {};
        sd_event *event;
        int fds[2], r;

        (void) snprintf(path, sizeof path, "/tmp/fuzz-cluster.%d", getpid());
        if (sd_event_new(&event) < 0 || cluster_new(event, NULL, 1, path, &p.cluster) < 0 || node_channel_make_pair(fds) < 0 ||
            node_channel_new(event, fds[0], &handler, &p, &p.channel) < 0)
                abort();
        cluster_configure(p.cluster, size % 2 ? CLUSTER_POLICY_AUTO : CLUSTER_POLICY_SHARED, geteuid(), getegid());

        for (size_t i = 0; i < size; i += 1000) {
                (void) send(fds[1], data + i, MIN(size - i, (size_t) 1000), MSG_DONTWAIT | MSG_NOSIGNAL);
                for (int n = 0; n < 100 && (r = sd_event_run(event, 0)) > 0; n++)
                        ;
                (void) recv(fds[1], sink, sizeof sink, MSG_DONTWAIT);
        }

        safe_close(fds[1]);
        while (sd_event_run(event, 0) > 0)
                ;
        cluster_clear(p.cluster);
        node_channel_free(p.channel);
        cluster_free(p.cluster);
        sd_event_unref(event);
        return 0;
}
