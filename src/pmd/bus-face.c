/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/app-bus.h"
#include "pmd/bus-face.h"
#include "pmd/bus-peer.h"
#include "pmd/manager-bus.h"
#include "pmd/manager-event-bus.h"
#include "pmd/manager-outside.h"
#include "pmd/manager.h"
#include "pmd/process-bus.h"
#include "pmd/request-journal.h"
#include "pmd/runner.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

/* Of tries to find a bus again that has been restarted. */
#define BUS_AGAIN_MIN_USEC (100 * USEC_PER_MSEC)
#define BUS_AGAIN_MAX_USEC (5 * USEC_PER_SEC)

/* So many connections are taken in one turn of the loop. */
#define ACCEPTS_PER_TURN 64U

static int add_objects(BusFace *f, sd_bus *bus) {
        Manager *m = f->manager;
        int r;

        r = sd_bus_add_filter(bus, NULL, request_journal_filter, m);
        if (r < 0)
                return r;
        r = sd_bus_add_object_manager(bus, NULL, PMD_PATH);
        if (r < 0)
                return r;
        r = sd_bus_add_object_vtable(bus, NULL, PMD_PATH, PMD_INTERFACE_MANAGER, manager_bus_vtable, m);
        if (r < 0)
                return r;
        r = sd_bus_add_fallback_vtable(bus, NULL, PMD_PATH_APP, PMD_INTERFACE_APP, app_bus_vtable, app_bus_find, m);
        if (r < 0)
                return r;
        r = sd_bus_add_node_enumerator(bus, NULL, PMD_PATH_APP, app_bus_enumerate, m);
        if (r < 0)
                return r;
        r = sd_bus_add_fallback_vtable(bus, NULL, PMD_PATH_PROCESS, PMD_INTERFACE_PROCESS, process_bus_vtable,
                                       process_bus_find, m);
        if (r < 0)
                return r;
        return sd_bus_add_node_enumerator(bus, NULL, PMD_PATH_PROCESS, process_bus_enumerate, m);
}

static int match_local(sd_bus *bus, const char *member, sd_bus_message_handler_t handler, void *userdata) {
        return sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                         "org.freedesktop.DBus.Local", member, handler, NULL, userdata);
}

/* For the end of this turn of the loop; -ESTALE after the last one, when nobody is left to be served. */
static void wake_source(sd_event_source *source) {
        int r;

        r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (r < 0 && r != -ESTALE)
                log_error_errno(r, "Failed to schedule the care of a connection: %m");
}

static int add_deferred(BusFace *f, sd_event_source **ret, sd_event_handler_t handler) {
        int r;

        r = sd_event_add_defer(f->manager->event, ret, handler, f);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

/* ---- clients of the private socket ---- */

static BusClient *client_free(BusClient *c) {
        if (!c)
                return NULL;
        event_bus_forget_connection(c->face, c->bus);
        sd_bus_close_unref(c->bus);
        bus_peer_free(c->peer);
        return mfree(c);
}
DEFINE_CLEANUP_FUNC(BusClient *, client_free);

static int on_cleanup(sd_event_source *source, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        LIST_FOREACH_SAFE(clients, c, f->clients) {
                if (!c->dead)
                        continue;
                LIST_REMOVE(clients, f->clients, c);
                f->n_clients--;
                client_free(c);
        }
        return 0;
}

/* Not freed here: this may be called while sd-bus works on the connection. */
static void client_bury(BusClient *c) {
        c->dead = true;
        wake_source(c->face->cleanup_source);
}

static int on_client_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        client_bury(ASSERT_PTR(userdata));
        return 0;
}

static int on_greet(sd_event_source *source, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);
        int r;

        LIST_FOREACH(clients, c, f->clients) {
                if (!c->fresh || c->dead)
                        continue;
                r = sd_bus_process(c->bus, NULL);
                if (r < 0)
                        client_bury(c);
                else if (r == 0)
                        c->fresh = false;
                else
                        wake_source(f->greet_source);
        }
        return 0;
}

/* sd-bus has read what came along with the end of the authentication, but only looks at it when more comes. */
static int on_client_connected(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusClient *c = ASSERT_PTR(userdata);

        c->fresh = true;
        wake_source(c->face->greet_source);
        return 0;
}

static bool client_is_stuck(BusClient *c) {
        uint64_t n;

        return sd_bus_get_n_queued_write(c->bus, &n) >= 0 && n > BUS_CLIENT_QUEUE_MAX;
}

static void client_close_stuck(BusClient *c) {
        if (c->dead)
                return;
        log_warning("A client of user %u does not read what it is sent, closing its connection.", c->uid);
        client_bury(c);
}

/* A client may ask and ask and never read the answers. */
static int on_client_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusClient *c = ASSERT_PTR(userdata);

        c->has_called = c->has_called || sd_bus_message_is_method_call(message, NULL, NULL) > 0;
        if (!c->dead && !client_is_stuck(c))
                return 0;
        client_close_stuck(c);
        return 1;
}

static int client_start(BusClient *c, int fd) {
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r < 0)
                goto fail;
        r = sd_bus_new(&c->bus);
        if (r < 0)
                goto fail;
        r = sd_bus_set_fd(c->bus, fd, fd);
        if (r < 0)
                goto fail;

        /* From here on the fd is the connection's. */
        (void) sd_bus_set_description(c->bus, "private");
        r = sd_bus_set_server(c->bus, true, id);
        if (r < 0)
                return r;
        r = sd_bus_negotiate_creds(c->bus, true, SD_BUS_CREDS_PID | SD_BUS_CREDS_EUID);
        if (r < 0)
                return r;
        r = sd_bus_set_anonymous(c->bus, false);
        if (r < 0)
                return r;
        r = sd_bus_set_connected_signal(c->bus, true);
        if (r < 0)
                return r;
        r = match_local(c->bus, "Connected", on_client_connected, c);
        if (r < 0)
                return r;
        r = match_local(c->bus, "Disconnected", on_client_disconnected, c);
        if (r < 0)
                return r;
        r = add_objects(c->face, c->bus);
        if (r < 0)
                return r;
        /* After those of the objects: the last one sees all messages. */
        r = sd_bus_add_filter(c->bus, NULL, on_client_message, c);
        if (r < 0)
                return r;
        r = bus_peer_new(c->bus, &c->peer);
        if (r < 0)
                return r;
        r = sd_bus_start(c->bus);
        if (r < 0)
                return r;
        return sd_bus_attach_event(c->bus, c->face->manager->event, SD_EVENT_PRIORITY_NORMAL);

fail:
        safe_close(fd);
        return r;
}

/* Takes over fd. */
static int client_new(BusFace *f, int fd, uid_t uid) {
        _cleanup_(client_freep) BusClient *c = NULL;
        int r;

        c = new0(BusClient, 1);
        if (!c) {
                safe_close(fd);
                return -ENOMEM;
        }
        c->face = f;
        c->uid = uid;

        r = client_start(c, fd);
        if (r < 0)
                return r;

        LIST_PREPEND(clients, f->clients, c);
        f->n_clients++;
        TAKE_PTR(c);
        return 0;
}

static bool peer_is_welcome(BusFace *f, int fd, uid_t *ret) {
        struct ucred ucred;
        socklen_t n = sizeof ucred;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &n) < 0) {
                log_warning_errno(errno, "Failed to find out who connects to the private socket, refusing: %m");
                return false;
        }
        if (ucred.uid != 0 && ucred.uid != f->manager->uid) {
                log_warning("Refusing a connection of user %u (pid %d) to the private socket.", ucred.uid,
                            (int) ucred.pid);
                return false;
        }
        *ret = ucred.uid;
        return true;
}

static bool is_full(BusFace *f) {
        if (f->n_clients < f->clients_max) {
                f->full_logged = false;
                return false;
        }
        if (!f->full_logged)
                log_warning("%u clients are connected to the private socket, refusing more.", f->n_clients);
        f->full_logged = true;
        return true;
}

/* Takes over fd. */
static void serve(BusFace *f, int fd) {
        uid_t uid;
        int r;

        if (is_full(f) || !peer_is_welcome(f, fd, &uid)) {
                safe_close(fd);
                return;
        }
        r = client_new(f, fd, uid);
        if (r < 0)
                log_warning_errno(r, "Failed to serve a connection to the private socket, ignoring: %m");
}

static int on_listen_again(sd_event_source *source, usec_t t, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        return sd_event_source_set_enabled(f->listen_source, SD_EVENT_ON);
}

/* Without descriptors or memory the socket stays readable, and the loop would spin. */
static int pause_listening(BusFace *f, int error) {
        int r;

        log_warning_errno(error, "Failed to accept a connection, pausing for a second: %m");
        r = sd_event_source_set_enabled(f->listen_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        f->listen_again_source = sd_event_source_disable_unref(f->listen_again_source);
        return sd_event_add_time_relative(f->manager->event, &f->listen_again_source, CLOCK_MONOTONIC, USEC_PER_SEC, 0,
                                          on_listen_again, f);
}

static int on_listen(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (client >= 0)
                        serve(f, client);
                else if (errno == EAGAIN)
                        return 0;
                else if (!IN_SET(errno, EINTR, ECONNABORTED))
                        return pause_listening(f, errno);
        }
        return 0;
}

/* Names the socket by way of its directory, since an address holds 107 bytes only. */
static int bind_in_directory(int fd, int dir_fd, const char *name) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int n;

        n = snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
        if (n < 0 || (size_t) n >= sizeof sa.sun_path)
                return -ENAMETOOLONG;
        return bind(fd, (struct sockaddr *) &sa, sizeof sa) < 0 ? -errno : 0;
}

static int bind_to_path(int fd, const char *path) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_free_ char *dir = NULL;
        _cleanup_close_ int dir_fd = -EBADF;
        const char *name = path_basename(path);

        if (strlen(path) < sizeof sa.sun_path) {
                memcpy(sa.sun_path, path, strlen(path) + 1);
                return bind(fd, (struct sockaddr *) &sa, sizeof sa) < 0 ? -errno : 0;
        }

        dir = strndup(path, (size_t) (name - path));
        if (!dir)
                return -ENOMEM;
        dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        return bind_in_directory(fd, dir_fd, name);
}

static int open_listen_fd(const char *path) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* The mode that bind() will make the file with. The umask is not for us to change: the log thread has it too. */
        if (fchmod(fd, 0600) < 0)
                return -errno;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        r = bind_to_path(fd, path);
        if (r < 0)
                return r;
        if (listen(fd, SOMAXCONN) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* Leaves half of the descriptors to the apps. */
static unsigned find_clients_max(void) {
        struct rlimit rl;

        if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY)
                return BUS_CLIENTS_MAX;
        return (unsigned) MIN((rlim_t) BUS_CLIENTS_MAX, rl.rlim_cur / 2);
}

static int start_listening(BusFace *f) {
        const char *path = f->manager->instance->socket_path;
        int r;

        f->listen_fd = open_listen_fd(path);
        if (f->listen_fd < 0)
                return log_error_errno(f->listen_fd, "Failed to listen on %s: %m", path);
        r = free_and_strdup(&f->socket_path, path);
        if (r < 0)
                return log_oom();
        r = sd_event_add_io(f->manager->event, &f->listen_source, f->listen_fd, EPOLLIN, on_listen, f);
        if (r < 0)
                return log_error_errno(r, "Failed to watch %s: %m", path);
        return 0;
}

/* ---- the bus ---- */

/* A broker whose clients do not read takes no more from us, and what it does not take is kept here. Only lists are large. */
#define QUEUE_WITH_LISTS_MAX 256U

static int on_bus_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        static const char *const lists[] = { "GetManagedObjects", "ListProcesses", "ListPacked" };
        const char *member = sd_bus_message_get_member(message);
        uint64_t n;

        if (sd_bus_message_is_method_call(message, NULL, NULL) <= 0 || sd_bus_get_n_queued_write(sd_bus_message_get_bus(message), &n) < 0 || n <= QUEUE_WITH_LISTS_MAX)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                if (streq_ptr(member, lists[i]))
                        return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_LIMITS_EXCEEDED, "The bus does not take what pmd has sent already, try again.");
        return 0;
}

static int connect_bus(const BusFace *f, sd_bus **ret) {
        return f->manager->instance->scope == INSTANCE_SYSTEM ? sd_bus_open_system_with_description(ret, "system") :
                                                                sd_bus_open_user_with_description(ret, "session");
}

static int retry_bus_later(BusFace *f) {
        int r;

        f->bus_again_delay = MIN(f->bus_again_delay * 2, BUS_AGAIN_MAX_USEC);
        r = sd_event_source_set_time_relative(f->bus_again_source, f->bus_again_delay);
        return r < 0 ? r : sd_event_source_set_enabled(f->bus_again_source, SD_EVENT_ONESHOT);
}

/* All that hangs on a connection is set up when pmd starts, and being started again costs apps and clients nothing. */
static int on_bus_again(sd_event_source *s, uint64_t usec, void *userdata) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        BusFace *f = ASSERT_PTR(userdata);
        int r;

        r = connect_bus(f, &bus);
        if (r < 0)
                return retry_bus_later(f);

        log_info("The bus is there again.");
        r = manager_reexecute(f->manager);
        if (r < 0)
                log_warning_errno(r, "Cannot be started again for that, serving the private socket only: %m");
        return 0;
}

static int on_bus_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusFace *f = ASSERT_PTR(userdata);
        int r;

        if (f->manager->stopping || f->bus_again_source)
                return 0; /* nobody would start us again, or the other connection is lost as well */
        if (f->manager->runner && f->manager->runner->vtable == &runner_scope_vtable)
                manager_hold_without_systemd(f->manager);

        log_warning("The connection to the bus is lost, serving the private socket only until it is there again.");
        f->bus_again_delay = BUS_AGAIN_MIN_USEC;
        r = sd_event_add_time_relative(f->manager->event, &f->bus_again_source, CLOCK_MONOTONIC, f->bus_again_delay, 0, on_bus_again, f);
        if (r < 0)
                log_error_errno(r, "Failed to wait for the bus, ignoring: %m");
        return 0;
}

static int watch_bus(BusFace *f, sd_bus *bus) {
        int r;

        r = match_local(bus, "Disconnected", on_bus_disconnected, f);
        if (r < 0)
                return r;
        return sd_bus_attach_event(bus, f->manager->event, SD_EVENT_PRIORITY_NORMAL);
}

static int on_client_name_reply(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        if (sd_bus_message_is_method_error(message, NULL))
                log_warning("The bus refuses the name " PMD_BUS_NAME_CLIENT ", ignoring: %s", strna(sd_bus_message_get_error(message)->message));
        return 0;
}

/* Everybody may send to the name that we serve, and as much as the bus takes. On the bus of a session there is nobody else. */
static int open_client_bus(BusFace *f) {
        int r;

        if (f->manager->instance->scope != INSTANCE_SYSTEM || connect_bus(f, &f->client_bus) < 0) {
                f->client_bus = sd_bus_ref(f->bus);
                return 0;
        }
        r = watch_bus(f, f->client_bus);
        if (r < 0)
                return r;
        return sd_bus_request_name_async(f->client_bus, NULL, PMD_BUS_NAME_CLIENT, 0, on_client_name_reply, f);
}

static int open_bus(BusFace *f) {
        InstanceScope scope = f->manager->instance->scope;
        int r;

        if (scope == INSTANCE_PRIVATE)
                return 0;

        r = connect_bus(f, &f->bus);
        if (r < 0) {
                log_full_errno(scope == INSTANCE_SYSTEM ? LOG_WARNING : LOG_INFO, r,
                               "Cannot reach the %s bus, serving the private socket only: %m",
                               scope == INSTANCE_SYSTEM ? "system" : "session");
                return 0;
        }

        r = watch_bus(f, f->bus);
        return r < 0 ? r : open_client_bus(f);
}

static int on_name_reply(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusFace *f = ASSERT_PTR(userdata);
        uint32_t result = 0;
        int r;

        if (sd_bus_message_is_method_error(message, NULL)) {
                log_warning("The bus refuses the name " PMD_BUS_NAME ", serving the private socket only: %s",
                            strna(sd_bus_message_get_error(message)->message));
                return 0;
        }
        r = sd_bus_message_read(message, "u", &result);
        if (r < 0)
                return log_error_errno(r, "Failed to read the answer of the bus: %m");

        if (IN_SET(result, 1U, 4U)) /* is ours now; was ours before */
                return 0;
        log_error("The name " PMD_BUS_NAME " is taken: another pmd serves this bus.");
        return sd_event_exit(f->manager->event, -EBUSY);
}

static int serve_bus(BusFace *f) {
        int r;

        r = add_objects(f, f->bus);
        if (r >= 0)
                r = sd_bus_add_filter(f->bus, NULL, on_bus_message, f);
        if (r < 0)
                return log_error_errno(r, "Failed to register the objects on the bus: %m");
        r = sd_bus_request_name_async(f->bus, NULL, PMD_BUS_NAME, 0, on_name_reply, f);
        if (r < 0)
                return log_error_errno(r, "Failed to ask for the name " PMD_BUS_NAME ": %m");
        return 0;
}

sd_bus *bus_face_get_bus(BusFace *f) {
        return f ? f->client_bus : NULL;
}

/* ---- all of it ---- */

static void log_unsent(int r) {
        if (r < 0)
                log_debug_errno(r, "Failed to send a signal, ignoring: %m");
}

void bus_face_for_each(BusFace *f, const BusSignal *signal, bus_face_send_t send, void *userdata) {
        int r;

        if (!f)
                return;
        if (f->bus && sd_bus_is_ready(f->bus) > 0)
                log_unsent(send(f->bus, userdata));

        LIST_FOREACH(clients, c, f->clients) {
                /* Who has not shown who it is gets no mail, and who has said nothing yet expects an answer to its Hello first. */
                if (c->dead || !c->has_called || sd_bus_is_ready(c->bus) <= 0 || !bus_peer_wants(c->peer, signal))
                        continue;
                r = send(c->bus, userdata);
                log_unsent(r);
                if (IN_SET(r, -ENOBUFS, -EXFULL) || client_is_stuck(c))
                        client_close_stuck(c);
        }
}

static char *name_of_user(uid_t uid) {
        struct passwd *pw = getpwuid(uid);

        return pw ? strdup(pw->pw_name) : strprintf("%u", uid);
}

int bus_face_new(Manager *m, BusFace **ret) {
        _cleanup_(bus_face_freep) BusFace *f = NULL;
        int r;

        f = new0(BusFace, 1);
        if (!f)
                return -ENOMEM;
        f->manager = m;
        f->listen_fd = -EBADF;
        f->clients_max = find_clients_max();
        f->user_name = name_of_user(m->uid);
        if (!f->user_name)
                return -ENOMEM;

        r = bus_polkit_new(m->instance->scope == INSTANCE_SYSTEM, &f->polkit);
        if (r < 0)
                return r;
        r = bus_queue_init(f);
        if (r < 0)
                return r;
        r = add_deferred(f, &f->greet_source, on_greet);
        if (r < 0)
                return r;
        r = add_deferred(f, &f->cleanup_source, on_cleanup);
        if (r < 0)
                return r;
        r = open_bus(f);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(f);
        return 0;
}

int bus_face_start(BusFace *f) {
        int r;

        if (f->bus) {
                r = serve_bus(f);
                if (r < 0)
                        return r;
        }
        return start_listening(f);
}

int bus_face_listen_again(BusFace *f) {
        if (!f->socket_path || access(f->socket_path, F_OK) >= 0 || errno != ENOENT)
                return 0;

        log_warning("Somebody has removed %s, making it anew.", f->socket_path);
        f->listen_source = sd_event_source_disable_unref(f->listen_source);
        f->listen_again_source = sd_event_source_disable_unref(f->listen_again_source);
        f->listen_fd = safe_close(f->listen_fd);
        return start_listening(f);
}

BusFace *bus_face_free(BusFace *f) {
        if (!f)
                return NULL;

        bus_polkit_free(f->polkit);
        while (f->clients) {
                BusClient *c = f->clients;

                LIST_REMOVE(clients, f->clients, c);
                client_free(c);
        }
        event_bus_forget_connection(f, f->bus);
        sd_event_source_disable_unref(f->listen_source);
        sd_event_source_disable_unref(f->listen_again_source);
        sd_event_source_disable_unref(f->bus_again_source);
        sd_event_source_disable_unref(f->greet_source);
        sd_event_source_disable_unref(f->cleanup_source);
        sd_event_source_disable_unref(f->bus_again_source);
        safe_close(f->listen_fd);
        if (f->socket_path)
                (void) unlink(f->socket_path);
        free(f->socket_path);
        bus_queue_done(f);
        free(f->user_name);
        sd_bus_close_unref(f->client_bus);
        sd_bus_close_unref(f->bus);
        return mfree(f);
}
