/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <systemd/sd-id128.h>

#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager.h"
#include "pmd/monitor.h"
#include "pmd/process-bus.h"
#include "pmd/runner.h"
#include "shared/bus-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* ---- objects ---- */

const char *process_bus_path(const Process *p, char buf[static PROCESS_PATH_MAX]) {
        (void) snprintf(buf, PROCESS_PATH_MAX, PMD_PATH_PROCESS "/%u", p->id);
        return buf;
}

int process_bus_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                     sd_bus_error *reterr) {
        const char *number = startswith(path, PMD_PATH_PROCESS "/");
        Manager *m = ASSERT_PTR(userdata);
        char buf[PROCESS_PATH_MAX];
        Process *p;
        unsigned id;

        if (!number || safe_atou(number, &id) < 0)
                return 0;
        p = manager_get_process(m, id);
        if (!p || !streq(process_bus_path(p, buf), path)) /* "007" is no second name of 7 */
                return 0;
        *ret_found = p;
        return 1;
}

int process_bus_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        char **nodes;

        nodes = new0(char *, m->n_processes + 1);
        if (!nodes)
                return -ENOMEM;
        for (size_t i = 0; i < m->n_processes; i++) {
                char buf[PROCESS_PATH_MAX];

                nodes[i] = strdup(process_bus_path(m->processes[i], buf));
                if (!nodes[i]) {
                        strv_free(nodes);
                        return -ENOMEM;
                }
        }
        *ret_nodes = nodes;
        return 1;
}

/* ---- properties: each getter serves Get(), PropertiesChanged and ListProcesses(), and what lists have is packed for ListPacked() as well ---- */

#define GETTER_PARAMETERS                                                               \
        sd_bus *bus, const char *path, const char *interface, const char *property,     \
        sd_bus_message *reply, void *userdata, sd_bus_error *reterr

#define DEFINE_GETTER(name, expression)                                                 \
        static int get_##name(GETTER_PARAMETERS) {                                      \
                Process *p = ASSERT_PTR(userdata);                                      \
                                                                                        \
                return (expression);                                                    \
        }

#define DEFINE_GETTER_TEXT(name, value) DEFINE_GETTER(name, bus_message_append_text(reply, (value)))
#define DEFINE_GETTER_NUMBER(name, type, value) DEFINE_GETTER(name, sd_bus_message_append(reply, type, (value)))

#define DEFINE_LISTED(name, append, pack)                                               \
        DEFINE_GETTER(name, append)                                                     \
                                                                                        \
        static void pack_##name(ListPacker *k, Process *p) {                            \
                pack;                                                                   \
        }

#define DEFINE_LISTED_TEXT(name, value) DEFINE_LISTED(name, bus_message_append_text(reply, (value)), list_pack_text(k, (value)))
#define DEFINE_LISTED_STRV(name, value) DEFINE_LISTED(name, bus_message_append_text_strv(reply, (value)), list_pack_strv(k, (value)))
#define DEFINE_LISTED_WORD(name, type, value) DEFINE_LISTED(name, sd_bus_message_append(reply, type, (value)), list_pack_word(k, (uint32_t) (value)))
#define DEFINE_LISTED_LONG(name, value) DEFINE_LISTED(name, sd_bus_message_append(reply, "t", (value)), list_pack_long(k, (value)))

/* get is an expression that sets path_of, to new memory or NULL. */
#define DEFINE_LISTED_PATH(name, get)                                                   \
        static int get_##name(GETTER_PARAMETERS) {                                      \
                _cleanup_free_ char *path_of = NULL;                                    \
                Process *p = ASSERT_PTR(userdata);                                      \
                int r = (get);                                                          \
                                                                                        \
                return r < 0 ? r : bus_message_append_text(reply, path_of ?: "/dev/null"); \
        }                                                                               \
                                                                                        \
        static void pack_##name(ListPacker *k, Process *p) {                            \
                _cleanup_free_ char *path_of = NULL;                                    \
                int r = (get);                                                          \
                                                                                        \
                if (r < 0)                                                              \
                        k->error = r;                                                   \
                else                                                                    \
                        list_pack_text(k, path_of ?: "/dev/null");                      \
        }

/* What is read from the kernel is the same for a whole turn of the loop: GetAll() asks for four figures one by one. */
static const BusFace *read_usage(Process *p) {
        BusFace *f = p->manager->bus_face;
        uint64_t iteration = 0;

        (void) sd_event_get_iteration(p->manager->event, &iteration);
        if (f->usage_process == p && f->usage_iteration == iteration)
                return f;

        monitor_read(p, &f->usage, &f->usage_cpu_percent);
        f->usage_process = p;
        f->usage_iteration = iteration;
        return f;
}

/* The plain runner gives its units a name as the others do, but there is nothing of that name. */
static const char *unit_name(const Process *p) {
        return p->unit && !streq(p->unit->runner->vtable->name, "plain") ? p->unit->name : "";
}

/* The four of them, as rows of lists have them. */
static int append_figures(sd_bus_message *reply, Process *p) {
        const BusFace *f = read_usage(p);

        return sd_bus_message_append(reply, "ttdt", f->usage.memory_current, f->usage.cpu_usage_nsec, f->usage_cpu_percent, f->usage.tasks_current);
}

static void list_pack_figures(ListPacker *k, Process *p) {
        const BusFace *f = read_usage(p);

        list_pack_long(k, f->usage.memory_current);
        list_pack_long(k, f->usage.cpu_usage_nsec);
        list_pack_double(k, f->usage_cpu_percent);
        list_pack_long(k, f->usage.tasks_current);
}

static int append_app_path(sd_bus_message *reply, const Process *p) {
        return sd_bus_message_append(reply, "o", p->app->object_path);
}

static int append_invocation_id(sd_bus_message *reply, const Process *p) {
        sd_id128_t id;
        bool known = p->unit && sd_id128_from_string(p->unit->invocation_id, &id) >= 0;

        return sd_bus_message_append_array(reply, 'y', &id, known ? sizeof id : 0);
}

static int append_notes(sd_bus_message *reply, const Process *p) {
        _cleanup_strv_free_ char **notes = NULL;
        int r;

        r = process_get_notes(p, &notes);
        if (r < 0)
                return r;
        return bus_message_append_text_strv(reply, notes);
}

static void list_pack_notes(ListPacker *k, const Process *p) {
        _cleanup_strv_free_ char **notes = NULL;
        int r;

        r = process_get_notes(p, &notes);
        if (r < 0)
                k->error = r;
        else
                list_pack_strv(k, notes);
}

static int append_last_exit(sd_bus_message *reply, const Process *p) {
        return sd_bus_message_append(reply, "(iis)", p->last_exit.code, p->last_exit.signal,
                                     exit_reason_to_string(p->last_exit.reason));
}

static void list_pack_last_exit(ListPacker *k, const LastExit *x) {
        list_pack_word(k, (uint32_t) x->code);
        list_pack_word(k, (uint32_t) x->signal);
        list_pack_text(k, exit_reason_to_string(x->reason));
}

/* The timer counts time without the clock's leaps; people look at the clock. */
static uint64_t next_restart(const Process *p) {
        if (p->state != PROCESS_BACKOFF || p->timer_at == USEC_INFINITY)
                return 0;
        return usec_add(now(CLOCK_REALTIME), usec_sub(p->timer_at, now(CLOCK_MONOTONIC)));
}

static int append_last_oom_kill(sd_bus_message *reply, const OomKill *k) {
        bool known = k->realtime > 0;

        return sd_bus_message_append(reply, "(tustt)", k->realtime, (uint32_t) k->pid, k->name, known ? k->limit : UINT64_MAX,
                                     known ? k->peak : UINT64_MAX);
}

DEFINE_LISTED_WORD(id, "u", p->id)
DEFINE_LISTED_TEXT(name, p->app->name)
DEFINE_GETTER(app, append_app_path(reply, p))
DEFINE_LISTED_TEXT(namespace, p->config->name_space)
DEFINE_LISTED_WORD(instance, "u", p->instance)
DEFINE_LISTED_TEXT(unique_id, p->unique_id)
DEFINE_LISTED_TEXT(status, process_status(p))
DEFINE_GETTER_TEXT(goal, process_goal_to_string(p->goal))
DEFINE_LISTED_WORD(pid, "u", process_is_running(p) ? (uint32_t) p->main.pid : 0)
DEFINE_LISTED_TEXT(exec_mode, exec_mode_to_string(p->config->exec_mode))
DEFINE_LISTED_TEXT(unit, unit_name(p))
DEFINE_GETTER_TEXT(control_group, p->unit ? p->unit->cgroup : "")
DEFINE_GETTER(invocation_id, append_invocation_id(reply, p))
DEFINE_LISTED_LONG(start_timestamp, p->started_realtime)
DEFINE_GETTER_NUMBER(start_timestamp_monotonic, "t", p->started_monotonic)
DEFINE_LISTED_LONG(created_timestamp, p->created_realtime)
DEFINE_LISTED_WORD(n_restarts, "u", p->n_restarts)
DEFINE_GETTER_NUMBER(log_dropped, "t", log_counter_get(p->log_dropped))
DEFINE_LISTED_WORD(unstable_restarts, "u", p->history.unstable_restarts)
DEFINE_LISTED(last_exit, append_last_exit(reply, p), list_pack_last_exit(k, &p->last_exit))
DEFINE_GETTER(last_oom_kill, append_last_oom_kill(reply, &p->last_oom_kill))
DEFINE_GETTER_TEXT(restart_reason, p->restart_reason)
DEFINE_GETTER_NUMBER(next_restart, "t", next_restart(p))
DEFINE_GETTER_NUMBER(memory_current, "t", read_usage(p)->usage.memory_current)
DEFINE_GETTER_NUMBER(cpu_usage_nsec, "t", read_usage(p)->usage.cpu_usage_nsec)
DEFINE_GETTER_NUMBER(cpu_percent, "d", read_usage(p)->usage_cpu_percent)
DEFINE_GETTER_NUMBER(tasks_current, "t", read_usage(p)->usage.tasks_current)
DEFINE_LISTED(figures, append_figures(reply, p), list_pack_figures(k, p))
DEFINE_LISTED_TEXT(executable, p->config->exec_path)
DEFINE_LISTED_TEXT(interpreter, p->config->interpreter ?: "none")
DEFINE_LISTED_STRV(interpreter_args, p->config->interpreter_args)
DEFINE_LISTED_STRV(args, p->config->args)
DEFINE_LISTED_TEXT(cwd, p->config->cwd)
DEFINE_GETTER_TEXT(log_target, log_target_to_string(process_log_target(p)))
DEFINE_LISTED_PATH(out_log_path, process_log_path(p, LOG_STREAM_OUT, &path_of))
DEFINE_LISTED_PATH(error_log_path, process_log_path(p, LOG_STREAM_ERR, &path_of))
DEFINE_LISTED_PATH(pid_file, process_pid_file(p, &path_of))
DEFINE_LISTED_TEXT(user, p->config->user ?: p->manager->bus_face->user_name)
DEFINE_LISTED_WORD(watching, "b", (int) p->watching)
DEFINE_GETTER_TEXT(watch_state, watch_state_to_string(process_watch_state(p)))
DEFINE_GETTER_TEXT(watch_fault, process_watch_fault(p))
DEFINE_GETTER_NUMBER(next_run, "t", process_next_run(p))
DEFINE_LISTED_TEXT(status_text, p->status_text)
DEFINE_LISTED(notes, append_notes(reply, p), list_pack_notes(k, p))
DEFINE_LISTED_TEXT(version, p->config->version ?: "N/A")

void process_bus_property_names(ProcessField fields, const char *ret[static PROCESS_PROPERTIES_MAX + 1]) {
        static const struct {
                ProcessField field;
                const char *name;
        } table[] = {
                { PROCESS_FIELD_STATUS, "Status" },
                { PROCESS_FIELD_STATUS, "Goal" },
                { PROCESS_FIELD_PID, "PID" },
                { PROCESS_FIELD_PID, "Unit" },
                { PROCESS_FIELD_PID, "ControlGroup" },
                { PROCESS_FIELD_PID, "InvocationID" },
                { PROCESS_FIELD_PID, "Notes" },
                { PROCESS_FIELD_STATUS_TEXT, "StatusText" },
                { PROCESS_FIELD_START, "StartTimestamp" },
                { PROCESS_FIELD_START, "StartTimestampMonotonic" },
                { PROCESS_FIELD_START, "CreatedTimestamp" },
                { PROCESS_FIELD_COUNTERS, "NRestarts" },
                { PROCESS_FIELD_COUNTERS, "UnstableRestarts" },
                { PROCESS_FIELD_EXIT, "LastExit" },
                { PROCESS_FIELD_OOM_KILL, "LastOOMKill" },
                { PROCESS_FIELD_COUNTERS, "RestartReason" },
                { PROCESS_FIELD_CONFIG, "Namespace" },
                { PROCESS_FIELD_CONFIG, "ExecMode" },
                { PROCESS_FIELD_CONFIG, "Executable" },
                { PROCESS_FIELD_CONFIG, "Interpreter" },
                { PROCESS_FIELD_CONFIG, "InterpreterArguments" },
                { PROCESS_FIELD_CONFIG, "Arguments" },
                { PROCESS_FIELD_CONFIG, "WorkingDirectory" },
                { PROCESS_FIELD_CONFIG, "LogTarget" },
                { PROCESS_FIELD_CONFIG, "OutLogPath" },
                { PROCESS_FIELD_CONFIG, "ErrorLogPath" },
                { PROCESS_FIELD_CONFIG, "PIDFile" },
                { PROCESS_FIELD_CONFIG, "User" },
                { PROCESS_FIELD_CONFIG, "Watching" },
                { PROCESS_FIELD_CONFIG, "WatchState" },
                { PROCESS_FIELD_CONFIG, "WatchFault" },
                { PROCESS_FIELD_CONFIG, "Version" },
        };
        size_t n = 0;

        static_assert(ELEMENTSOF(table) <= PROCESS_PROPERTIES_MAX, "names overflow");

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (fields & table[i].field)
                        ret[n++] = table[i].name;
        ret[n] = NULL;
}

/* The order is the interface: see PMD_LIST_ROW_SIGNATURE, and libpmd, which reads both forms. */
#define ROW_FIELDS(FIELD, ARRAY)                                                                                \
        FIELD(id) FIELD(name) FIELD(namespace) FIELD(instance) FIELD(status) FIELD(pid) FIELD(exec_mode)        \
        FIELD(start_timestamp) FIELD(created_timestamp) FIELD(n_restarts) FIELD(unstable_restarts)              \
        FIELD(last_exit) FIELD(figures) FIELD(user) FIELD(watching) FIELD(version) FIELD(unit)                  \
        FIELD(executable) FIELD(interpreter) ARRAY(interpreter_args) ARRAY(args) FIELD(cwd)                     \
        FIELD(out_log_path) FIELD(error_log_path) FIELD(pid_file) FIELD(unique_id) FIELD(status_text)           \
        ARRAY(notes)

int process_bus_append_list_fields(sd_bus_message *m, sd_bus *bus, Process *p) {
#define GETTER(name) get_##name,
        static const sd_bus_property_get_t getters[] = { ROW_FIELDS(GETTER, GETTER) };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(getters); i++) {
                r = getters[i](bus, NULL, PMD_INTERFACE_PROCESS, NULL, m, p, NULL);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Arrays come last: with their lengths the slots behind them change. */
void process_bus_pack_list_fields(ListPacker *k, Process *p) {
#define PACK(name) pack_##name(k, p);
#define SKIP(name)
        ROW_FIELDS(PACK, SKIP)
        ROW_FIELDS(SKIP, PACK)
}

/* ---- methods ---- */

static int method_start(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);

        return bus_request_reply_job(p->manager, message, JOB_START, &p, 1, reterr);
}

static int method_stop(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);

        return bus_request_reply_job(p->manager, message, JOB_STOP, &p, 1, reterr);
}

static int method_restart(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);

        return bus_request_reply_job(p->manager, message, JOB_RESTART, &p, 1, reterr);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);

        return bus_request_reply_job(p->manager, message, JOB_DELETE, &p, 1, reterr);
}

static int method_reset(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(p->manager, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        process_reset_counters(p);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_send_signal(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_free_ uint32_t *ids = NULL;
        Process *p = ASSERT_PTR(userdata);
        bool whole_unit;
        int r, signo;
        uid_t uid;
        size_t n;

        r = bus_request_read_signal(message, &whole_unit, &signo, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(p->manager, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        bus_request_note_signal(message, uid, signo, &p, 1);
        r = bus_request_send_signal(&p, 1, whole_unit, signo, &ids, &n, reterr);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, NULL);
}

static int append_environment(sd_bus_message *m, const Process *p) {
        _cleanup_strv_free_ char **env = NULL;
        int r;

        r = process_build_environment(p, &env);
        if (r < 0)
                return r;
        return bus_message_append_text_strv(m, env);
}

static int method_get_environment(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Process *p = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize_owner(p->manager, message, p->app->owner, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = append_environment(reply, p);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

static int append_event(sd_bus_message *m, const HistoryEvent *e) {
        int r;

        r = sd_bus_message_open_container(m, 'r', PMD_EVENT_SIGNATURE);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ttussiist", e->first, e->last, e->count, event_kind_to_string(e->kind),
                                  event_decision_to_string(e->decision), e->code, e->signal, e->reason, e->ran);
        if (r < 0)
                return r;
        r = bus_message_append_text(m, e->text);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "uu", e->uid, e->pid);
        if (r < 0)
                return r;
        r = bus_message_append_text(m, e->command);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int method_get_history(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Process *p = ASSERT_PTR(userdata);
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(" PMD_EVENT_SIGNATURE ")");
        if (r < 0)
                return r;
        for (size_t i = 0; i < p->events.n; i++) {
                r = append_event(reply, p->events.events + i);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define ANYONE SD_BUS_VTABLE_UNPRIVILEGED /* sd-bus leaves the check to the handler */

const sd_bus_vtable process_bus_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Id", "u", get_id, 0, CONST),
        SD_BUS_PROPERTY("Name", "s", get_name, 0, CONST),
        SD_BUS_PROPERTY("App", "o", get_app, 0, CONST),
        SD_BUS_PROPERTY("Namespace", "s", get_namespace, 0, CHANGES),
        SD_BUS_PROPERTY("Instance", "u", get_instance, 0, CONST),
        SD_BUS_PROPERTY("UniqueId", "s", get_unique_id, 0, CONST),
        SD_BUS_PROPERTY("Status", "s", get_status, 0, CHANGES),
        SD_BUS_PROPERTY("Goal", "s", get_goal, 0, CHANGES),
        SD_BUS_PROPERTY("PID", "u", get_pid, 0, CHANGES),
        SD_BUS_PROPERTY("ExecMode", "s", get_exec_mode, 0, CHANGES),
        SD_BUS_PROPERTY("Unit", "s", get_unit, 0, CHANGES),
        SD_BUS_PROPERTY("ControlGroup", "s", get_control_group, 0, CHANGES),
        SD_BUS_PROPERTY("InvocationID", "ay", get_invocation_id, 0, CHANGES),
        SD_BUS_PROPERTY("StartTimestamp", "t", get_start_timestamp, 0, CHANGES),
        SD_BUS_PROPERTY("StartTimestampMonotonic", "t", get_start_timestamp_monotonic, 0, CHANGES),
        SD_BUS_PROPERTY("CreatedTimestamp", "t", get_created_timestamp, 0, CHANGES),
        SD_BUS_PROPERTY("NRestarts", "u", get_n_restarts, 0, CHANGES),
        SD_BUS_PROPERTY("UnstableRestarts", "u", get_unstable_restarts, 0, CHANGES),
        SD_BUS_PROPERTY("LastExit", "(iis)", get_last_exit, 0, CHANGES),
        SD_BUS_PROPERTY("LastOOMKill", "(tustt)", get_last_oom_kill, 0, CHANGES),
        SD_BUS_PROPERTY("RestartReason", "s", get_restart_reason, 0, CHANGES),
        SD_BUS_PROPERTY("NextRestart", "t", get_next_restart, 0, 0),
        SD_BUS_PROPERTY("MemoryCurrent", "t", get_memory_current, 0, 0),
        SD_BUS_PROPERTY("CPUUsageNSec", "t", get_cpu_usage_nsec, 0, 0),
        SD_BUS_PROPERTY("CPUPercent", "d", get_cpu_percent, 0, 0),
        SD_BUS_PROPERTY("TasksCurrent", "t", get_tasks_current, 0, 0),
        SD_BUS_PROPERTY("Executable", "s", get_executable, 0, CHANGES),
        SD_BUS_PROPERTY("Interpreter", "s", get_interpreter, 0, CHANGES),
        SD_BUS_PROPERTY("InterpreterArguments", "as", get_interpreter_args, 0, CHANGES),
        SD_BUS_PROPERTY("Arguments", "as", get_args, 0, CHANGES),
        SD_BUS_PROPERTY("WorkingDirectory", "s", get_cwd, 0, CHANGES),
        SD_BUS_PROPERTY("LogTarget", "s", get_log_target, 0, CHANGES),
        SD_BUS_PROPERTY("LogDropped", "t", get_log_dropped, 0, 0),
        SD_BUS_PROPERTY("OutLogPath", "s", get_out_log_path, 0, CHANGES),
        SD_BUS_PROPERTY("ErrorLogPath", "s", get_error_log_path, 0, CHANGES),
        SD_BUS_PROPERTY("PIDFile", "s", get_pid_file, 0, CHANGES),
        SD_BUS_PROPERTY("User", "s", get_user, 0, CHANGES),
        SD_BUS_PROPERTY("Watching", "b", get_watching, 0, CHANGES),
        SD_BUS_PROPERTY("WatchState", "s", get_watch_state, 0, CHANGES),
        SD_BUS_PROPERTY("WatchFault", "s", get_watch_fault, 0, CHANGES),
        SD_BUS_PROPERTY("NextRun", "t", get_next_run, 0, 0),
        SD_BUS_PROPERTY("StatusText", "s", get_status_text, 0, CHANGES),
        SD_BUS_PROPERTY("Notes", "as", get_notes, 0, CHANGES),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, CHANGES),

        SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_start, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_stop, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Restart", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_restart, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_delete, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reset, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("SendSignal",
                                SD_BUS_ARGS("s", whom, "i", signal),
                                SD_BUS_NO_RESULT,
                                method_send_signal,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetEnvironment",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("as", environment),
                                method_get_environment,
                                ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetHistory",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(" PMD_EVENT_SIGNATURE ")", events),
                                method_get_history,
                                ANYONE),

        SD_BUS_VTABLE_END,
};
