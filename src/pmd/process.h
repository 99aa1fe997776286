/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "pmd/log-relay.h"
#include "pmd/notify-socket.h"
#include "pmd/pmd-forward.h"
#include "pmd/process-spawn.h"
#include "shared/app-config.h"
#include "shared/cgroup-util.h"
#include "shared/event-history.h"
#include "shared/list.h"
#include "shared/pidref.h"
#include "shared/process-states.h"
#include "shared/restart-policy.h"

/* One numbered instance of an app. "goal" is what was asked, "state" what is; see doc/ARCHITECTURE.md for the picture.
 *
 * process.c is the state machine and nothing else: its only inputs are process_event() calls, its only outputs are the
 * operations of ProcessHost. The table test drives it with a fake host and a fake clock. */

typedef enum ProcessEvent {
        PROCESS_EVENT_UP,            /* goal becomes up */
        PROCESS_EVENT_DOWN,          /* goal becomes down */
        PROCESS_EVENT_RETIRE,        /* the same, but what it has begun may be finished first */
        PROCESS_EVENT_RESTART,       /* goal becomes up, by way of a stop if it runs */
        PROCESS_EVENT_ATTACHED,      /* the runner has put the child where it belongs */
        PROCESS_EVENT_ATTACH_FAILED,
        PROCESS_EVENT_EXEC_OK,
        PROCESS_EVENT_EXEC_FAILED,
        PROCESS_EVENT_READY,
        PROCESS_EVENT_EXITED,        /* main process */
        PROCESS_EVENT_DRAINED,       /* unit empty, output pipes at EOF */
        PROCESS_EVENT_TIMER,         /* the one timer, armed by the state */
        PROCESS_EVENT_WATCHDOG,      /* no sign of life in time */
        _PROCESS_EVENT_MAX,
        _PROCESS_EVENT_INVALID = -EINVAL,
} ProcessEvent;

const char *process_event_to_string(ProcessEvent e);
ProcessEvent process_event_from_string(const char *s);

typedef enum ProcessGoal {
        PROCESS_DOWN,
        PROCESS_UP,
        _PROCESS_GOAL_MAX,
        _PROCESS_GOAL_INVALID = -EINVAL,
} ProcessGoal;

const char *process_goal_to_string(ProcessGoal g);
ProcessGoal process_goal_from_string(const char *s);

typedef enum ExitReason {
        EXIT_REASON_NONE,        /* never ran */
        EXIT_REASON_EXITED,
        EXIT_REASON_SIGNAL,
        EXIT_REASON_CORE_DUMP,
        EXIT_REASON_OOM_KILL,
        EXIT_REASON_KILL_TIMEOUT, /* did not end within kill_timeout, was killed */
        EXIT_REASON_EXEC_FAILED,
        EXIT_REASON_SPAWN_FAILED, /* fork, or no place for it in a scope or cgroup */
        EXIT_REASON_WATCHDOG,     /* gave no sign of life in time, was ended */
        EXIT_REASON_UNKNOWN,      /* ended while nobody could see its status */
        _EXIT_REASON_MAX,
        _EXIT_REASON_INVALID = -EINVAL,
} ExitReason;

const char *exit_reason_to_string(ExitReason r);
ExitReason exit_reason_from_string(const char *s);

typedef struct LastExit {
        int code;    /* exit code; -1: none (died by a signal, or never ran) */
        int signal;  /* 0: none */
        ExitReason reason;
} LastExit;

/* A reload has two incarnations at once, each a Process of the same id. Only the current one is seen from outside. */
typedef enum ProcessRole {
        PROCESS_CURRENT,
        PROCESS_SUCCESSOR, /* is to become the current one once it is ready; has no restart policy */
        PROCESS_RETIRED,   /* was the current one, or failed to become it: ends, and is forgotten then */
        _PROCESS_ROLE_MAX,
        _PROCESS_ROLE_INVALID = -EINVAL,
} ProcessRole;

const char *process_role_to_string(ProcessRole r);
ProcessRole process_role_from_string(const char *s);

/* The last one. */
typedef struct OomKill {
        usec_t realtime;      /* 0: never */
        pid_t pid;            /* of the victim; 0: nobody can tell, and name is "" then */
        char name[64];
        uint64_t limit, peak; /* of the unit's memory, bytes; UINT64_MAX: none, or not known */
        char *limit_cgroup;   /* whose limit that is, if not the unit's; "": the machine's own memory; NULL: the unit's */
} OomKill;

/* What changed, for the bus and for the saved state; bits are gathered until the end of the loop's turn. */
typedef enum ProcessField {
        PROCESS_FIELD_STATUS = 1 << 0,
        PROCESS_FIELD_PID = 1 << 1,     /* and Unit, ControlGroup, InvocationID */
        PROCESS_FIELD_COUNTERS = 1 << 2,
        PROCESS_FIELD_EXIT = 1 << 3,
        PROCESS_FIELD_CONFIG = 1 << 4,
        PROCESS_FIELD_START = 1 << 5,   /* start time stamps */
        PROCESS_FIELD_STATUS_TEXT = 1 << 6,
        PROCESS_FIELD_EVENTS = 1 << 7,
        PROCESS_FIELD_OOM_KILL = 1 << 8,
        PROCESS_FIELD_ALL = (1 << 9) - 1,
} ProcessField;

/* The world as the state machine sees it. All functions are called with the state already changed. */
typedef struct ProcessHostVTable {
        usec_t (*now)(Process *p);                    /* CLOCK_MONOTONIC */
        int (*spawn)(Process *p);                     /* fork behind the gate and attach; ATTACHED or ATTACH_FAILED follows. < 0: failed at once */
        int (*open_gate)(Process *p);                 /* EXEC_OK or EXEC_FAILED follows */
        bool (*ask_to_finish)(Process *p);            /* no new work; false: it has no way to be told */
        void (*ask_to_end)(Process *p);               /* kill_signal (to the tree if treekill) */
        void (*abort)(Process *p);                    /* SIGABRT to the main process */
        void (*kill)(Process *p);                     /* SIGKILL to the whole unit */
        void (*drain)(Process *p);                    /* DRAINED follows */
        void (*give_up_drain)(Process *p);            /* close what is left, DRAINED follows */
        void (*arm_timer)(Process *p, usec_t at);     /* USEC_INFINITY: disarm */
        usec_t (*take_restart)(Process *p);           /* of the machine-wide budget: how long one that nobody asked for has to wait */
        void (*changed)(Process *p, ProcessField f);
        void (*reconfigured)(Process *p, const AppConfig *before); /* its definition is another one now */
        void (*settled)(Process *p);                  /* reached STOPPED, ERRORED, ONLINE or BACKOFF, or is stuck: its job looks at it */
} ProcessHostVTable;

typedef enum ProcessTimer {
        PROCESS_TIMER_NONE,
        PROCESS_TIMER_KILL,  /* STOPPING, KILLING, DRAINING: patience ends */
        PROCESS_TIMER_READY,
        PROCESS_TIMER_RESTART,
        PROCESS_TIMER_FINISH,  /* STOPPING: patience with what it has begun ends */
        PROCESS_TIMER_PROVE,   /* STARTING: a successor that is ready has to live on for a moment */
} ProcessTimer;

struct Process {
        const ProcessHostVTable *host;
        Manager *manager;
        App *app;
        AppConfig *config;
        AppConfig *next_config;       /* takes its place with the next start; NULL: none */
        unsigned id, instance;
        ProcessRole role;
        Process *peer;                /* the current one's successor, the successor's current one; NULL: none */
        char unique_id[37];           /* UUID, new with each process, as pm2's */

        ProcessGoal goal;
        ProcessState state;
        ProcessTimer timer;
        usec_t timer_at;              /* CLOCK_MONOTONIC */
        bool restart_wanted;          /* a stop under way is half of a restart */
        bool kill_tried;              /* DRAINING: SIGKILL was sent to what was left */
        bool stuck;                   /* KILLING: not even that ended it */
        bool reached_online;          /* this incarnation */
        bool watchdog_missed;         /* this incarnation */
        bool attached_waits;          /* it is attached, but not all of its descriptors are in the store yet */
        bool gate_opened;             /* this incarnation */
        bool gate_unsure;             /* the same: pmd ended when that was on file, but perhaps not done */
        bool delete_wanted;           /* a job is about to forget it */
        bool reload_wanted;           /* a job is about to reload it, or has begun to */
        AppConfig *reload_config;     /* the next_config that it would get then; NULL: none */
        bool start_timed_out;         /* a successor that was not ready in time */
        const char *held;             /* why it is not started again by itself just now, static text; NULL: it is */
        bool listening;               /* this incarnation: it serves, as worker of a cluster */
        bool ready_missed;            /* the same: it was to say that it is ready, and was taken to be when that took too long */
        unsigned incarnation;         /* n of the unit name; grows with each spawn, never reused */
        unsigned last_incarnation;    /* the highest that its id has had, be it another Process's */

        RestartHistory history;
        EventHistory events;          /* for people */
        unsigned n_restarts;
        usec_t created_realtime;      /* when the process was made, or restarted on request */
        usec_t started_monotonic, started_realtime; /* of the last spawn; 0: never */
        LastExit last_exit;
        char *status_text;            /* what it says of itself; NULL: nothing */
        ProcessReport *report;        /* and what in messages; NULL: nothing */
        SpawnStep spawn_failed_step;  /* with EXIT_REASON_EXEC_FAILED */
        int spawn_error;              /* negative errno of the last failed spawn or exec */
        int restore_error;            /* negative errno that the next start is to fail with: found when it was restored */
        char *start_fault;            /* that error, in words */
        const char *restart_reason;   /* why it was, is to be, or is not, restarted: static text, or restart_trigger */
        char *restart_trigger;        /* what, other than an exit or a request, restarted it last */
        bool asked_for;               /* somebody waits to be told how the start ends that is under way */
        unsigned n_spawn_failures;    /* of those in a row */
        bool restart_granted;         /* BACKOFF: waits for its place in the machine-wide budget, nothing else */

        /* For app-triggers.c. */
        bool watching;
        usec_t memory_restarted_at;   /* CLOCK_MONOTONIC */

        /* What process-run.c holds for the present incarnation. */
        Credentials *credentials;     /* whose rights it runs with; NULL: pmd's own */
        PidRef main;
        RunnerUnit *unit;
        int gate_fd, error_fd;
        struct SpawnPlace *spawn_place; /* see spawner.h; NULL: none */
        sd_event_source *exit_source, *reap_source, *error_source, *timer_source, *drained_source;
        NotifySocket *notify;         /* NULL: none */
        InputPipe *input;             /* NULL: it has no standard input */
        NodeChannel *channel;         /* NULL: none */
        unsigned worker_id;           /* NODE_UNIQUE_ID; 0: no worker of a cluster */
        uint64_t n_internal_sent;     /* messages of Node's own protocol */
        sd_event_source *watchdog_source;
        uint64_t streams[_LOG_STREAM_KIND_MAX]; /* 0: none, or closed */
        bool in_bag; /* its pidfd and pipes are in one descriptor of the fd store, which the manager counts, else they are there by themselves */
        LogCounter *log_dropped;      /* NULL: it had no log yet */
        bool unit_empty;

        /* For process-outside.c. */
        bool unit_job_seen;          /* this incarnation: the service manager is about to stop it */
        sd_bus_slot *outside_slot;   /* of the question what it is doing */

        /* For process-oom.c. */
        OomKill last_oom_kill;
        uint64_t n_oom_kills;        /* this incarnation */
        bool oom_killed_as_group;    /* this incarnation */
        sd_event_source *oom_source;

        /* For monitor.c: where the window of CPUPercent begins, and where the next one may. */
        usec_t cpu_window_start, cpu_sampled_at;
        uint64_t cpu_window_nsec, cpu_sample_nsec;
        usec_t figures_read_at;
        ResourceUsage figures;
        double cpu_percent;

        /* For bus-queue.c. */
        ProcessField dirty;
        bool in_dirty_queue;
        LIST_FIELDS(Process, dirty_queue);

        /* For process-serialize.c. */
        unsigned state_slot;          /* where it is written, 0: not yet */
        unsigned definition_serial;   /* of what the file has of the definition, 0: not written yet */
        const AppConfig *saved_config;
        unsigned next_definition_serial; /* the same for next_config */
        const AppConfig *saved_next_config;
        bool unsaved;                 /* it could not be written */
        bool saved_at_gate;           /* nothing has changed since */

        LIST_FIELDS(Process, siblings); /* of the App, by id */
        LIST_FIELDS(Process, hidden);   /* of the Manager: those that are not current */
};

/* What a pmd that has ended left of an incarnation. */
typedef struct ProcessRemains {
        pid_t pid;           /* 0: there was no main process */
        uint64_t pid_start_time, pid_id;
        const char *cgroup, *invocation_id; /* NULL: unknown */
} ProcessRemains;

/* process.c */
void process_init(Process *p, const ProcessHostVTable *host, App *app, AppConfig *config, unsigned id, unsigned instance);
void process_event(Process *p, ProcessEvent e);
const char *process_status(const Process *p); /* pm2's word: "online", "stopping", "stopped", "launching", "errored", "waiting restart" */
bool process_is_running(const Process *p);    /* a main process exists that is not known to have exited */
/* What the last start failed with, for people; new memory. */
char *process_failure_message(const Process *p);
void process_reset_counters(Process *p);
/* Whether the next incarnation may run beside the present one, so that a reload is more than a restart. */
bool process_can_overlap(const Process *p);
bool process_may_overlap(const Process *p); /* by its definition, whatever its state */
/* After PROCESS_EVENT_RESTART, if nobody asked for it: says why. */
void process_set_restart_trigger(Process *p, const char *reason);
/* Gives it another definition: with its next start, at once if it is down. */
void process_change_config(Process *p, AppConfig *config);

/* process-run.c: the host that spawns, signals and drains for real */
extern const ProcessHostVTable process_run_host;
int process_new(Manager *m, App *app, AppConfig *config, unsigned id, unsigned instance, Process **ret);
int process_new_restored(Manager *m, App *app, AppConfig *config, unsigned id, unsigned instance, int error, const char *fault, Process **ret);
Process *process_free(Process *p);
DEFINE_CLEANUP_FUNC(Process *, process_free);
/* It is new to its number, or to this pmd: nothing has happened that an event would have to tell, but all properties are to be read anew. */
void process_mark_new(Process *p);
/* Takes note of the execution of the program if that has happened by now: what else happened must be told after it. */
void process_check_exec(Process *p);
/* Looks whether the main process has ended: somebody told so. */
void process_check_exit(Process *p);
/* What the next pmd needs of a process is in the store before anything of it runs. */
void process_go_on_when_stored(Process *p);
/* Looks whether what remains of the incarnation has ended. */
void process_check_drained(Process *p);
int process_signal(Process *p, int signo, bool whole_unit);

/* process-adopt.c: goes on with what another pmd began: finds main process, unit and output pipes again, arms the timer, and enters the state, or what
 * must follow it if the main process has ended meanwhile. The fields that were saved are set. */
void process_adopt(Process *p, ProcessState state, const ProcessRemains *remains);

/* process-fd-store.c: what outlives pmd, of the present incarnation, besides its pidfd and pipes: "ipc", "in", "notify" */
void process_store_fd(Process *p, const char *what, int fd);
void process_unstore_fd(Process *p, const char *what);
int process_take_stored_fd(Process *p, const char *what);

/* process-channel.c: at start-up, when all processes are there: files of sockets that no app has are removed. */
void manager_clean_clusters(Manager *m);

/* process-argv.c: what is executed. New strv. */
int process_build_argv(const Process *p, char ***ret);

/* process-reload.c: two incarnations at once */
void process_want_reload(Process *p, bool wanted);
int process_begin_reload(Process *p);   /* makes and starts the successor; 0, as well if there is one */
void process_end_reload(Process *p);    /* the successor is online: takes the place of p, which ends in its own time */
void process_abandon_reload(Process *p); /* p stays; the successor, if there is one, ends */
void process_adopt_hidden(Process *p, ProcessRole role);
void process_end_hidden(Process *p);    /* those beside p end now */
bool process_has_hidden(const Process *p);
bool process_is_forgettable(const Process *p); /* hidden, and at its end */

/* process-input.c: its standard input, where the definition asks for one */
int process_open_input(Process *p, int *ret_read_fd); /* untouched if there is to be none */
void process_close_input(Process *p);
void process_adopt_input(Process *p);
int process_write_input(Process *p, const char *text, size_t n); /* as input_pipe_write(); -ENOTCONN: it has none */

/* process-env.c: the environment the next incarnation gets: the definition's, and what pm2 gives a child. New strv. */
int process_build_environment(const Process *p, char ***ret);
/* The part of it that the definition says. The processes of a definition share it unless that has an increment_var. New strv. */
int process_definition_environment(const Process *p, char ***ret);
/* Whether it is known, without making both, that this part is the same. */
bool process_shares_environment(const Process *a, const Process *b);

/* process-notify.c: the socket for sd_notify(3), where the definition asks for one */
int process_open_notify(Process *p);       /* before the fork */
void process_close_notify(Process *p);     /* at the end of the incarnation */
int process_adopt_notify(Process *p);
void process_repair_notify(Process *p);    /* somebody may have removed it */
void process_update_watchdog(Process *p);  /* the state has changed */

/* process-channel.c: the IPC channel of Node.js, where the interpreter or the definition asks for one */
int process_open_channel(Process *p, int *ret_child_fd); /* before the fork; -EBADF: none */
int process_set_channel_environment(const Process *p, int fd, char ***env); /* fd: its number in the child */
void process_close_channel(Process *p);    /* at the end of the incarnation, after reading what is left */
void process_adopt_channel(Process *p);
/* JSON that becomes a message of process.on('message'). 0; -ENOTCONN: it has no channel; -ENOBUFS: it does not read. */
int process_send_message(Process *p, const char *json);
/* Tells a worker of a cluster to finish: it closes its servers, answers what it has begun, then handles the signal (0: none) if it has a
 * handler for it, and ends. -ENOTCONN as above, and for no worker. */
int process_send_disconnect(Process *p, int signo);
/* It is about to end: its share of new connections goes to other workers. True: the "shutdown" message is sent in place of the signal. */
bool process_ask_by_message(Process *p);
/* Closes the sockets that pmd holds for the app if none of its processes runs, or is about to. */
void app_release_listeners(App *a);
bool process_needs_sockets(const Process *p); /* it runs, or will again */

/* process-outside.c: what the service manager does to its unit without us */
void process_ask_outside(Process *p);    /* its end, which nobody asked for here, has no consequences until the answer is there; not asked after a SIGKILL of no stop */
void process_unit_job_seen(Process *p, const char *unit); /* a job for a unit, which may be its */
void process_forget_outside(Process *p); /* with the end of the incarnation */
void process_hold(Process *p, const char *reason); /* NULL: no more */

/* process-oom.c: processes of its unit that the kernel kills for lack of memory */
void process_oom_begin(Process *p);  /* with an incarnation, once it is attached */
void process_oom_resume(Process *p); /* with one that another pmd began */
void process_oom_end(Process *p);
/* Whether the main process ended so. si NULL: it is not known how it ended. */
bool process_oom_killed_main(Process *p, const siginfo_t *si);
/* In words, which begin with "the kernel". New memory. */
char *process_oom_describe(const Process *p);
void oom_kill_done(OomKill *k);

/* process-limits.c */
int process_restrictions(const AppConfig *c, SpawnRestrictions *ret); /* 0 or -ENOMEM */
/* Once it is attached: -EOPNOTSUPP, and start_fault says why, if it must not run without a limit that has no effect here. */
int process_check_limits(Process *p);
/* A definition that differs in nothing that would need a restart. */
void process_set_config(Process *p, AppConfig *config);
/* What to know about the present incarnation, new strv, NULL if nothing. */
int process_get_notes(const Process *p, char ***ret);

/* process-log.c: its output. */
int process_relay_stream(Process *p, LogStreamKind kind, int read_fd, log_stream_closed_t closed); /* takes read_fd */
int process_describe_log_trouble(const Process *p, char **ret); /* 1 and new memory; 0: there is none */
bool process_logs_directly(const Process *p);
int process_open_journal_stream(const Process *p, LogStreamKind kind, int *ret_fd); /* blocking, for the app; the unit is known */
int process_flush_log(const Process *p);
/* JOURNAL_STREAM, if that is what fd is. */
int process_set_journal_stream(char ***env, int fd);

/* process-files.c: where its lines go. *ret NULL: not to a file. New memory. */
LogTarget process_log_target(const Process *p); /* never LOG_TARGET_AUTO */
int process_log_path(const Process *p, LogStreamKind kind, char **ret);
int process_combined_log_path(const Process *p, char **ret);
int process_pid_file(const Process *p, char **ret);
void process_write_pid_file(const Process *p);
void process_remove_pid_file(const Process *p);
