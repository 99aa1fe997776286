/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-request.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define EARLY_MAX 4096U
#define RESURRECT_SIGNATURE "sauauasas"

_public_ void pmd_result_free(pmd_result *r) {
        if (!r)
                return;
        for (size_t i = 0; i < r->n_failures; i++) {
                free(r->failures[i].error_name);
                free(r->failures[i].message);
        }
        free(r->failures);
        free(r->process_ids);
        *r = (pmd_result) {};
}

/* How they ended; not what the request is about. */
static void result_forget_jobs(pmd_result *r) {
        _cleanup_free_ uint32_t *ids = TAKE_PTR(r->process_ids);
        size_t n = r->n_processes;

        pmd_result_free(r);
        r->process_ids = TAKE_PTR(ids);
        r->n_processes = n;
}

Request *request_free(Request *q) {
        if (!q)
                return NULL;

        if (q->waited_for && q->ended)
                ; /* on no list any more */
        else if (q->ended)
                LIST_REMOVE(requests, q->connection->completed, q);
        else
                LIST_REMOVE(requests, q->connection->requests, q);

        sd_bus_slot_unref(q->call_slot);
        sd_bus_slot_unref(q->resolve_slot);
        sd_bus_message_unref(q->call);
        sd_bus_message_unref(q->resolve);
        pmd_result_free(&q->result);
        pmd_error_free(&q->error);
        pmd_restored_free(&q->restored);
        free(q->pmd);
        free(q->jobs);
        return mfree(q);
}

int request_new(pmd_connection *c, Request **ret) {
        Request *q = new0(Request, 1);

        if (!q)
                return -ENOMEM;
        q->connection = c;
        LIST_APPEND(requests, c->requests, q);
        *ret = q;
        return 0;
}

static void drop_early(pmd_connection *c) {
        for (size_t i = 0; i < c->n_early; i++)
                sd_bus_message_unref(c->early[i]);
        c->n_early = 0;
}

static bool anyone_calling(const pmd_connection *c) {
        LIST_FOREACH(requests, q, c->requests)
                if (q->calling)
                        return true;
        return false;
}

static void request_end(Request *q, int outcome) {
        pmd_connection *c = q->connection;

        LIST_REMOVE(requests, c->requests, q);
        q->calling = false;
        q->ended = true;
        q->outcome = outcome;
        q->refused = outcome < 0 && outcome != -EREMOTEIO;
        q->call_slot = sd_bus_slot_unref(q->call_slot);
        q->resolve_slot = sd_bus_slot_unref(q->resolve_slot);
        if (q->refused)
                pmd_result_free(&q->result);
        if (!q->waited_for)
                LIST_APPEND(requests, c->completed, q);
        if (!anyone_calling(c))
                drop_early(c);
}

static void request_fail(Request *q, int error) {
        request_end(q, error_from_errno(q->connection, error, &q->error));
}

static int result_add_failure(pmd_result *result, uint32_t id, const char *name, const char *message) {
        pmd_failure *f;

        f = reallocarray(result->failures, result->n_failures + 1, sizeof(pmd_failure));
        if (!f)
                return -ENOMEM;
        result->failures = f;

        f += result->n_failures;
        *f = (pmd_failure) { .process_id = id, .error_name = strdup(name), .message = strdup(message) };
        if (!f->error_name || !f->message) {
                free(f->error_name);
                free(f->message);
                return -ENOMEM;
        }

        result->n_failures++;
        return 0;
}

static int read_failures(sd_bus_message *m, pmd_result *result) {
        const char *name, *message;
        uint32_t id;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(uss)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "(uss)", &id, &name, &message)) > 0) {
                r = result_add_failure(result, id, name, message);
                if (r < 0)
                        return r;
        }
        return r;
}

static bool request_has_job(const Request *q, uint32_t id) {
        for (size_t i = 0; i < q->n_jobs; i++)
                if (q->jobs[i] == id)
                        return true;
        return false;
}

static void request_forget_job(Request *q, uint32_t id) {
        for (size_t i = 0; i < q->n_jobs; i++)
                if (q->jobs[i] == id) {
                        q->jobs[i] = q->jobs[--q->n_jobs];
                        return;
                }
}

/* Of a JobRemoved signal; its text is the message's. */
typedef struct JobEnd {
        int error; /* it cannot be read */
        uint32_t id;
        const char *result;
} JobEnd;

/* The failures come next. */
static JobEnd read_job_end(sd_bus_message *m) {
        JobEnd end = {};

        end.error = sd_bus_message_rewind(m, true);
        if (end.error >= 0)
                end.error = sd_bus_message_read(m, "usss", &end.id, NULL, NULL, &end.result);
        return end;
}

/* Anybody on the bus can send us what looks like it. */
static bool is_from_pmd(const Request *q, sd_bus_message *m) {
        return streq_ptr(sd_bus_message_get_sender(m), q->pmd);
}

/* Takes note of the end of a job. 1 if it is one of ours, which is nobody else's then. */
static int request_take_job(Request *q, sd_bus_message *m, const JobEnd *end) {
        int r;

        if ((end->error >= 0 && !request_has_job(q, end->id)) || !is_from_pmd(q, m))
                return 0;
        if (end->error < 0)
                return end->error;
        request_forget_job(q, end->id);

        if (streq(end->result, "canceled"))
                q->result.canceled = true;
        if (!streq(end->result, "done"))
                q->failed = true;
        r = read_job_end(m).error;
        if (r >= 0)
                r = read_failures(m, &q->result);
        return r < 0 ? r : 1;
}

static void request_end_if_done(Request *q) {
        if (!q->calling && q->n_jobs == 0)
                request_end(q, q->failed ? -EREMOTEIO : 0);
}

static void forget_early(pmd_connection *c, size_t i) {
        sd_bus_message_unref(c->early[i]);
        memmove(c->early + i, c->early + i + 1, (--c->n_early - i) * sizeof *c->early);
}

static int keep_early(pmd_connection *c, sd_bus_message *m) {
        if (c->n_early >= EARLY_MAX)
                return -ENOBUFS;
        if (!GREEDY_REALLOC(c->early, c->n_early_allocated, c->n_early + 1))
                return -ENOMEM;
        c->early[c->n_early++] = sd_bus_message_ref(m);
        return 0;
}

/* Who cannot be told that his job has ended must not wait for it. */
static void fail_calling(pmd_connection *c, int error) {
        LIST_FOREACH_SAFE(requests, q, c->requests)
                if (q->calling)
                        request_fail(q, error);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);
        bool taken = false;
        JobEnd end;
        int r;

        end = read_job_end(m);
        LIST_FOREACH_SAFE(requests, q, c->requests) {
                if (q->calling)
                        continue;
                r = request_take_job(q, m, &end);
                if (r < 0)
                        request_fail(q, r);
                else if (r > 0)
                        request_end_if_done(q);
                taken = taken || r != 0;
        }
        if (taken || !anyone_calling(c))
                return 0;

        r = keep_early(c, m);
        if (r < 0)
                fail_calling(c, r);
        return 0;
}

/* The answer with the number of the job is sent before anything is done. */
static int on_job_progress(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);
        uint32_t job, id, done, total;
        const char *app;

        if (!c->progress || sd_bus_message_read(m, "usuuu", &job, &app, &id, &done, &total) < 0)
                return 0;

        LIST_FOREACH(requests, q, c->requests)
                if (!q->calling && is_from_pmd(q, m) && request_has_job(q, job)) {
                        c->progress(c, app, id, done, total, c->progress_userdata);
                        break;
                }
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);

        c->lost = true;
        return 0;
}

/* Calls that a pmd left open are answered by the broker. */
static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);
        const char *name, *before, *after;

        if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0)
                return 0;

        LIST_FOREACH_SAFE(requests, q, c->requests)
                if (!q->calling && streq_ptr(q->pmd, before))
                        c->lost = true;
        if (c->events && !isempty(before))
                c->lost = true;
        return 0;
}

/* Over the private socket pmd sends every signal, which with many processes is much, until it is told what is wanted. sd-bus tells a broker only. */
static int add_peer_match(pmd_connection *c, const char *rule) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (c->on_broker)
                return 0;
        r = sd_bus_message_new_method_call(c->bus, &m, NULL, "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", rule);
        if (r >= 0)
                r = sd_bus_message_set_expect_reply(m, false);
        return r < 0 ? r : sd_bus_send(c->bus, m, NULL);
}

void connection_lend_bus(pmd_connection *c) {
        if (!c->bus_is_lent && c->job_removed_slot)
                (void) add_peer_match(c, "");
        c->bus_is_lent = true;
}

static int match_manager(pmd_connection *c, const char *member, sd_bus_message_handler_t handler, sd_bus_slot **ret) {
        _cleanup_free_ char *rule = NULL;
        int r;

        rule = c->bus_is_lent ? strdup("") : strjoin("interface='" PMD_INTERFACE_MANAGER "',member='", member, "'");
        if (!rule)
                return -ENOMEM;
        r = add_peer_match(c, rule);
        if (r < 0)
                return r;
        return sd_bus_match_signal_async(c->bus, ret, c->on_broker ? PMD_BUS_NAME : NULL, PMD_PATH, PMD_INTERFACE_MANAGER, member, handler, NULL, c);
}

static int watch_progress(pmd_connection *c) {
        if (!c->progress || c->progress_slot)
                return 0;
        return match_manager(c, "JobProgress", on_job_progress, &c->progress_slot);
}

_public_ int pmd_set_progress(pmd_connection *c, pmd_progress_t callback, void *userdata) {
        int r;

        c->progress = callback;
        c->progress_userdata = userdata;
        if (!callback)
                c->progress_slot = sd_bus_slot_unref(c->progress_slot);
        r = watch_progress(c);
        /* The next pmd is asked anew. */
        return r < 0 && !bus_error_is_loss(c, r, NULL) ? r : 0;
}

/* The broker handles our messages in their order, so the matches are in place before any call that follows. */
int connection_watch_pmd(pmd_connection *c) {
        int r;

        if (c->job_removed_slot)
                return 0;

        r = watch_progress(c);
        if (r < 0)
                return r;

        if (!c->disconnected_slot) {
                r = sd_bus_match_signal_async(c->bus, &c->disconnected_slot, NULL, "/org/freedesktop/DBus/Local",
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL, c);
                if (r < 0)
                        return r;
        }

        if (c->on_broker && !c->owner_slot) {
                r = sd_bus_add_match_async(c->bus, &c->owner_slot,
                                           "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                           "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" PMD_BUS_NAME "'",
                                           on_owner_changed, NULL, c);
                if (r < 0)
                        return r;
        }

        return match_manager(c, "JobRemoved", on_job_removed, &c->job_removed_slot);
}

static int read_start_app_reply(Request *q, sd_bus_message *m) {
        const char *app;
        uint32_t job;
        int r;

        r = sd_bus_message_read(m, "uo", &job, &app);
        if (r < 0)
                return r;
        q->jobs = new(uint32_t, 1);
        if (!q->jobs)
                return -ENOMEM;
        q->jobs[q->n_jobs++] = job;
        return message_read_ids(m, &q->result.process_ids, &q->result.n_processes);
}

static int read_resurrect_reply(Request *q, sd_bus_message *m) {
        const char *path;
        int r;

        r = sd_bus_message_read(m, "s", &path);
        if (r < 0)
                return r;
        r = free_and_strdup(&q->restored.path, path);
        if (r < 0)
                return r;
        r = message_read_ids(m, &q->jobs, &q->n_jobs);
        if (r < 0)
                return r;
        r = message_read_ids(m, &q->result.process_ids, &q->result.n_processes);
        if (r < 0)
                return r;
        r = sd_bus_message_read_strv(m, &q->restored.skipped);
        if (r < 0)
                return r;
        return sd_bus_message_read_strv(m, &q->restored.warnings);
}

static int request_read_reply(Request *q, sd_bus_message *m) {
        if (sd_bus_message_has_signature(m, "au") > 0)
                return message_read_ids(m, &q->jobs, &q->n_jobs);

        /* Perhaps of an answer before. */
        q->result.process_ids = mfree(q->result.process_ids);
        pmd_restored_free(&q->restored);
        if (sd_bus_message_has_signature(m, RESURRECT_SIGNATURE) > 0)
                return read_resurrect_reply(q, m);
        return read_start_app_reply(q, m);
}

static int request_take_reply(Request *q, sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);
        pmd_connection *c = q->connection;
        int r;

        r = free_and_strdup(&q->pmd, sender);
        if (r < 0)
                return r;

        r = request_read_reply(q, m);
        if (r < 0)
                return r;

        for (size_t i = 0; i < c->n_early && q->n_jobs > 0;) {
                JobEnd end = read_job_end(c->early[i]);

                r = request_take_job(q, c->early[i], &end);
                if (r < 0)
                        return r;
                if (r > 0)
                        forget_early(c, i);
                else
                        i++;
        }
        return 0;
}

/* Returns 1, as sd_bus_process() would say that nothing happened if the answer is a timeout and nobody took it. */
static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        Request *q = ASSERT_PTR(userdata);
        const sd_bus_error *e = sd_bus_message_get_error(m);
        int r;

        if (e && bus_error_is_loss(q->connection, 0, sd_bus_message_get_sender(m) ? e : NULL)) {
                q->connection->lost = true;
                return 1;
        }
        if (e) {
                request_end(q, error_from_bus(q->connection, e, &q->error));
                return 1;
        }

        r = request_take_reply(q, m);
        if (r < 0) {
                request_fail(q, r);
                return 1;
        }

        q->calling = false;
        if (!anyone_calling(q->connection))
                drop_early(q->connection);
        request_end_if_done(q);
        return 1;
}

/* The answer to ResolveTargets(); an error needs no care, the request itself meets the same. */
static int on_resolved(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        Request *q = ASSERT_PTR(userdata);
        const char *name, *object;
        size_t n_allocated = 0;
        uint32_t id;

        if (bus_error_is_loss(q->connection, 0, NULL))
                return 0;
        q->resolve = sd_bus_message_unref(q->resolve);
        if (sd_bus_message_get_error(m) || sd_bus_message_enter_container(m, 'a', "(uso)") < 0)
                return 0;

        while (sd_bus_message_read(m, "(uso)", &id, &name, &object) > 0) {
                if (!GREEDY_REALLOC(q->result.process_ids, n_allocated, q->result.n_processes + 1))
                        return 0;
                q->result.process_ids[q->result.n_processes++] = id;
        }
        return 0;
}

/* What can be sent again: a connection that is broken is no error yet. */
static int send_call(Request *q, sd_bus_message *m, sd_bus_message_handler_t handler, sd_bus_slot **ret_slot, sd_bus_message **ret_kept) {
        pmd_connection *c = q->connection;
        int r;

        r = sd_bus_call_async(c->bus, ret_slot, m, handler, q, c->timeout_usec);
        if (r < 0 && !bus_error_is_loss(c, r, NULL))
                return r;
        if (r < 0) {
                c->lost = true;
                r = sd_bus_message_seal(m, 1, 0);
                if (r < 0 && r != -EPERM)
                        return r;
        }

        sd_bus_message_ref(m);
        sd_bus_message_unref(*ret_kept);
        *ret_kept = m;
        return 0;
}

int request_send(Request *q, sd_bus_message *m) {
        int r;

        r = connection_watch_pmd(q->connection);
        if (r < 0 && !bus_error_is_loss(q->connection, r, NULL))
                return r;
        r = send_call(q, m, on_reply, &q->call_slot, &q->call);
        if (r < 0)
                return r;
        q->calling = true;
        return 0;
}

int request_resolve(Request *q, char *const *targets) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        pmd_connection *c = q->connection;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ResolveTargets", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append_strv(m, (char **) targets);
        if (r < 0)
                return r;
        return send_call(q, m, on_resolved, &q->resolve_slot, &q->resolve);
}

int request_wait(Request *q, pmd_result *ret, pmd_error *reterr) {
        int r;

        while (!q->ended) {
                r = q->connection->lost ? -ECONNRESET : bus_process_or_wait(q->connection->bus, USEC_INFINITY);
                if (q->ended)
                        break;
                if (q->connection->lost || (r < 0 && bus_error_is_loss(q->connection, r, NULL)))
                        r = connection_revive(q->connection); /* ends the request if it cannot */
                if (r < 0 && !q->ended)
                        request_fail(q, r);
        }

        if (q->refused && reterr) {
                pmd_error_free(reterr);
                *reterr = TAKE_GENERIC(q->error, (pmd_error) {});
        }
        if (!q->refused && ret)
                *ret = TAKE_GENERIC(q->result, (pmd_result) {});
        return q->outcome;
}

static int request_repeat(Request *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *resolve = NULL, *call = NULL;
        int r;

        if (q->n_repeats++ >= REPEATS_MAX)
                return -ECONNRESET;

        /* The next pmd tells of all the jobs. */
        q->jobs = mfree(q->jobs);
        q->n_jobs = 0;
        q->failed = false;
        result_forget_jobs(&q->result);

        if (q->resolve) {
                r = connection_copy_call(q->connection, q->resolve, &resolve);
                if (r >= 0)
                        r = send_call(q, resolve, on_resolved, &q->resolve_slot, &q->resolve);
                if (r < 0)
                        return r;
        }
        r = connection_copy_call(q->connection, q->call, &call);
        return r < 0 ? r : request_send(q, call);
}

int connection_revive(pmd_connection *c) {
        int r;

        c->job_removed_slot = sd_bus_slot_unref(c->job_removed_slot);
        c->progress_slot = sd_bus_slot_unref(c->progress_slot);
        c->owner_slot = sd_bus_slot_unref(c->owner_slot);
        c->disconnected_slot = sd_bus_slot_unref(c->disconnected_slot);
        LIST_FOREACH(requests, q, c->requests) {
                q->call_slot = sd_bus_slot_unref(q->call_slot);
                q->resolve_slot = sd_bus_slot_unref(q->resolve_slot);
        }
        drop_early(c);

        c->lost = false;
        r = connection_find_next_pmd(c);
        if (r >= 0)
                r = connection_resubscribe_events(c);
        if (r < 0 && sd_bus_is_ready(c->bus) <= 0)
                sd_bus_close(c->bus); /* which may have signals to deliver yet */
        LIST_FOREACH_SAFE(requests, q, c->requests) {
                int k = r < 0 ? -ECONNRESET : request_repeat(q);

                if (k < 0)
                        request_fail(q, k);
        }
        return r;
}

bool connection_dispatch_completed(pmd_connection *c) {
        Request *q = c->completed;
        pmd_result result;
        pmd_error error;
        pmd_done_t done;
        void *userdata;
        bool refused;
        int outcome;

        if (!q)
                return false;

        /* done() may close the connection, so the request is taken apart before. */
        done = q->done;
        userdata = q->userdata;
        outcome = q->outcome;
        refused = q->refused;
        result = TAKE_GENERIC(q->result, (pmd_result) {});
        error = TAKE_GENERIC(q->error, (pmd_error) {});
        request_free(q);

        if (done)
                done(c, outcome, &result, refused ? &error : NULL, userdata);

        pmd_result_free(&result);
        pmd_error_free(&error);
        return true;
}

void connection_drop_requests(pmd_connection *c) {
        while (c->requests)
                request_free(c->requests);
        while (c->completed)
                request_free(c->completed);
        drop_early(c);
        c->early = mfree(c->early);
        c->n_early_allocated = 0;
}
