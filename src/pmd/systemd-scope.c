/* SPDX-License-Identifier: MIT */
#include <systemd/sd-id128.h>

#include "pmd/systemd-client-internal.h"
#include "shared/cgroup-util.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/resource-limits.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* From the reply to the end of the job. A start job only waits for its slice; one that takes longer is lost. */
#define REPEATS_MAX 5U
#define JOB_TIMEOUT_USEC (30 * USEC_PER_SEC)

static const char *const scope_phase_table[_SCOPE_PHASE_MAX] = {
        [SCOPE_QUEUED] = "queued",
        [SCOPE_CALLING] = "calling",
        [SCOPE_WAITING] = "waiting",
        [SCOPE_FETCHING] = "fetching",
        [SCOPE_RUNNING] = "running",
        [SCOPE_ENDED] = "ended",
};

DEFINE_STRING_TABLE(ScopePhase, scope_phase);

/* ---- scopes ---- */

ScopeRef *scope_destroy(ScopeRef *s) {
        if (!s)
                return NULL;

        sd_bus_slot_unref(s->fetch_slot);
        sd_event_source_disable_unref(s->timeout_source);
        free(s->unit);
        free(s->slice);
        free(s->description);
        free(s->after_unit);
        free(s->job);
        free(s->early_result);
        resource_limits_done(&s->limits);
        return mfree(s);
}
DEFINE_CLEANUP_FUNC(ScopeRef *, scope_destroy);

ScopeRef *client_get_scope(SystemdClient *c, const char *unit) {
        void *v;

        return lh_table_lookup_ex(c->scopes, unit, &v) ? v : NULL;
}

void scope_set_phase(ScopeRef *s, ScopePhase phase) {
        log_debug("Scope %s: %s → %s", s->unit, strna(scope_phase_to_string(s->phase)), strna(scope_phase_to_string(phase)));
        s->phase = phase;
}

/* No signal is looked for any more. */
static void scope_leave_client(ScopeRef *s) {
        lh_table_delete(s->client->scopes, s->unit);
        s->client = NULL;
}

/* Gives the start's place in the queue to the next one. */
static void scope_end_call(ScopeRef *s) {
        s->fetch_slot = sd_bus_slot_unref(s->fetch_slot);
        s->timeout_source = sd_event_source_disable_unref(s->timeout_source);
        if (s->call)
                client_end_call(s->client, TAKE_PTR(s->call));
}

/* The owner may free the reference in its callback, so this is the last thing that is done with it. */
static void scope_finish(ScopeRef *s, int error, const char *cgroup) {
        SystemdClient *c = s->client;

        scope_end_call(s);
        scope_set_phase(s, error < 0 ? SCOPE_ENDED : SCOPE_RUNNING);
        if (error < 0 || s->forgotten)
                scope_leave_client(s);

        if (!s->forgotten) {
                s->started(s->userdata, error, cgroup, s->invocation_id);
                return;
        }

        if (error >= 0)
                (void) systemd_client_stop_unit(c, s->unit);
        scope_destroy(s);
}

void scope_fail(ScopeRef *s, int error) {
        scope_finish(s, error, NULL);
}

/* The manager may still do what we no longer wait for; nobody else uses this name. */
static void scope_give_up(ScopeRef *s, int error) {
        (void) systemd_client_stop_unit(s->client, s->unit);
        scope_fail(s, error);
}

static void scope_succeed(ScopeRef *s) {
        _cleanup_free_ char *cgroup = NULL;
        int r;

        if (!s->forgotten) {
                r = cgroup_path_of_pid(s->main->pid, &cgroup);
                if (r < 0)
                        log_debug_errno(r, "Failed to find the cgroup of %s, ignoring: %m", s->unit);
        }
        scope_finish(s, 0, cgroup);
}

/* ---- the invocation id ---- */

/* Empty as long as the job has not begun. */
static void read_invocation_id(ScopeRef *s, sd_bus_message *m) {
        const void *bytes;
        sd_id128_t id;
        size_t n;
        int r;

        if (sd_bus_message_is_method_error(m, NULL)) {
                log_debug("Failed to get the invocation id of %s, ignoring: %s", s->unit, sd_bus_message_get_error(m)->message);
                return;
        }

        r = sd_bus_message_enter_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &bytes, &n);
        if (r < 0 || n != sizeof(id))
                return;
        memcpy(&id, bytes, sizeof(id));
        (void) sd_id128_to_string(id, s->invocation_id);
}

static int on_invocation_id(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        ScopeRef *s = ASSERT_PTR(userdata);

        s->fetch_slot = sd_bus_slot_unref(s->fetch_slot);
        read_invocation_id(s, m);
        if (s->phase == SCOPE_FETCHING)
                scope_succeed(s);
        return 0;
}

static int scope_fetch_invocation_id(ScopeRef *s) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (s->fetch_slot)
                return 0;

        r = sd_bus_path_encode(SYSTEMD_PATH "/unit", s->unit, &path);
        if (r >= 0)
                r = sd_bus_call_method_async(s->client->bus, &s->fetch_slot, SYSTEMD_NAME, path,
                                "org.freedesktop.DBus.Properties", "Get", on_invocation_id, s, "ss", SYSTEMD_UNIT, "InvocationID");
        if (r < 0)
                log_debug_errno(r, "Failed to ask for the invocation id of %s, ignoring: %m", s->unit);
        return r;
}

/* ---- the start job ---- */

static int job_result_to_errno(const char *result) {
        if (streq(result, "done"))
                return 0;
        if (streq(result, "timeout"))
                return -ETIMEDOUT;
        if (IN_SET(result[0], 'c', 's')) /* canceled, collected, skipped */
                return -ECANCELED;
        return -EIO;
}

static void scope_job_ended(ScopeRef *s, const char *result) {
        int r;

        r = job_result_to_errno(result);
        if (r < 0) {
                log_debug("Start job of %s ended: %s", s->unit, result);
                scope_fail(s, r);
                return;
        }

        s->timeout_source = sd_event_source_disable_unref(s->timeout_source);
        if (s->forgotten || s->invocation_id[0] != 0) {
                scope_succeed(s);
                return;
        }

        scope_set_phase(s, SCOPE_FETCHING);
        r = scope_fetch_invocation_id(s);
        if (r < 0)
                scope_succeed(s);
}

int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        const char *job, *unit, *result;
        ScopeRef *s;
        int r;

        r = sd_bus_message_read(m, "uoss", NULL, &job, &unit, &result);
        if (r < 0) {
                log_debug_errno(r, "Failed to read JobRemoved, ignoring: %m");
                return 0;
        }

        s = client_get_scope(c, unit);
        if (!s)
                return 0;

        if (s->phase == SCOPE_WAITING && streq(s->job, job))
                scope_job_ended(s, result);
        else if (s->phase == SCOPE_CALLING) {
                r = free_and_strdup(&s->job, job);
                if (r >= 0)
                        r = free_and_strdup(&s->early_result, result);
                if (r < 0)
                        log_oom();
        }
        return 0;
}

/* Whether the job has done its work already. */
static bool scope_has_main(const ScopeRef *s) {
        _cleanup_free_ char *cgroup = NULL;

        return !s->forgotten && cgroup_path_of_pid(s->main->pid, &cgroup) >= 0 && streq(path_basename(cgroup), s->unit);
}

static ScopeRef *find_done(SystemdClient *c) {
        struct lh_entry *entry;

        lh_foreach(c->scopes, entry) {
                ScopeRef *s = (ScopeRef *) lh_entry_v(entry);

                if (s->phase == SCOPE_WAITING && scope_has_main(s))
                        return s;
        }
        return NULL;
}

static void scope_removed(ScopeRef *s) {
        scope_leave_client(s);
        scope_set_phase(s, SCOPE_ENDED);
        s->removed(s->userdata);
}

/* The state of each unit that was asked for, also of one that there is not. */
static int read_listed_unit(SystemdClient *c, sd_bus_message *m) {
        const char *unit, *active;
        ScopeRef *s;
        int r;

        r = sd_bus_message_read(m, "(ssssssouso)", &unit, NULL, NULL, &active, NULL, NULL, NULL, NULL, NULL, NULL);
        if (r <= 0)
                return r;
        s = client_get_scope(c, unit);
        if (s && TAKE_GENERIC(s->in_doubt, false) && (streq(active, "inactive") || streq(active, "failed")))
                scope_removed(s);
        return 1;
}

static int on_listed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        int r;

        c->list_slot = sd_bus_slot_unref(c->list_slot);
        r = sd_bus_message_is_method_error(m, NULL) ? -sd_bus_message_get_errno(m) : sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
        while (r >= 0) {
                r = read_listed_unit(c, m);
                if (r == 0)
                        return 0;
        }
        log_debug_errno(r, "Failed to find out which scopes are left, assuming all: %m");
        return 0;
}

/* One call for all of them: there may be a thousand. */
static int resolve_doubts(SystemdClient *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        struct lh_entry *entry;
        unsigned n = 0;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        lh_foreach(c->scopes, entry) {
                const ScopeRef *s = lh_entry_v(entry);

                if (r >= 0 && s->in_doubt) {
                        r = sd_bus_message_append(m, "s", s->unit);
                        n++;
                }
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0 || n == 0)
                return r;

        c->list_slot = sd_bus_slot_unref(c->list_slot);
        return sd_bus_call_async(c->bus, &c->list_slot, m, on_listed, c, 0);
}

/* Signals of the time in which the manager read its units again, or executed itself, are lost. */
int on_reloading(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        int active, r;

        if (sd_bus_message_read(m, "b", &active) < 0)
                return 0;
        c->reloading = active;
        if (active)
                return 0;

        for (ScopeRef *s; (s = find_done(c));) {
                s->fetch_slot = sd_bus_slot_unref(s->fetch_slot); /* the answer may be lost as well */
                scope_job_ended(s, "done");
        }
        r = resolve_doubts(c);
        if (r < 0)
                log_debug_errno(r, "Failed to ask which scopes are left, assuming all: %m");
        return 0;
}

static int on_job_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        ScopeRef *s = ASSERT_PTR(userdata);

        scope_give_up(s, -ETIMEDOUT);
        return 0;
}

int on_unit_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        const char *unit;
        ScopeRef *s;
        int r;

        r = sd_bus_message_read(m, "so", &unit, NULL);
        if (r < 0) {
                log_debug_errno(r, "Failed to read UnitRemoved, ignoring: %m");
                return 0;
        }

        s = client_get_scope(c, unit);
        if (!s)
                return 0;

        /* Before that it tells of the unit of a refused attempt. */
        if (!IN_SET(s->phase, SCOPE_FETCHING, SCOPE_RUNNING))
                return 0;
        if (c->reloading) {
                s->in_doubt = true;
                return 0;
        }

        if (s->phase == SCOPE_FETCHING) {
                scope_succeed(s);
                s = client_get_scope(c, unit);
                if (!s)
                        return 0;
        }

        scope_removed(s);
        return 0;
}

/* ---- StartTransientUnit() ---- */

static int start_error_to_errno(const sd_bus_error *e) {
        static const struct {
                const char *name;
                int error;
        } table[] = {
                { "org.freedesktop.systemd1.UnitExists", EEXIST },
                { "org.freedesktop.systemd1.NoSuchProcess", ESRCH },
                { "org.freedesktop.DBus.Error.UnixProcessIdUnknown", ESRCH },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (sd_bus_error_has_name(e, table[i].name))
                        return -table[i].error;
        return -sd_bus_error_get_errno(e) ?: -EIO;
}

/* Whether something was left out of the request that the manager does not know. The error does not say what: PIDFDs is the youngest. */
static bool scope_leave_out(ScopeRef *s, const sd_bus_error *e) {
        SystemdClient *c = s->client;

        if (!sd_bus_error_has_names(e, SD_BUS_ERROR_PROPERTY_READ_ONLY, SD_BUS_ERROR_UNKNOWN_PROPERTY))
                return false;

        if (c->pid_passing == PID_PASSING_UNKNOWN) {
                log_debug("The service manager takes no pidfds (%s), passing pids.", e->message);
                c->pid_passing = PID_PASSING_PID;
                client_schedule(c);
                return true;
        }
        if (s->with_oom_policy) {
                log_debug("The service manager has no OOM policy for scopes (%s).", e->message);
                c->no_oom_policy = true;
                return true;
        }
        return false;
}

static void scope_handle_start_error(ScopeRef *s, const sd_bus_error *e) {
        int r;

        r = start_error_to_errno(e);

        if (scope_leave_out(s, e) && !s->forgotten) {
                r = scope_send_start(s);
                if (r >= 0)
                        return;
        }

        log_debug_errno(r, "Failed to start %s: %s", s->unit, e->message);
        if (r == -EEXIST)
                scope_remove_left_over(s->client->bus, s->unit);
        if (r == -ETIMEDOUT)
                scope_give_up(s, r);
        else
                scope_fail(s, r);
}

/* A manager that executes itself anew leaves calls without an answer, be they carried out or not. */
static bool scope_survives_reexec(ScopeRef *s, sd_bus_message *m) {
        const sd_bus_error *e = sd_bus_message_get_error(m);

        if (s->forgotten)
                return false;
        if (s->n_repeats > 0 && sd_bus_error_has_name(e, "org.freedesktop.systemd1.UnitExists")) {
                scope_job_ended(s, "done");
                return true;
        }
        /* A timeout of our own has no sender. */
        if (!sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || !sd_bus_message_get_sender(m) || s->n_repeats >= REPEATS_MAX)
                return false;
        s->n_repeats++;
        return scope_send_start(s) >= 0;
}

static int scope_begin_waiting(ScopeRef *s, sd_bus_message *reply) {
        const char *job;
        int r;

        r = sd_bus_message_read(reply, "o", &job);
        if (r < 0)
                return r;

        if (s->early_result && streq(s->job, job)) {
                _cleanup_free_ char *result = TAKE_PTR(s->early_result);

                scope_job_ended(s, result);
                return 0;
        }

        r = free_and_strdup(&s->job, job);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(s->client->event, &s->timeout_source, CLOCK_MONOTONIC,
                        JOB_TIMEOUT_USEC, USEC_PER_SEC, on_job_timeout, s);
        if (r < 0)
                return r;

        scope_set_phase(s, SCOPE_WAITING);
        /* The manager is at work on this job, and answers when it has done that. With others in its way it would answer before. */
        if (s->client->n_in_flight == 1)
                (void) scope_fetch_invocation_id(s);
        return 0;
}

static int on_start_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        ScopeRef *s = ASSERT_PTR(userdata);
        SystemdClient *c = s->client;
        int r;

        FAULT_BEFORE(SCOPE_REPLY);
        s->call->slot = sd_bus_slot_unref(s->call->slot);

        if (sd_bus_message_is_method_error(m, NULL)) {
                if (!scope_survives_reexec(s, m))
                        scope_handle_start_error(s, sd_bus_message_get_error(m));
                return 0;
        }

        if (c->pid_passing == PID_PASSING_UNKNOWN) {
                c->pid_passing = PID_PASSING_PIDFD;
                client_schedule(c);
        }

        r = scope_begin_waiting(s, m);
        FAULT_AFTER(SCOPE_REPLY);
        if (r < 0) {
                log_debug_errno(r, "Failed to wait for %s: %m", s->unit);
                scope_give_up(s, r);
        }
        return 0;
}

static int append_main(sd_bus_message *m, const ScopeRef *s, bool by_pidfd) {
        if (by_pidfd)
                return sd_bus_message_append(m, "(sv)", "PIDFDs", "ah", 1, s->main->fd);
        return sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t) s->main->pid);
}

static int append_properties(sd_bus_message *m, const ScopeRef *s, bool by_pidfd) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r < 0)
                return r;
        r = append_main(m, s, by_pidfd);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)",
                        "Description", "s", s->description,
                        "Slice", "s", s->slice,
                        "CollectMode", "s", "inactive-or-failed",
                        "KillSignal", "i", (int32_t) s->kill_signal,
                        "TimeoutStopUSec", "t", s->timeout_stop);
        if (r < 0)
                return r;
        r = systemd_append_limits(m, &s->limits, resource_limits_mask(&s->limits));
        if (r < 0)
                return r;
        if (s->after_unit) {
                r = sd_bus_message_append(m, "(sv)", "After", "as", 1, s->after_unit);
                if (r < 0)
                        return r;
        }
        /* An app that has lost a worker lives on: whether the main process does is for the app to say. */
        if (s->with_oom_policy) {
                r = sd_bus_message_append(m, "(sv)", "OOMPolicy", "s", "continue");
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

int scope_send_start(ScopeRef *s) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        SystemdClient *c = s->client;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "StartTransientUnit");
        if (r < 0)
                return r;
        /* Not "fail": the slice, which nobody needed a moment ago, may be about to stop. */
        r = sd_bus_message_append(m, "ss", s->unit, "replace");
        if (r < 0)
                return r;
        s->with_oom_policy = !c->no_oom_policy;
        r = append_properties(m, s, c->pid_passing != PID_PASSING_PID);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
        if (r < 0)
                return r;
        FAULT_BEFORE(SCOPE_START);
        r = sd_bus_call_async(c->bus, &s->call->slot, m, on_start_reply, s, 0);
        FAULT_AFTER(SCOPE_START);
        return r;
}

/* ---- references ---- */

int systemd_client_start_scope(
                SystemdClient *c,
                const ScopeSpec *spec,
                scope_started_t started,
                unit_removed_t removed,
                void *userdata,
                ScopeRef **ret) {

        _cleanup_(scope_destroyp) ScopeRef *s = NULL;
        int r;

        if (client_get_scope(c, spec->unit))
                return -EEXIST;
        if (!sd_bus_is_open(c->bus))
                return -ENOTCONN;
        r = client_subscribe(c);
        if (r < 0)
                return r;

        s = new(ScopeRef, 1);
        if (!s)
                return -ENOMEM;
        *s = (ScopeRef) {
                .client = c,
                .phase = SCOPE_QUEUED,
                .unit = strdup(spec->unit),
                .slice = strdup(spec->slice),
                .description = strdup(spec->description),
                .after_unit = spec->after_unit ? strdup(spec->after_unit) : NULL,
                .main = spec->main,
                .kill_signal = spec->kill_signal,
                .timeout_stop = spec->timeout_stop,
                .started = started,
                .removed = removed,
                .userdata = userdata,
        };
        if (!s->unit || !s->slice || !s->description || (spec->after_unit && !s->after_unit))
                return -ENOMEM;
        r = spec->limits ? resource_limits_copy(&s->limits, spec->limits) : 0;
        if (r < 0)
                return r;

        if (spec->limits && spec->slice_weights != 0) {
                r = systemd_client_set_limits(c, spec->slice, spec->limits, spec->slice_weights);
                if (r < 0)
                        return r;
        }

        if (lh_table_insert(c->scopes, s->unit, s) < 0)
                return -ENOMEM;
        r = client_enqueue(c, NULL, s);
        if (r < 0) {
                lh_table_delete(c->scopes, s->unit);
                return r;
        }

        *ret = TAKE_PTR(s);
        return 0;
}

ScopeRef *scope_ref_free(ScopeRef *s) {
        SystemdClient *c;

        if (!s)
                return NULL;

        c = s->client;
        if (!c)
                return scope_destroy(s);

        switch (s->phase) {

        case SCOPE_CALLING:
                /* If the reply is an error the unit of this name is somebody else's, so it cannot be stopped yet. */
                s->forgotten = true;
                s->main = NULL;
                return NULL;

        case SCOPE_WAITING:
        case SCOPE_FETCHING:
                (void) systemd_client_stop_unit(c, s->unit);
                scope_end_call(s);
                break;

        case SCOPE_QUEUED:
                s->call->scope = NULL;
                break;

        default:
                break;
        }

        scope_leave_client(s);
        return scope_destroy(s);
}
