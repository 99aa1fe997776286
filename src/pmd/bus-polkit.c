/* SPDX-License-Identifier: MIT */
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "pmd/bus-polkit.h"
#include "shared/list.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_FLAG_INTERACTIVE 1U

/* Someone may have to type a password. */
#define INTERACTIVE_TIMEOUT_USEC (5 * 60 * USEC_PER_SEC)

/* What one connection, and one user with all of his, can have us ask at a time. There is no limit for all of them, at which root would be refused, too. */
#define QUERIES_PER_SENDER_MAX 32U
#define QUERIES_PER_USER_MAX 32U

/* A message that waits for polkit is kept, and somebody may take minutes to type a password. */
#define WAITING_SIZE_MAX (1024U * 1024U)

/* An answer is taken in the next turn of the loop, unless the object is gone that the call was for. */
#define ANSWER_STALE_USEC (60 * USEC_PER_SEC)

#define UID_NONE ((uid_t) -1)

#define TOO_MANY "Too many calls wait for their authorization, try again."

/* A method call that waits for the answer who its caller is, and then for polkit's. */
typedef struct Query {
        BusPolkit *polkit;
        sd_bus_message *message;
        const char *action; /* static, as the handlers' are */
        char **details;
        uid_t good_user;

        sd_bus_slot *slot;
        uid_t uid;
        usec_t answered_at; /* 0: not yet */
        bool allowed;
        sd_bus_error error;
        LIST_FIELDS(struct Query, queries);
} Query;

struct BusPolkit {
        bool ask_polkit;
        LIST_HEAD(Query, queries);
};

static bool uid_is_trusted(uid_t uid, uid_t good_user) {
        return uid == 0 || uid == geteuid() || (good_user != UID_NONE && uid == good_user);
}

/* ---- queries ---- */

static Query *query_free(Query *q) {
        if (!q)
                return NULL;

        if (q->polkit)
                LIST_REMOVE(queries, q->polkit->queries, q);
        sd_bus_slot_unref(q->slot);
        sd_bus_message_unref(q->message);
        sd_bus_error_free(&q->error);
        strv_free(q->details);
        return mfree(q);
}
DEFINE_CLEANUP_FUNC(Query *, query_free);

static Query *find_query(BusPolkit *p, sd_bus_message *m) {
        LIST_FOREACH(queries, q, p->queries)
                if (q->message == m)
                        return q;
        return NULL;
}

static unsigned count_queries_of(BusPolkit *p, const char *sender) {
        unsigned n = 0;

        LIST_FOREACH(queries, q, p->queries)
                if (streq_ptr(sd_bus_message_get_sender(q->message), sender))
                        n++;
        return n;
}

static unsigned count_queries_of_user(BusPolkit *p, uid_t uid) {
        unsigned n = 0;

        LIST_FOREACH(queries, q, p->queries)
                if (q->uid == uid)
                        n++;
        return n;
}

static void drop_stale_queries(BusPolkit *p) {
        usec_t t = now(CLOCK_MONOTONIC);

        LIST_FOREACH_SAFE(queries, q, p->queries)
                if (q->answered_at != 0 && usec_sub(t, q->answered_at) > ANSWER_STALE_USEC)
                        query_free(q);
}

static int refuse(sd_bus_error *reterr, const char *action) {
        return sd_bus_error_setf(reterr, SD_BUS_ERROR_ACCESS_DENIED,
                        "Access denied: this needs the polkit authorization %s, or root.", action);
}

/* Hands the message to its handler once more, which finds the answer in the query. */
static int query_answer(Query *q, bool allowed) {
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        q->answered_at = now(CLOCK_MONOTONIC);
        q->allowed = allowed;

        r = sd_bus_message_rewind(q->message, true);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(sd_bus_message_get_bus(q->message), q->message);
        if (r < 0) {
                (void) sd_bus_reply_method_errno(q->message, r, NULL);
                query_free(q);
        }
        return 0;
}

static int query_refuse(Query *q, const sd_bus_error *e) {
        /* Where the lack of memory prevents the reason, query_take_answer() says "access denied". */
        (void) sd_bus_error_copy(&q->error, e);
        return query_answer(q, false);
}

/* ---- polkit ---- */

static int on_authorization(sd_bus_message *reply, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Query *q = ASSERT_PTR(userdata);
        int r, authorized, challenge;

        if (sd_bus_message_is_method_error(reply, NULL)) {
                const sd_bus_error *e = sd_bus_message_get_error(reply);

                if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                        (void) sd_bus_error_setf(&error, SD_BUS_ERROR_ACCESS_DENIED,
                                        "Access denied: polkit is not there to be asked about %s, so only root may do this.", q->action);
                else
                        (void) sd_bus_error_setf(&error, SD_BUS_ERROR_ACCESS_DENIED,
                                        "Access denied: polkit could not be asked about %s: %s", q->action, strna(e->message));
                return query_refuse(q, &error);
        }

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r < 0) {
                (void) sd_bus_error_set_errnof(&error, r, "Failed to read the answer of polkit: %m");
                return query_refuse(q, &error);
        }

        if (authorized)
                return query_answer(q, true);
        if (challenge)
                (void) sd_bus_error_setf(&error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                "This needs the polkit authorization %s, for which a password has to be asked.", q->action);
        else
                (void) refuse(&error, q->action);
        return query_refuse(q, &error);
}

static int append_details(sd_bus_message *m, char *const *details) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{ss}");
        if (r < 0)
                return r;
        for (char *const *d = details; d && d[0] && d[1]; d += 2) {
                r = sd_bus_message_append(m, "{ss}", d[0], d[1]);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

static int query_ask_polkit(Query *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = sd_bus_message_get_bus(q->message);
        bool interactive;
        int r;

        interactive = sd_bus_message_get_allow_interactive_authorization(q->message) > 0;

        r = sd_bus_message_new_method_call(bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "(sa{sv})s",
                        "system-bus-name", 1, "name", "s", sd_bus_message_get_sender(q->message), q->action);
        if (r < 0)
                return r;
        r = append_details(m, q->details);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "us", interactive ? POLKIT_FLAG_INTERACTIVE : 0U, NULL);
        if (r < 0)
                return r;

        return sd_bus_call_async(bus, &q->slot, m, on_authorization, q, interactive ? INTERACTIVE_TIMEOUT_USEC : 0);
}

/* ---- the caller ---- */

/* About: what is in containers, and how long the strings are. sd-bus does not tell. */
static int add_size(sd_bus_message *m, size_t *size) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0 && *size <= WAITING_SIZE_MAX) {
                union {
                        const char *text;
                        uint64_t number;
                } v = {};

                if (contents) {
                        *size += strlen(contents);
                        r = sd_bus_message_enter_container(m, type, contents);
                        if (r > 0)
                                r = add_size(m, size);
                        if (r < 0 || *size > WAITING_SIZE_MAX)
                                return r;
                        r = sd_bus_message_exit_container(m);
                } else {
                        r = sd_bus_message_read_basic(m, type, &v);
                        *size += sizeof(v) + (r > 0 && IN_SET(type, 's', 'o', 'g') ? strlen(v.text) : 0);
                }
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

/* Not for root and our own user: they do not wait. */
static int check_limits(Query *q, sd_bus_error *reterr) {
        size_t size = 0;
        int r;

        if (count_queries_of_user(q->polkit, q->uid) > QUERIES_PER_USER_MAX)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, TOO_MANY);

        r = sd_bus_message_rewind(q->message, true);
        if (r >= 0)
                r = add_size(q->message, &size);
        if (r >= 0 && size > WAITING_SIZE_MAX)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, "The call is too large to wait for an authorization; root may make it.");
        return r < 0 ? r : 0;
}

static int on_caller_known(sd_bus_message *reply, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Query *q = ASSERT_PTR(userdata);
        uint32_t uid;
        int r;

        if (sd_bus_message_is_method_error(reply, NULL))
                return query_refuse(q, sd_bus_message_get_error(reply));

        r = sd_bus_message_read(reply, "u", &uid);
        if (r >= 0) {
                q->uid = uid;
                if (uid_is_trusted(q->uid, q->good_user))
                        return query_answer(q, true);
                if (!q->polkit->ask_polkit) {
                        (void) sd_bus_error_set(&error, SD_BUS_ERROR_ACCESS_DENIED,
                                "Access denied: this pmd serves its own user and root only.");
                        return query_refuse(q, &error);
                }
                q->slot = sd_bus_slot_unref(q->slot);
                r = check_limits(q, &error);
                if (r >= 0)
                        r = query_ask_polkit(q);
                if (sd_bus_error_is_set(&error))
                        return query_refuse(q, &error);
        }
        if (r < 0) {
                (void) sd_bus_error_set_errnof(&error, r, "Failed to check the authorization: %m");
                return query_refuse(q, &error);
        }
        return 0;
}

static int ask_for_caller(
                BusPolkit *p,
                sd_bus_message *m,
                const char *action,
                const char *const *details,
                uid_t good_user,
                sd_bus_error *reterr) {

        _cleanup_(query_freep) Query *q = NULL;
        const char *sender = sd_bus_message_get_sender(m);
        int r;

        drop_stale_queries(p);
        if (count_queries_of(p, sender) >= QUERIES_PER_SENDER_MAX)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, TOO_MANY);

        q = new(Query, 1);
        if (!q)
                return -ENOMEM;
        *q = (Query) { .action = action, .good_user = good_user, .uid = UID_NONE };

        q->details = strv_copy((char *const *) details);
        if (details && !q->details)
                return -ENOMEM;
        q->message = sd_bus_message_ref(m);

        r = sd_bus_call_method_async(sd_bus_message_get_bus(m), &q->slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                        "org.freedesktop.DBus", "GetConnectionUnixUser", on_caller_known, q, "s", sender);
        if (r < 0)
                return r;

        q->polkit = p;
        LIST_PREPEND(queries, p->queries, q);
        TAKE_PTR(q);
        return 0;
}

static int check_peer(sd_bus_message *m, uid_t good_user, uid_t *ret_uid, sd_bus_error *reterr) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        uid_t uid;
        int r;

        r = sd_bus_get_owner_creds(sd_bus_message_get_bus(m), SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        if (r < 0)
                return r;

        if (!uid_is_trusted(uid, good_user))
                return sd_bus_error_set(reterr, SD_BUS_ERROR_ACCESS_DENIED,
                        "Access denied: this socket serves pmd's own user and root only.");
        if (ret_uid)
                *ret_uid = uid;
        return 1;
}

static int query_take_answer(Query *query, uid_t *ret_uid, sd_bus_error *reterr) {
        _cleanup_(query_freep) Query *q = query;

        if (!q->allowed) {
                if (sd_bus_error_is_set(&q->error))
                        return sd_bus_error_move(reterr, &q->error);
                return refuse(reterr, q->action);
        }
        if (ret_uid)
                *ret_uid = q->uid;
        return 1;
}

int bus_polkit_check(
                BusPolkit *p,
                sd_bus_message *m,
                const char *action,
                const char *const *details,
                uid_t good_user,
                uid_t *ret_uid,
                sd_bus_error *reterr) {

        Query *q;

        /* Not by the lack of a sender: a peer on a socket of ours can write what it likes into that field. */
        if (sd_bus_is_bus_client(sd_bus_message_get_bus(m)) <= 0)
                return check_peer(m, good_user, ret_uid, reterr);

        q = find_query(p, m);
        if (!q)
                return ask_for_caller(p, m, action, details, good_user, reterr);
        if (q->answered_at == 0)
                return 0;
        /* While the answer was on its way, what the message names may have become another user's. */
        if (q->good_user != good_user || !streq(q->action, action))
                return sd_bus_error_set(reterr, SD_BUS_ERROR_ACCESS_DENIED, "Access denied: what was asked about has changed meanwhile, try again.");
        return query_take_answer(q, ret_uid, reterr);
}

int bus_polkit_new(bool ask_polkit, BusPolkit **ret) {
        BusPolkit *p;

        p = new0(BusPolkit, 1);
        if (!p)
                return -ENOMEM;
        p->ask_polkit = ask_polkit;

        *ret = p;
        return 0;
}

BusPolkit *bus_polkit_free(BusPolkit *p) {
        if (!p)
                return NULL;

        while (p->queries)
                query_free(p->queries);
        return mfree(p);
}
