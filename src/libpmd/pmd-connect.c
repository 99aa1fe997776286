/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpmd/pmd-internal.h"
#include "shared/fd-util.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define OPEN_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define LOCK_WAIT_MIN_USEC (1 * USEC_PER_MSEC)
#define LOCK_WAIT_MAX_USEC (50 * USEC_PER_MSEC)
#define LAUNCH_WAIT_MIN_USEC (10 * USEC_PER_MSEC)
#define LAUNCH_WAIT_MAX_USEC (500 * USEC_PER_MSEC)

#define REVIVE_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define REVIVE_WAIT_MIN_USEC (2 * USEC_PER_MSEC)
#define REVIVE_WAIT_MAX_USEC (100 * USEC_PER_MSEC)

#define ERROR_NO_SERVER "org.freedesktop.DBus.Error.NoServer"

/* Whether an attempt to connect failed because no pmd is there, not because one refuses us or hangs. A pmd that ends while
 * we greet it resets the connection. */
static bool nobody_serves(int r) {
        return IN_SET(r, -ENOENT, -ECONNREFUSED, -ECONNRESET, -ENOTCONN, -EPIPE);
}

static int connect_in_time(int fd, const struct sockaddr_un *sa, usec_t deadline) {
        for (;;) {
                /* One attempt is made in any case, and 0 would mean for ever. */
                usec_t left = MAX(usec_sub(deadline, now(CLOCK_MONOTONIC)), USEC_PER_MSEC);
                struct timeval tv = {
                        .tv_sec = (time_t) (left / USEC_PER_SEC),
                        .tv_usec = (suseconds_t) (left % USEC_PER_SEC),
                };

                /* connect() waits for room in the backlog, for this long. */
                if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
                        return -errno;
                if (connect(fd, (const struct sockaddr *) sa, sizeof(*sa)) >= 0)
                        return 0;
                if (errno == EAGAIN)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

static int connect_unix(const char *path, const char *dir, usec_t deadline) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF, dir_fd = -EBADF;
        _cleanup_free_ char *short_path = NULL;
        int r;

        if (strlen(path) >= sizeof(sa.sun_path)) {
                dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (dir_fd < 0)
                        return -errno;
                short_path = strprintf("/proc/self/fd/%i/%s", dir_fd, path_basename(path));
                if (!short_path)
                        return -ENOMEM;
                path = short_path;
        }
        memcpy(sa.sun_path, path, strlen(path) + 1);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        r = connect_in_time(fd, &sa, deadline);
        if (r < 0)
                return r;
        return TAKE_FD(fd);
}

/* A socket in a directory that others can write to may be anybody's, and definitions hold secrets. */
static int check_peer(int fd, pid_t *ret_pid) {
        struct ucred cred;
        socklen_t size = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        if (!IN_SET(cred.uid, geteuid(), 0U) && geteuid() != 0)
                return -EACCES;

        *ret_pid = cred.pid;
        return 0;
}

static int bus_wait_ready(sd_bus *bus, usec_t deadline) {
        int r;

        while ((r = sd_bus_is_ready(bus)) == 0) {
                r = bus_process_or_wait(bus, deadline);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

static int bus_new_peer(int fd_consumed, usec_t deadline, sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_close_ int fd = fd_consumed;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0)
                return r;
        r = sd_bus_set_description(bus, "pmd");
        if (r < 0)
                return r;
        r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0)
                return r;
        TAKE_FD(fd);

        r = sd_bus_start(bus);
        if (r < 0)
                return r;
        r = bus_wait_ready(bus, deadline);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}

/* Connects to the private socket. 0 or a negative errno, see nobody_serves(). */
static int connect_socket(pmd_connection *c, usec_t deadline) {
        _cleanup_close_ int fd = -EBADF;
        sd_bus *bus;
        int r;

        fd = connect_unix(c->instance->socket_path, c->instance->runtime_dir, deadline);
        if (fd < 0)
                return fd;
        r = check_peer(fd, &c->peer_pid);
        if (r < 0)
                return r;
        r = bus_new_peer(TAKE_FD(fd), deadline, &bus);
        if (r < 0)
                return r;

        sd_bus_close_unref(c->bus);
        c->bus = bus;
        c->on_broker = false;
        return 0;
}

static int explain_socket_error(const pmd_connection *c, int error, pmd_error *reterr) {
        const Instance *i = c->instance;

        switch (abs(error)) {
        case EACCES:
        case EPERM:
                return error_set(reterr, EACCES, SD_BUS_ERROR_ACCESS_DENIED,
                                 "The pmd at %s belongs to another user. "
                                 "Become that user, or choose your own with PMD_HOME=DIR.", i->socket_path);
        case ETIMEDOUT:
                if (c->peer_pid > 0)
                        return error_set(reterr, error, SD_BUS_ERROR_TIMEOUT,
                                         "pmd (pid %i) at %s does not answer. See %s; "
                                         "if it hangs, end it with 'kill -KILL %i'.",
                                         (int) c->peer_pid, i->socket_path, c->log_hint, (int) c->peer_pid);
                return error_set(reterr, error, SD_BUS_ERROR_TIMEOUT, "pmd at %s does not answer. See %s.",
                                 i->socket_path, c->log_hint);
        case ENOMEM:
                return error_from_errno(c, error, reterr);
        default:
                return error_set(reterr, error, ERROR_NO_SERVER, "Cannot connect to %s: %m", i->socket_path);
        }
}

/* Gets the lock of who launches pmd. 1 if we have it, 0 if somebody else was faster and we are connected, or a negative
 * errno with *reterr. */
static int lock_or_connect(pmd_connection *c, usec_t deadline, int *ret_fd, pmd_error *reterr) {
        const char *path = c->instance->launch_lock_path;
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return error_set(reterr, errno, SD_BUS_ERROR_FAILED, "Cannot open %s: %m", path);

        for (usec_t wait = LOCK_WAIT_MIN_USEC;; wait = MIN(wait * 2, LOCK_WAIT_MAX_USEC)) {
                if (flock(fd, LOCK_EX | LOCK_NB) >= 0) {
                        *ret_fd = TAKE_FD(fd);
                        return 1;
                }
                if (!IN_SET(errno, EWOULDBLOCK, EINTR))
                        return error_set(reterr, errno, SD_BUS_ERROR_FAILED, "Cannot lock %s: %m", path);

                r = connect_socket(c, deadline);
                if (r >= 0)
                        return 0;
                if (!nobody_serves(r))
                        return explain_socket_error(c, r, reterr);

                if (now(CLOCK_MONOTONIC) >= deadline)
                        return error_set(reterr, ETIMEDOUT, SD_BUS_ERROR_TIMEOUT,
                                         "Another program has been starting pmd for %u s (it holds %s). See %s.",
                                         (unsigned) (OPEN_TIMEOUT_USEC / USEC_PER_SEC), path, c->log_hint);

                /* To wait for a lock with a deadline takes signals or a thread, which a library had better not use. */
                (void) usleep((useconds_t) wait);
        }
}

/* Launches until one serves. */
static int launch_locked(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        int r, launched;

        for (usec_t wait = LAUNCH_WAIT_MIN_USEC;; wait = MIN(wait * 2, LAUNCH_WAIT_MAX_USEC)) {
                _cleanup_(pmd_error_free) pmd_error e = {};

                launched = launch_pmd(c, deadline, &e);
                r = connect_socket(c, deadline);
                if (r >= 0) {
                        c->was_started = launched >= 0;
                        return 0;
                }

                /* In the way is one that is about to end, or was started by hand and is not ready yet. */
                if (launched == -EBUSY && nobody_serves(r) && now(CLOCK_MONOTONIC) < deadline) {
                        (void) usleep((useconds_t) wait);
                        continue;
                }

                if (launched >= 0)
                        return explain_socket_error(c, r, reterr);
                if (reterr) {
                        pmd_error_free(reterr);
                        *reterr = TAKE_GENERIC(e, (pmd_error) {});
                }
                return launched;
        }
}

static int launch_and_connect(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        _cleanup_close_ int lock_fd = -EBADF;
        int r;

        r = instance_make_directories(c->instance);
        if (r < 0)
                return error_set(reterr, r, SD_BUS_ERROR_FAILED, "Cannot make the directories of pmd in %s: %m",
                                 c->instance->home);

        r = lock_or_connect(c, deadline, &lock_fd, reterr);
        if (r <= 0)
                return r;

        /* Who had the lock before us has started it. */
        r = connect_socket(c, deadline);
        if (r >= 0)
                return 0;
        if (!nobody_serves(r))
                return explain_socket_error(c, r, reterr);
        return launch_locked(c, deadline, reterr);
}

/* Connects to the socket of the pmd that comes after one that has died. 0, or what the last attempt gave: nobody_serves() if none came. */
static int connect_next(pmd_connection *c, usec_t deadline) {
        int r;

        for (usec_t wait = REVIVE_WAIT_MIN_USEC;; wait = MIN(wait * 2, REVIVE_WAIT_MAX_USEC)) {
                bool may_come = c->scope != PMD_SCOPE_PRIVATE || instance_keeper_lives(c->instance);

                r = connect_socket(c, deadline);
                if (r >= 0 || !nobody_serves(r) || !may_come || now(CLOCK_MONOTONIC) >= deadline)
                        return r;
                (void) usleep((useconds_t) wait);
        }
}

static int open_private(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        int r;

        r = connect_socket(c, deadline);
        if (r >= 0)
                return 0;
        if (!nobody_serves(r))
                return explain_socket_error(c, r, reterr);
        /* Where there is a keeper, another pmd comes without us. */
        r = connect_next(c, deadline);
        if (r >= 0)
                return 0;
        if (!nobody_serves(r))
                return explain_socket_error(c, r, reterr);
        /* Before that it is one that somebody else has started since connect_next() looked. */
        if (now(CLOCK_MONOTONIC) >= deadline && instance_keeper_lives(c->instance))
                return error_set(reterr, ECONNREFUSED, ERROR_NO_SERVER,
                                 "pmd in %s dies as often as it is started. Apps run on. See %s.", c->instance->home, c->log_hint);
        if (c->no_start)
                return error_set(reterr, ECONNREFUSED, ERROR_NO_SERVER,
                                 "No pmd runs in %s. 'pmctl start APP' or 'pmctl ping' starts it.", c->instance->home);
        return launch_and_connect(c, deadline, reterr);
}

static int explain_bus_error(const pmd_connection *c, int error, pmd_error *reterr) {
        bool is_user = c->scope == PMD_SCOPE_USER;
        const char *bus = is_user ? "session" : "system";

        switch (abs(error)) {
        case ENOENT:
        case ENOMEDIUM:
        case ECONNREFUSED:
        case ENXIO:
                return error_set(reterr, error, ERROR_NO_SERVER,
                                 "There is no %s bus here. %sFor a pmd that needs none, set PMD_HOME=DIR.", bus,
                                 is_user ? "Log in as this user (su and sudo make no session), or use --system. " : "");
        case ETIMEDOUT:
                return error_set(reterr, error, SD_BUS_ERROR_TIMEOUT, "The %s bus does not answer.", bus);
        default:
                return error_set(reterr, error, SD_BUS_ERROR_FAILED, "Cannot connect to the %s bus: %m", bus);
        }
}

/* Calls Ping(), by which the broker has pmd started. */
static int wake_pmd(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        const char *option = c->scope == PMD_SCOPE_USER ? "--user " : "";
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Ping", &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = sd_bus_call(c->bus, m, MAX(usec_sub(deadline, now(CLOCK_MONOTONIC)), USEC_PER_MSEC), &error, NULL);
        if (r >= 0)
                return 0;

        if (!sd_bus_error_is_set(&error))
                return error_from_errno(c, r, reterr);
        if (sd_bus_error_has_names(&error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return error_set(reterr, ECONNREFUSED, ERROR_NO_SERVER, c->no_start ?
                                 "pmd does not run. 'systemctl %sstart pmd' starts it." :
                                 "pmd does not run, and the bus does not know how to start it: is it installed? "
                                 "'systemctl %sstatus pmd' tells.", option);
        if (startswith(error.name, "org.freedesktop.DBus.Error.Spawn."))
                return error_set(reterr, ECONNREFUSED, error.name,
                                 "pmd could not be started: %s. 'systemctl %sstatus pmd' tells more.",
                                 strna(error.message), option);
        return error_from_bus(c, &error, reterr);
}

static int open_broker(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        int r;

        r = c->scope == PMD_SCOPE_USER ? sd_bus_open_user(&c->bus) : sd_bus_open_system(&c->bus);
        if (r < 0)
                return explain_bus_error(c, r, reterr);
        c->on_broker = true;

        r = bus_wait_ready(c->bus, deadline);
        if (r < 0)
                return explain_bus_error(c, r, reterr);
        return wake_pmd(c, deadline, reterr);
}

static int open_system_or_user(pmd_connection *c, usec_t deadline, pmd_error *reterr) {
        bool may_use_socket = c->scope == PMD_SCOPE_USER || geteuid() == 0;
        int r;

        if (may_use_socket) {
                r = connect_socket(c, deadline);
                if (r >= 0)
                        return 0;
                if (!nobody_serves(r))
                        return explain_socket_error(c, r, reterr);
        }

        r = open_broker(c, deadline, reterr);
        if (r < 0)
                return r;

        /* The socket works on when the broker is restarted, or is at its limits. */
        if (may_use_socket)
                (void) connect_socket(c, deadline);
        return 0;
}

/* Asks by the bus until one answers. Nobody is started: it may have been ended on purpose. */
static int wait_on_bus(pmd_connection *c, usec_t deadline) {
        for (usec_t wait = REVIVE_WAIT_MIN_USEC;; wait = MIN(wait * 2, REVIVE_WAIT_MAX_USEC)) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
                int r;

                r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Ping", &m);
                if (r >= 0)
                        r = sd_bus_message_set_auto_start(m, false);
                if (r >= 0)
                        r = sd_bus_call(c->bus, m, MAX(usec_sub(deadline, now(CLOCK_MONOTONIC)), USEC_PER_MSEC), NULL, NULL);
                if (r >= 0 || sd_bus_is_ready(c->bus) <= 0 || now(CLOCK_MONOTONIC) >= deadline)
                        return r;
                (void) usleep((useconds_t) wait);
        }
}

static int reconnect_broker(pmd_connection *c, usec_t deadline) {
        sd_bus *bus;
        int r;

        r = c->scope == PMD_SCOPE_USER ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
        if (r < 0)
                return r;
        r = bus_wait_ready(bus, deadline);
        if (r < 0) {
                sd_bus_close_unref(bus);
                return r;
        }
        sd_bus_close_unref(c->bus);
        c->bus = bus;
        return 0;
}

/* By the bus, which may be restarted itself. */
static int find_next_on_bus(pmd_connection *c, usec_t deadline) {
        int r = sd_bus_is_ready(c->bus) > 0 ? 0 : -ENOTCONN;

        for (usec_t wait = REVIVE_WAIT_MIN_USEC;; wait = MIN(wait * 2, REVIVE_WAIT_MAX_USEC)) {
                if (r < 0)
                        r = reconnect_broker(c, deadline);
                if (r >= 0)
                        r = wait_on_bus(c, deadline);
                if (r >= 0 || now(CLOCK_MONOTONIC) >= deadline)
                        return r;
                (void) usleep((useconds_t) wait);
        }
}

int connection_find_next_pmd(pmd_connection *c) {
        usec_t patience = c->timeout_usec > 0 ? MIN(c->timeout_usec, REVIVE_TIMEOUT_USEC) : REVIVE_TIMEOUT_USEC;
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), patience);
        int r;

        r = c->on_broker ? find_next_on_bus(c, deadline) : connect_next(c, deadline);
        if (r < 0)
                return r;
        c->n_revivals++;
        return c->interactive ? sd_bus_set_allow_interactive_authorization(c->bus, true) : 0;
}

static pmd_scope scope_from_instance(InstanceScope s) {
        switch (s) {
        case INSTANCE_SYSTEM:
                return PMD_SCOPE_SYSTEM;
        case INSTANCE_USER:
                return PMD_SCOPE_USER;
        default:
                return PMD_SCOPE_PRIVATE;
        }
}

static InstanceScope scope_to_instance(pmd_scope s) {
        switch (s) {
        case PMD_SCOPE_SYSTEM:
                return INSTANCE_SYSTEM;
        case PMD_SCOPE_USER:
                return INSTANCE_USER;
        default:
                return INSTANCE_PRIVATE;
        }
}

/* Where pmd's own messages are. */
static char *make_log_hint(const Instance *i) {
        switch (i->scope) {
        case INSTANCE_SYSTEM:
                return strdup("'journalctl -u pmd'");
        case INSTANCE_USER:
                return strdup("'journalctl --user -u pmd'");
        default:
                return strjoin(i->home, "/pmd.log");
        }
}

static int connection_new(pmd_scope scope, const char *home, unsigned flags, pmd_connection **ret, pmd_error *reterr) {
        _cleanup_(pmd_closep) pmd_connection *c = NULL;
        int r;

        if (scope == PMD_SCOPE_AUTO)
                scope = home ? PMD_SCOPE_PRIVATE : scope_from_instance(instance_scope_default());

        c = new0(pmd_connection, 1);
        if (!c)
                return error_set(reterr, ENOMEM, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");
        c->scope = scope;
        c->no_start = flags & PMD_OPEN_NO_START;
        c->interactive = flags & PMD_OPEN_INTERACTIVE;

        r = instance_new(scope_to_instance(scope), home, &c->instance);
        if (r == -ENXIO && scope == PMD_SCOPE_USER)
                return error_set(reterr, ENOMEDIUM, ERROR_NO_SERVER,
                                 "XDG_RUNTIME_DIR is not set, so there is no session to find pmd in. Log in as this user "
                                 "(su and sudo make no session), use --system, or set PMD_HOME=DIR for a pmd that needs none.");
        if (r == -ENXIO)
                return error_set(reterr, ENOMEDIUM, ERROR_NO_SERVER, "HOME is not set. Set it, or PMD_HOME=DIR.");
        if (r < 0)
                return error_set(reterr, r, SD_BUS_ERROR_FAILED, "Cannot tell where pmd is: %m");
        c->log_hint = make_log_hint(c->instance);
        if (!c->log_hint)
                return error_set(reterr, ENOMEM, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");

        *ret = TAKE_PTR(c);
        return 0;
}

_public_ int pmd_open(pmd_scope scope, const char *home, unsigned flags, pmd_connection **ret, pmd_error *reterr) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), OPEN_TIMEOUT_USEC);
        _cleanup_(pmd_closep) pmd_connection *c = NULL;
        int r;

        r = connection_new(scope, home, flags, &c, reterr);
        if (r < 0)
                return r;

        r = c->scope == PMD_SCOPE_PRIVATE ? open_private(c, deadline, reterr) : open_system_or_user(c, deadline, reterr);
        if (r < 0)
                return r;

        if (c->interactive) {
                r = sd_bus_set_allow_interactive_authorization(c->bus, true);
                if (r < 0)
                        return error_from_errno(c, r, reterr);
        }

        *ret = TAKE_PTR(c);
        return 0;
}

_public_ pmd_connection *pmd_close(pmd_connection *c) {
        if (!c)
                return NULL;

        connection_drop_requests(c);
        connection_drop_events(c);
        sd_bus_slot_unref(c->job_removed_slot);
        sd_bus_slot_unref(c->progress_slot);
        sd_bus_slot_unref(c->owner_slot);
        sd_bus_slot_unref(c->disconnected_slot);
        sd_bus_close_unref(c->bus);
        instance_free(c->instance);
        free(c->log_hint);
        return mfree(c);
}
