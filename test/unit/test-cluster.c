/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/cluster-balance.h"
#include "pmd/cluster-socket.h"
#include "pmd/cluster.h"
#include "pmd/fd-store.h"
#include "test.h"

#include "shared/fd-util.h"
#include "tree.h"

typedef struct World {
        char *dir, *path;
        sd_event *event;
        Cluster *cluster;
        json_object *reply; /* the last one */
        int fd;
        const char *type;
} World;

static void set_up(World *w, ClusterPolicy policy) {
        *w = (World) { .dir = tree_new() };
        w->path = strjoin(w->dir, "/clusters/app");
        ASSERT_TRUE(w->path);
        ASSERT_OK(sd_event_new(&w->event));
        ASSERT_OK(cluster_new(w->event, NULL, 1, w->path, &w->cluster));
        cluster_configure(w->cluster, policy, geteuid(), getegid());
}

static void tear_down(World *w) {
        cluster_clear(w->cluster);
        ASSERT_EQ(cluster_count_listeners(w->cluster), 0);
        ASSERT_TRUE(access(w->path, F_OK) < 0);
        cluster_free(w->cluster);
        sd_event_unref(w->event);
        json_object_put(w->reply);
        free(w->path);
        tree_remove(&w->dir);
}

static json_object *get(World *w, const char *key) {
        json_object *v = NULL;

        (void) json_object_object_get_ex(w->reply, key, &v);
        return v;
}

/* The rest of the message, as a worker writes it. Gives the reply's errno. */
static int ask(World *w, unsigned worker, const char *rest) {
        _cleanup_free_ char *text = strjoin("{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"seq\":7,", rest, "}");
        json_object *message = json_tokener_parse(text);

        ASSERT_TRUE(message);
        w->reply = (json_object_put(w->reply), NULL);
        ASSERT_OK(cluster_query(w->cluster, (ClusterWorker) { worker, worker - 1 }, message, &w->reply, &w->fd, &w->type));
        json_object_put(message);
        ASSERT_EQ(json_object_get_int(get(w, "ack")), 7);
        ASSERT_STREQ(json_object_get_string(get(w, "cmd")), "NODE_CLUSTER");
        return json_object_get_int(get(w, "errno"));
}

static ino_t inode_of(int fd) {
        struct stat st;

        ASSERT_OK(fstat(fd, &st));
        return st.st_ino;
}

static int connect_to(unsigned port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_OK(fd);
        if (connect(fd, (struct sockaddr *) &a, sizeof a) >= 0)
                return fd;
        safe_close(fd);
        return -EBADF;
}

static unsigned count_waiting(int fd) {
        unsigned n = 0;
        int c;

        while ((c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                safe_close(c);
                n++;
        }
        return n;
}

#define PORT_0 "\"index\":0,\"data\":null,\"address\":\"127.0.0.1\",\"port\":0,\"addressType\":4,\"flags\":0,\"backlog\":false"

TEST(policies) {
        ASSERT_STRING_TABLE(cluster_policy, _CLUSTER_POLICY_MAX);
        ASSERT_STRING_TABLE(cluster_socket_kind, _CLUSTER_SOCKET_KIND_MAX);
}

TEST(one_socket_for_all) {
        int fd, client;
        World w;

        set_up(&w, CLUSTER_POLICY_SHARED);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        ASSERT_STREQ(json_object_get_string(get(&w, "key")), "127.0.0.1:0:4:undefined:0");
        ASSERT_STREQ(w.type, "net.Native");
        fd = w.fd;
        ASSERT_EQ(ask(&w, 2, PORT_0), 0);
        ASSERT_EQ(w.fd, fd);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 1);

        client = connect_to((unsigned) cluster_socket_get_port(fd));
        ASSERT_OK(client);
        ASSERT_EQ(count_waiting(fd), 1);
        safe_close(client);

        /* The second equal call of one worker is another server. */
        ASSERT_EQ(ask(&w, 1, "\"index\":1,\"data\":null,\"address\":\"127.0.0.1\",\"port\":0,\"addressType\":4"), 0);
        ASSERT_TRUE(w.fd != fd);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 2);
        tear_down(&w);
}

/* What is asked, what is answered, and the type of the handle. */
static const struct {
        const char *text;
        int error;
        const char *key, *type;
} queries[] = {
        { "\"index\":0,\"data\":null,\"address\":null,\"port\":0,\"addressType\":4,\"backlog\":0", 0, "null:0:4:undefined:0", "net.Native" },
        { "\"index\":0,\"data\":null,\"address\":\"::1\",\"port\":0,\"addressType\":6,\"flags\":1", 0, "::1:0:6:undefined:0", "net.Native" },
        { "\"index\":0,\"data\":null,\"address\":null,\"port\":0,\"addressType\":\"udp4\",\"fd\":-1,\"flags\":0", 0, "null:0:udp4:-1:0", "dgram.Native" },
        { "\"index\":0,\"data\":null,\"address\":null,\"port\":0,\"addressType\":\"udp6\",\"fd\":-1,\"flags\":4", 0, "null:0:udp6:-1:0", "dgram.Native" },
        { "\"index\":0,\"data\":null,\"address\":null,\"port\":0,\"addressType\":\"udp9\",\"fd\":-1", -EINVAL, "null:0:udp9:-1:0", "net.Native" },
        { "\"index\":0,\"address\":\"localhost\",\"port\":0,\"addressType\":4", -EINVAL, "localhost:0:4:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":\"192.0.2.77\",\"port\":0,\"addressType\":4", -EADDRNOTAVAIL, "192.0.2.77:0:4:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":null,\"port\":65536,\"addressType\":4", -EINVAL, "null:65536:4:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":null,\"port\":\"80\",\"addressType\":4", -EINVAL, "null:80:4:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":null,\"port\":null,\"addressType\":4,\"fd\":3", -EBADF, "null:null:4:3:0", "net.Native" },
        { "\"index\":0,\"address\":\"relative\",\"port\":-1,\"addressType\":-1", -EINVAL, "relative:-1:-1:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":\"/nonexistent/directory/s\",\"port\":-1,\"addressType\":-1", -EACCES,
          "/nonexistent/directory/s:-1:-1:undefined:0", "net.Native" },
        { "\"index\":0,\"address\":{},\"port\":[],\"addressType\":-1", -EINVAL, "{ }:[ ]:-1:undefined:0", "net.Native" },
        { "\"x\":1", -EINVAL, "undefined:undefined:undefined:undefined:undefined", "net.Native" },
};

TEST(queries) {
        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                World w;

                set_up(&w, CLUSTER_POLICY_AUTO);
                ASSERT_EQ(ask(&w, 1, queries[i].text), queries[i].error);
                ASSERT_STREQ(json_object_get_string(get(&w, "key")), queries[i].key);
                ASSERT_STREQ(w.type, queries[i].type);
                ASSERT_EQ(w.fd >= 0, queries[i].error == 0);
                ASSERT_EQ(cluster_count_listeners(w.cluster), queries[i].error == 0);
                tear_down(&w);
        }
}

TEST(a_port_in_use) {
        char text[200];
        World w, other;

        for (ClusterPolicy policy = 0; policy < _CLUSTER_POLICY_MAX; policy++) {
                set_up(&w, policy);
                set_up(&other, policy);
                ASSERT_EQ(ask(&w, 1, PORT_0), 0);
                (void) snprintf(text, sizeof text, "\"index\":0,\"address\":\"127.0.0.1\",\"port\":%d,\"addressType\":4", cluster_socket_get_port(w.fd));
                ASSERT_EQ(ask(&w, 1, text), -EADDRINUSE);
                ASSERT_EQ(ask(&other, 1, text), -EADDRINUSE);
                ASSERT_EQ(cluster_count_listeners(other.cluster), 0);
                tear_down(&other);
                tear_down(&w);
        }
}

TEST(too_many) {
        char text[100];
        int r = 0, n = 0;
        World w;

        set_up(&w, CLUSTER_POLICY_SHARED);
        for (; n < 2000 && r == 0; n++) {
                (void) snprintf(text, sizeof text, "\"index\":%d,\"address\":\"127.0.0.1\",\"port\":0,\"addressType\":\"udp4\",\"fd\":-1", n);
                r = ask(&w, 1, text);
        }
        ASSERT_EQ(r, -EMFILE);
        ASSERT_TRUE(n > 200);
        tear_down(&w);
}

TEST(data_of_the_first_is_for_all) {
        World w;

        set_up(&w, CLUSTER_POLICY_AUTO);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        ASSERT_TRUE(!get(&w, "data"));
        ASSERT_EQ(ask(&w, 2, "\"index\":0,\"data\":{\"a\":1},\"address\":\"127.0.0.1\",\"port\":0,\"addressType\":4"), 0);
        ASSERT_STREQ(json_object_get_string(get(&w, "data")), "{ \"a\": 1 }");
        ASSERT_EQ(ask(&w, 3, "\"index\":0,\"data\":{\"b\":1},\"address\":\"127.0.0.1\",\"port\":0,\"addressType\":4"), 0);
        ASSERT_STREQ(json_object_get_string(get(&w, "data")), "{ \"a\": 1 }");
        tear_down(&w);
}

TEST(unix_sockets) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        struct stat st;
        World w;
        int fd;

        set_up(&w, CLUSTER_POLICY_AUTO);
        path = strjoin(w.dir, "/s");
        text = strjoin("\"index\":0,\"address\":\"", path, "\",\"port\":-1,\"addressType\":-1");
        ASSERT_EQ(ask(&w, 1, text), 0);
        fd = w.fd;
        ASSERT_EQ(ask(&w, 2, text), 0);
        ASSERT_EQ(w.fd, fd);
        ASSERT_OK(stat(path, &st));

        /* Many an app removes the file before it listens. */
        ASSERT_OK(unlink(path));
        ASSERT_EQ(ask(&w, 3, text), 0);
        ASSERT_OK(stat(path, &st));

        cluster_clear(w.cluster);
        ASSERT_TRUE(stat(path, &st) < 0);

        /* A file of somebody else's is in the way, and stays when it comes after ours. */
        safe_close(creat(path, 0600));
        ASSERT_EQ(ask(&w, 1, text), -EADDRINUSE);
        ASSERT_OK(unlink(path));
        ASSERT_EQ(ask(&w, 1, text), 0);
        ASSERT_OK(unlink(path));
        safe_close(creat(path, 0600));
        tear_down(&w);
}

/* The worker's user can turn a directory of its own into a symlink at any time; a second link stands for what a race would find. */
TEST(a_path_that_leads_elsewhere) {
        _cleanup_free_ char *path = NULL, *mine = NULL, *theirs = NULL, *moved = NULL, *victim = NULL, *text = NULL;
        struct stat st;
        World w;

        if (geteuid() != 0)
                return;
        set_up(&w, CLUSTER_POLICY_AUTO);
        cluster_configure(w.cluster, CLUSTER_POLICY_AUTO, 65534, 65534);
        mine = strjoin(w.dir, "/mine");
        moved = strjoin(w.dir, "/moved");
        theirs = strjoin(w.dir, "/theirs");
        path = strjoin(mine, "/s");
        victim = strjoin(theirs, "/s");
        text = strprintf("\"index\":0,\"address\":\"%s\",\"port\":-1,\"addressType\":-1", path);
        ASSERT_OK(chmod(w.dir, 0755));
        ASSERT_OK(mkdir(mine, 0755));
        ASSERT_OK(chown(mine, 65534, 65534));
        ASSERT_OK(mkdir(theirs, 0755));

        ASSERT_EQ(ask(&w, 1, text), 0);
        ASSERT_OK(lstat(path, &st));
        ASSERT_EQ(st.st_uid, 65534);
        ASSERT_OK(link(path, victim));
        ASSERT_OK(rename(mine, moved));
        ASSERT_OK(symlink(theirs, mine));
        cluster_clear(w.cluster);
        ASSERT_OK(lstat(victim, &st));

        ASSERT_OK(unlink(mine));
        ASSERT_OK(rename(moved, mine));
        ASSERT_OK(unlink(path));
        ASSERT_EQ(ask(&w, 1, text), 0);
        cluster_clear(w.cluster);
        ASSERT_TRUE(lstat(path, &st) < 0);
        tear_down(&w);
}

TEST(data_that_is_kept_is_small) {
        _cleanup_free_ char *large = new(char, 32 * 1024 + 1), *text = NULL;
        json_object *data;
        World w;

        memset(large, 'x', 32 * 1024);
        large[32 * 1024] = 0;
        text = strprintf(PORT_0 ",\"data\":\"%s\"", large);
        set_up(&w, CLUSTER_POLICY_AUTO);
        ASSERT_EQ(ask(&w, 1, text), 0);
        data = get(&w, "data");
        ASSERT_TRUE(!data);
        tear_down(&w);
}

TEST(sockets_stay_for_those_who_come_back) {
        const ClusterWorker one = { 1, 0 }, two = { 2, 0 };
        ino_t inode;
        World w;

        set_up(&w, CLUSTER_POLICY_AUTO);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        inode = inode_of(w.fd);
        cluster_worker_listening(w.cluster, one);

        /* It closes because it is being stopped, then ends. */
        cluster_worker_closed(w.cluster, one, "127.0.0.1:0:4:undefined:0", true);
        cluster_worker_ended(w.cluster, one);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 1);
        w.reply = (json_object_put(w.reply), NULL);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        ASSERT_EQ(inode_of(w.fd), inode);

        /* One of two closes its server, then the other. */
        ASSERT_EQ(ask(&w, 2, PORT_0), 0);
        cluster_worker_closed(w.cluster, one, "no such key", false);
        cluster_worker_closed(w.cluster, one, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 1);
        cluster_worker_closed(w.cluster, one, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 1);
        cluster_worker_closed(w.cluster, two, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 0);
        tear_down(&w);
}

/* ---- a socket for each ---- */

static bool can_balance(void) {
        ClusterBalance *b;
        int r = cluster_balance_new(&b);

        if (r >= 0)
                cluster_balance_free(b);
        else
                printf("# a socket for each is not possible here: %s\n", strerror(-r));
        return r >= 0;
}

#define N 4U

static bool only_slot_2_is_gone(unsigned slot, void *userdata) {
        return slot != 2;
}

static bool none_is_used(unsigned slot, void *userdata) {
        return false;
}

static void connect_many(unsigned port, int *clients, size_t n) {
        for (size_t i = 0; i < n; i++) {
                clients[i] = connect_to(port);
                ASSERT_OK(clients[i]);
        }
}

static void close_all(int *clients, size_t n) {
        for (size_t i = 0; i < n; i++)
                clients[i] = safe_close(clients[i]);
}

TEST(connections_are_dealt_out_in_turn) {
        int fds[N], clients[64];
        unsigned port, n = 0;
        World w;

        if (!can_balance())
                return;
        set_up(&w, CLUSTER_POLICY_REUSEPORT);
        for (unsigned i = 0; i < N; i++) {
                ASSERT_EQ(ask(&w, i + 1, PORT_0), 0);
                fds[i] = w.fd;
                cluster_worker_listening(w.cluster, (ClusterWorker) { i + 1, i });
        }
        ASSERT_TRUE(fds[0] != fds[1]);
        port = (unsigned) cluster_socket_get_port(fds[0]);
        for (unsigned i = 1; i < N; i++)
                ASSERT_EQ(cluster_socket_get_port(fds[i]), port);

        connect_many(port, clients, 64);
        for (unsigned i = 0; i < N; i++)
                ASSERT_EQ(count_waiting(fds[i]), 64 / N);
        close_all(clients, 64);

        /* Who is about to finish gets no more. */
        cluster_worker_retires(w.cluster, (ClusterWorker) { 3, 2 });
        connect_many(port, clients, 30);
        ASSERT_EQ(count_waiting(fds[2]), 0);
        ASSERT_EQ(count_waiting(fds[0]), 10);
        close_all(clients, 30);

        /* What waits when its slot is closed is served by the others. */
        cluster_worker_listening(w.cluster, (ClusterWorker) { 3, 2 });
        count_waiting(fds[1]);
        count_waiting(fds[3]);
        connect_many(port, clients, 40);
        cluster_worker_ended(w.cluster, (ClusterWorker) { 3, 2 });
        cluster_drop_slots(w.cluster, only_slot_2_is_gone, NULL);
        for (unsigned i = 0; i < N; i++)
                n += i == 2 ? 0 : count_waiting(fds[i]);
        ASSERT_EQ(n, 40);
        close_all(clients, 40);

        /* Without anybody who serves nothing is lost, nor closed. */
        for (unsigned i = 0; i < N; i++)
                cluster_worker_ended(w.cluster, (ClusterWorker) { i + 1, i });
        cluster_drop_slots(w.cluster, none_is_used, NULL);
        connect_many(port, clients, 12);
        n = count_waiting(fds[0]) + count_waiting(fds[1]) + count_waiting(fds[3]);
        ASSERT_EQ(n, 12);
        close_all(clients, 12);

        cluster_clear(w.cluster);
        ASSERT_TRUE(connect_to(port) < 0);
        tear_down(&w);
}

/* The old worker of a slot and its successor have the same socket. */
TEST(two_of_one_slot) {
        World w;
        int fd;

        set_up(&w, CLUSTER_POLICY_AUTO);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        fd = w.fd;
        cluster_worker_listening(w.cluster, (ClusterWorker) { 1, 0 });
        json_object_put(w.reply);
        w.reply = NULL;
        {
                json_object *m = json_tokener_parse("{" PORT_0 "}");

                ASSERT_OK(cluster_query(w.cluster, (ClusterWorker) { 9, 0 }, m, &w.reply, &w.fd, &w.type));
                json_object_put(m);
        }
        ASSERT_EQ(w.fd, fd);
        cluster_worker_closed(w.cluster, (ClusterWorker) { 1, 0 }, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(w.cluster), 1);
        tear_down(&w);
}

TEST(a_port_is_free_whoever_has_a_copy) {
        unsigned port;
        World w;
        int copy;

        set_up(&w, CLUSTER_POLICY_SHARED);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        port = (unsigned) cluster_socket_get_port(w.fd);
        copy = dup(w.fd);
        ASSERT_OK(copy);
        safe_close(connect_to(port));
        cluster_clear(w.cluster);
        ASSERT_EQ(connect_to(port), -EBADF);
        safe_close(copy);
        tear_down(&w);
}

/* ---- a pmd that has ended ---- */

TEST(what_is_on_file_fits_no_descriptor) {
        Cluster *c;
        World w;

        set_up(&w, CLUSTER_POLICY_AUTO);
        ASSERT_EQ(cluster_load(w.event, NULL, w.path, &c), -ENOENT);
        ASSERT_EQ(ask(&w, 1, PORT_0), 0);
        ASSERT_OK(cluster_load(w.event, NULL, w.path, &c));
        ASSERT_EQ(cluster_get_number(c), 1);
        ASSERT_EQ(cluster_count_listeners(c), 0);
        /* Nobody would come back to it. */
        ASSERT_TRUE(access(w.path, F_OK) < 0);
        cluster_free(c);
        tear_down(&w);
}

static void take_over(void) {
        _cleanup_free_ char *path = NULL;
        FdStore *store;
        char pid[16];
        Cluster *c;
        World w;

        /* The place of the first that is handed over. */
        ASSERT_OK(close_range(3, ~0U, 0));
        ASSERT_EQ(open("/dev/null", O_RDONLY | O_CLOEXEC), 3);

        set_up(&w, CLUSTER_POLICY_SHARED);
        ASSERT_EQ(ask(&w, 5, PORT_0), 0);
        ASSERT_EQ(dup2(w.fd, 3), 3);
        (void) snprintf(pid, sizeof pid, "%d", getpid());
        ASSERT_OK(setenv("LISTEN_PID", pid, 1));
        ASSERT_OK(setenv("LISTEN_FDS", "1", 1));
        ASSERT_OK(setenv("LISTEN_FDNAMES", "c1.1.0", 1));
        ASSERT_OK(fd_store_new(w.event, &store));
        ASSERT_OK(cluster_load(w.event, store, w.path, &c));
        ASSERT_EQ(cluster_count_listeners(c), 1);
        path = strdup(w.path);

        /* The worker that has it is known. */
        cluster_worker_closed(c, (ClusterWorker) { 4, 0 }, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(c), 1);
        cluster_worker_closed(c, (ClusterWorker) { 5, 0 }, "127.0.0.1:0:4:undefined:0", false);
        ASSERT_EQ(cluster_count_listeners(c), 0);
        ASSERT_TRUE(access(path, F_OK) < 0);
        cluster_free(c);
        fd_store_free(store);
        tear_down(&w);
}



TEST(another_pmd_goes_on) {
        pid_t pid = fork();
        int status;

        ASSERT_OK(pid);
        if (pid == 0) {
                if (setjmp(test_escape) == 0) {
                        take_over();
                        _exit(0);
                }
                (void) fflush(stdout);
                _exit(1);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
}

static const char *const damaged[] = {
        "", "{}", "[]", "{\"version\":1}", "{\"version\":1,\"listeners\":[1,null,{}]}", "{\"version\":1,\"listeners\":[{\"key\":\"x\",\"kind\":\"y\"}]}",
        "{\"version\":1,\"listeners\":[{\"key\":\"x\",\"kind\":\"tcp\",\"slots\":[9999999],\"members\":{}}]}", "{\"version\":2}",
};

TEST(damaged_files) {
        for (size_t i = 0; i < ELEMENTSOF(damaged); i++) {
                _cleanup_free_ char *path = NULL;
                Cluster *c = NULL;
                World w;
                int fd;

                set_up(&w, CLUSTER_POLICY_AUTO);
                path = strjoin(w.dir, "/damaged");
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                ASSERT_OK(fd);
                ASSERT_OK(write_all(fd, damaged[i], strlen(damaged[i])));
                safe_close(fd);
                if (cluster_load(w.event, NULL, path, &c) >= 0)
                        ASSERT_EQ(cluster_count_listeners(c), 0);
                cluster_free(c);
                tear_down(&w);
        }
}
