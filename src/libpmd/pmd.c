/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libpmd/pmd-internal.h"
#include "shared/fd-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

/* How long pmd may take to be gone after it has said good-bye. */
#define EXIT_TIMEOUT_USEC (10 * USEC_PER_SEC)

static const struct {
        const char *name;
        int error;
} error_table[] = {
        { PMD_ERROR_NO_SUCH_APP, ESRCH },
        { PMD_ERROR_NO_SUCH_PROCESS, ESRCH },
        { PMD_ERROR_APP_EXISTS, EEXIST },
        { PMD_ERROR_INVALID_DEFINITION, EINVAL },
        { PMD_ERROR_NOT_EXECUTABLE, ENOEXEC },
        { PMD_ERROR_NOT_RUNNING, ESRCH },
        { PMD_ERROR_INVALID_SIGNAL, EINVAL },
        { PMD_ERROR_TOO_MANY_JOBS, EBUSY },
        { PMD_ERROR_EXITING, ESHUTDOWN },
        { PMD_ERROR_SPAWN_FAILED, ECHILD },
        { PMD_ERROR_EXEC_FAILED, ENOEXEC },
        { PMD_ERROR_EXITED_EARLY, ECHILD },
        { PMD_ERROR_NOT_READY, ETIMEDOUT },
        { PMD_ERROR_ERRORED, ECHILD },
        { PMD_ERROR_KILL_FAILED, EBUSY },
        { PMD_ERROR_CANCELED, ECANCELED },
        { PMD_ERROR_NOTHING_TO_SAVE, ENODATA },
        { PMD_ERROR_NO_SAVED_LIST, ENOENT },
        { PMD_ERROR_SAVED_LIST_DAMAGED, EBADMSG },
        { PMD_ERROR_NO_CHANNEL, EOPNOTSUPP },
        { PMD_ERROR_CHANNEL_FULL, ENOBUFS },
        { PMD_ERROR_NO_STDIN, EOPNOTSUPP },
        { PMD_ERROR_NO_SUCH_ACTION, ENOENT },
        { PMD_ERROR_NO_ANSWER, ETIMEDOUT },
        { SD_BUS_ERROR_NOT_SUPPORTED, EOPNOTSUPP },
        { SD_BUS_ERROR_SERVICE_UNKNOWN, ECONNREFUSED },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, ECONNREFUSED },
        { SD_BUS_ERROR_NO_REPLY, ETIMEDOUT },
        { SD_BUS_ERROR_TIMEOUT, ETIMEDOUT },
        { SD_BUS_ERROR_DISCONNECTED, ECONNRESET },
        { SD_BUS_ERROR_ACCESS_DENIED, EACCES },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, EACCES },
};

_public_ void pmd_error_free(pmd_error *e) {
        if (!e)
                return;
        e->name = mfree(e->name);
        e->message = mfree(e->message);
}

int error_set(pmd_error *reterr, int error, const char *name, const char *format, ...) {
        char *message = NULL;
        va_list ap;

        if (!reterr)
                return -abs(error);

        va_start(ap, format);
        errno = abs(error); /* for %m */
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);

        pmd_error_free(reterr);
        reterr->name = strdup(name);
        reterr->message = message;
        return -abs(error);
}

static int error_name_to_errno(const sd_bus_error *e) {
        int error;

        for (size_t i = 0; i < ELEMENTSOF(error_table); i++)
                if (sd_bus_error_has_name(e, error_table[i].name))
                        return error_table[i].error;

        /* Activation failed: org.freedesktop.DBus.Error.Spawn.… */
        if (startswith(e->name, "org.freedesktop.DBus.Error.Spawn."))
                return ECONNREFUSED;

        error = sd_bus_error_get_errno(e);
        return error > 0 ? error : EIO;
}

int error_from_errno(const pmd_connection *c, int error, pmd_error *reterr) {
        switch (abs(error)) {
        case ECONNRESET:
        case ENOTCONN:
        case EPIPE:
                return error_set(reterr, ECONNRESET, SD_BUS_ERROR_DISCONNECTED,
                                 "The connection to pmd broke: pmd has ended or was restarted. See %s.", c->log_hint);
        case ETIMEDOUT:
                return error_set(reterr, ETIMEDOUT, SD_BUS_ERROR_TIMEOUT, "pmd did not answer in time. See %s.", c->log_hint);
        case ENOMEM:
                return error_set(reterr, ENOMEM, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");
        case EBADMSG:
        case ENXIO:
                return error_set(reterr, EBADMSG, SD_BUS_ERROR_INCONSISTENT_MESSAGE,
                                 "pmd answered something else than this client expects. Are their versions the same?");
        default:
                return error_set(reterr, error, SD_BUS_ERROR_FAILED, "Talking to pmd failed: %m");
        }
}

int error_from_bus(const pmd_connection *c, const sd_bus_error *e, pmd_error *reterr) {
        int error = error_name_to_errno(e);

        /* What sd-bus answers itself to calls that are open when the connection ends looks like a timeout. */
        if (error == ETIMEDOUT && sd_bus_is_ready(c->bus) <= 0)
                error = ECONNRESET;
        if (IN_SET(error, ECONNRESET, ENOTCONN, EPIPE, ETIMEDOUT, ENOMEM))
                return error_from_errno(c, error, reterr);

        return error_set(reterr, error, e->name, "%s", isempty(e->message) ? e->name : e->message);
}

_public_ void *pmd_get_bus(pmd_connection *c) {
        connection_lend_bus(c);
        return c->bus;
}

_public_ pmd_scope pmd_get_scope(pmd_connection *c) {
        return c->scope;
}

_public_ const char *pmd_get_home(pmd_connection *c) {
        return c->instance->home;
}

_public_ bool pmd_was_started(pmd_connection *c) {
        return c->was_started;
}

_public_ void pmd_set_timeout(pmd_connection *c, uint64_t usec) {
        c->timeout_usec = usec;
}

_public_ int pmd_get_fd(pmd_connection *c) {
        return sd_bus_get_fd(c->bus);
}

_public_ int pmd_get_events(pmd_connection *c) {
        return sd_bus_get_events(c->bus);
}

_public_ int pmd_get_timeout(pmd_connection *c, uint64_t *ret_usec) {
        if (c->completed) {
                *ret_usec = 0;
                return 1;
        }
        return sd_bus_get_timeout(c->bus, ret_usec);
}

static bool error_is_loss(int r) {
        return IN_SET(r, -ECONNRESET, -ENOTCONN, -EPIPE, -ESHUTDOWN);
}

_public_ int pmd_dispatch(pmd_connection *c) {
        int r;

        if (connection_dispatch_completed(c))
                return 1;

        r = c->lost ? -ECONNRESET : sd_bus_process(c->bus, NULL);
        if (!error_is_loss(r))
                return r;

        r = connection_revive(c);
        return r < 0 && !c->completed ? r : 1;
}

_public_ int pmd_wait(pmd_connection *c, uint64_t usec) {
        if (c->completed || c->lost || sd_bus_is_open(c->bus) <= 0)
                return 1;
        return sd_bus_wait(c->bus, usec);
}

int bus_process_or_wait(sd_bus *bus, usec_t deadline) {
        usec_t left = USEC_INFINITY;
        int r;

        r = sd_bus_process(bus, NULL);
        if (r != 0)
                return r < 0 ? r : 0;

        if (deadline != USEC_INFINITY) {
                left = usec_sub(deadline, now(CLOCK_MONOTONIC));
                if (left == 0)
                        return -ETIMEDOUT;
        }

        r = sd_bus_wait(bus, left);
        return r < 0 && r != -EINTR ? r : 0;
}

int connection_new_call(pmd_connection *c, const char *interface, const char *member, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, c->on_broker ? PMD_BUS_NAME : NULL, PMD_PATH, interface, member);
        if (r < 0)
                return r;
        if (c->no_start) {
                r = sd_bus_message_set_auto_start(m, false);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(m);
        return 0;
}

int connection_copy_call(pmd_connection *c, sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        int r;

        r = connection_new_call(c, sd_bus_message_get_interface(m), sd_bus_message_get_member(m), &copy);
        if (r < 0)
                return r;
        r = sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;
        r = sd_bus_message_copy(copy, m, true);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(copy);
        return 0;
}

bool bus_error_is_loss(const pmd_connection *c, int error, const sd_bus_error *e) {
        if (error_is_loss(error) || sd_bus_is_ready(c->bus) <= 0)
                return true;
        return c->on_broker && e && sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY);
}

/* Whether a call that may have been carried out before pmd died can be sent again without doing it twice. Requests have a token for that. */
static bool may_repeat(sd_bus_message *m) {
        static const char *const members[] = { "SendSignal", "ToggleWatch", "SendMessage", "SendLine", "Trigger", "Exit", "Reexecute" };

        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (streq_ptr(sd_bus_message_get_member(m), members[i]))
                        return false;
        return true;
}

/* What was closed at the other end while nothing was going on. */
static bool connection_is_dead(const pmd_connection *c) {
        struct pollfd p = { .fd = sd_bus_get_fd(c->bus) };

        return p.fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)));
}

static int say_unknown_outcome(pmd_error *reterr) {
        return error_set(reterr, ECONNRESET, SD_BUS_ERROR_DISCONNECTED,
                         "pmd died before it answered, so nobody knows whether this has been done. It has not been tried again.");
}

/* Puts a copy of m, for the pmd that comes after the one that died, in the place of *call. */
static int renew_call(pmd_connection *c, sd_bus_message *m, sd_bus_message **call) {
        sd_bus_message *copy;
        int r;

        r = sd_bus_message_seal(m, 1, 0);
        if (r < 0 && r != -EPERM) /* it has been sent */
                return r;
        r = connection_revive(c);
        if (r < 0)
                return -ECONNRESET;
        r = connection_copy_call(c, m, &copy);
        if (r < 0)
                return r;
        sd_bus_message_unref(*call);
        *call = copy;
        return 0;
}

int connection_call(pmd_connection *c, sd_bus_message *m, uint64_t timeout, sd_bus_message **ret, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = sd_bus_message_ref(m);
        int r;

        if (connection_is_dead(c)) {
                r = renew_call(c, m, &call);
                if (r < 0)
                        return error_from_errno(c, r, reterr);
        }

        for (unsigned i = 0;; i++) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

                r = sd_bus_call(c->bus, call, timeout, &error, ret);
                if (r >= 0)
                        return 0;
                if (i >= REPEATS_MAX || !bus_error_is_loss(c, r, &error))
                        return sd_bus_error_is_set(&error) ? error_from_bus(c, &error, reterr) : error_from_errno(c, r, reterr);
                if (!may_repeat(m))
                        return say_unknown_outcome(reterr);

                r = renew_call(c, m, &call);
                if (r < 0)
                        return error_from_errno(c, r, reterr);
        }
}

int message_read_ids(sd_bus_message *m, uint32_t **ret, size_t *ret_n) {
        const void *p;
        uint32_t *ids;
        size_t size;
        int r;

        r = sd_bus_message_read_array(m, 'u', &p, &size);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENXIO;

        ids = new(uint32_t, size / sizeof(uint32_t));
        if (!ids)
                return -ENOMEM;
        if (size > 0)
                memcpy(ids, p, size);

        *ret = ids;
        *ret_n = size / sizeof(uint32_t);
        return 0;
}

/* A method that takes and gives nothing we care for. */
static int call_simple(pmd_connection *c, const char *member, uint64_t timeout, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, member, &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, timeout, NULL, reterr);
}

_public_ int pmd_ping(pmd_connection *c, pmd_error *reterr) {
        return call_simple(c, "Ping", c->timeout_usec, reterr);
}

_public_ int pmd_reopen_logs(pmd_connection *c, pmd_error *reterr) {
        return call_simple(c, "ReopenLogs", c->timeout_usec, reterr);
}

static int get_property(pmd_connection *c, const char *name, sd_bus_message **ret, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, "org.freedesktop.DBus.Properties", "Get", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", PMD_INTERFACE_MANAGER, name);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, c->timeout_usec, ret, reterr);
}

_public_ int pmd_get_version(pmd_connection *c, char **ret, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *version;
        char *copy;
        int r;

        r = get_property(c, "Version", &reply, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "v", "s", &version);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        copy = strdup(version);
        if (!copy)
                return error_from_errno(c, -ENOMEM, reterr);
        *ret = copy;
        return 0;
}

/* Sends a call that answers with the ids it touched. */
static int call_for_ids(pmd_connection *c, sd_bus_message *m, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;

        r = message_read_ids(reply, ret_ids, ret_n);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

static int call_with_targets(
                pmd_connection *c, const char *member, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {

        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, member, &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        return call_for_ids(c, m, ret_ids, ret_n, reterr);
}

_public_ int pmd_flush_logs(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {
        return call_with_targets(c, "FlushLogs", targets, ret_ids, ret_n, reterr);
}

_public_ int pmd_reset(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {
        return call_with_targets(c, "Reset", targets, ret_ids, ret_n, reterr);
}

_public_ int pmd_toggle_watch(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {
        return call_with_targets(c, "ToggleWatch", targets, ret_ids, ret_n, reterr);
}

_public_ int pmd_set_properties(
                pmd_connection *c, char *const *targets, const pmd_definition *properties, uint32_t **ret_ids, size_t *ret_n,
                pmd_error *reterr) {

        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "SetProperties", &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        r = message_append_definition(m, properties, reterr);
        if (r < 0)
                return r;

        return call_for_ids(c, m, ret_ids, ret_n, reterr);
}

_public_ int pmd_send_signal(pmd_connection *c, char *const *targets, bool whole_unit, int signo,
                             uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "SendSignal", &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r >= 0)
                r = sd_bus_message_append(m, "si", whole_unit ? "all" : "main", signo);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        return call_for_ids(c, m, ret_ids, ret_n, reterr);
}

static int on_owner_gone(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        bool *gone = ASSERT_PTR(userdata);
        const char *name, *before, *after;

        if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0 && isempty(after))
                *gone = true;
        return 0;
}

/* The pidfd of pmd, or -EBADF. The kernel names who called listen(), which is not pmd if it was handed its socket; pmd says its
 * pid, which is not ours to use if it lives in another pid namespace. What both say is right. */
static int open_pidfd(pmd_connection *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t pid;
        int fd;

        if (c->on_broker || c->peer_pid <= 0 || get_property(c, "PID", &reply, NULL) < 0)
                return -EBADF;
        if (sd_bus_message_read(reply, "v", "u", &pid) < 0 || pid != (uint32_t) c->peer_pid)
                return -EBADF;

        fd = (int) syscall(SYS_pidfd_open, c->peer_pid, 0);
        return fd < 0 ? -EBADF : fd;
}

/* A process that has closed its sockets still holds the lock for a moment, and the next pmd would meet it. */
static int wait_for_process(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), EXIT_TIMEOUT_USEC);
        int n;

        if (pidfd < 0)
                return 0;

        do
                n = poll(&p, 1, (int) (usec_sub(deadline, now(CLOCK_MONOTONIC)) / USEC_PER_MSEC));
        while (n < 0 && errno == EINTR);

        return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

static int wait_until_gone(pmd_connection *c, const bool *name_gone, int pidfd) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), EXIT_TIMEOUT_USEC);
        int r;

        while (!*name_gone && sd_bus_is_open(c->bus) > 0) {
                r = bus_process_or_wait(c->bus, deadline);
                if (IN_SET(r, -ECONNRESET, -ENOTCONN, -EPIPE))
                        break;
                if (r < 0)
                        return r;
        }

        return wait_for_process(pidfd);
}

static int watch_name(pmd_connection *c, bool *gone, sd_bus_slot **ret) {
        if (!c->on_broker)
                return 0;
        return sd_bus_add_match_async(c->bus, ret,
                                      "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                      "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" PMD_BUS_NAME "'",
                                      on_owner_gone, NULL, gone);
}

static int end_and_wait(pmd_connection *c, const char *member, uint64_t timeout, int pidfd, pmd_error *reterr) {
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        bool name_gone = false;
        int r;

        r = watch_name(c, &name_gone, &slot);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        r = call_simple(c, member, timeout, reterr);
        if (r < 0)
                return r;

        r = wait_until_gone(c, &name_gone, pidfd);
        if (r == -ETIMEDOUT)
                return error_set(reterr, r, SD_BUS_ERROR_TIMEOUT, "pmd has said that it ends, but has not %u s later. See %s.",
                                 (unsigned) (EXIT_TIMEOUT_USEC / USEC_PER_SEC), c->log_hint);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

_public_ int pmd_exit(pmd_connection *c, pmd_error *reterr) {
        _cleanup_close_ int pidfd = open_pidfd(c);

        return end_and_wait(c, "Exit", UINT64_MAX, pidfd, reterr); /* stopping apps takes as long as their kill timeouts say */
}

_public_ int pmd_reexecute(pmd_connection *c, pmd_error *reterr) {
        _cleanup_close_ int pidfd = open_pidfd(c);
        int r;

        r = end_and_wait(c, "Reexecute", c->timeout_usec, pidfd, reterr);
        if (r < 0)
                return r;
        r = connection_revive(c);
        return r < 0 ? error_from_errno(c, -ECONNRESET, reterr) : 0;
}
