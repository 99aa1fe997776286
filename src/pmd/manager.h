/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "pmd/job.h"
#include "pmd/pmd-forward.h"
#include "shared/app-config.h"
#include "shared/instance.h"
#include "shared/list.h"
#include "shared/restart-budget.h"
#include "shared/settings.h"

/* Registries, queues, and the order of start-up and shutdown. It decides nothing about an app. */
struct Manager {
        Instance *instance;
        sd_event *event;
        Runner *runner;
        SystemdClient *systemd;   /* NULL without systemd */
        FdStore *fd_store;        /* what outlives pmd: pidfds and output pipes of the processes */
        unsigned n_bags;
        bool with_bags;           /* what the store keeps of a process is one descriptor (fd-bag.h) */
        Spawner *spawner;
        KeeperExits *keeper_exits; /* NULL without a keeper */
        LogRelay *log_relay;
        OomLog *oom_log;
        BusFace *bus_face;        /* connections and objects; NULL in some tests */
        LIST_HEAD(AppAction, actions); /* that were triggered and are not answered by all */
        unsigned n_actions;
        const EventSink *event_sink; /* NULL: nobody listens to events */
        bool log_to_journal;      /* default log target */
        bool console;             /* where a definition names no file, lines go to our own standard output and error */
        int lock_fd;
        sd_event_source *runtime_source, *home_source, *runtime_repair_source; /* manager-runtime.c: whether somebody removes what clients look for */
        usec_t runtime_repair_delay; /* 0: nothing to repair */
        bool boot_marked;         /* manager-boot.c: there is a mark that pmd has been started */
        uid_t uid;                /* ours */
        uint64_t init_start_time; /* of process 1, 0: hidden from us */
        Conf settings;            /* pmd.conf */
        bool log_level_given;     /* by whoever started pmd: pmd.conf does not change it */
        sd_bus_slot *boot_slot;   /* manager-boot.c asks whether pmd is enabled */

        struct lh_table *apps;    /* name → App */
        Process **processes;      /* by id, ascending */
        size_t n_processes, n_processes_allocated;
        LIST_HEAD(Process, hidden_processes); /* incarnations that are not current, see ProcessRole */
        unsigned first_process_id; /* numbers below are left to a newer pmd, of which there were processes; 0: none */
        unsigned next_process_id; /* as pm2: grows, begins again at 0 when there is no process */
        uint32_t next_job_id;
        unsigned last_cluster;    /* number of the last one that was made */
        RestartBudget restart_budget; /* for restarts that nobody asked for */
        usec_t spawn_usec;            /* how long one keeps pmd busy, of late */
        StateSlots *state_slots;      /* what is known of processes, for the next pmd */
        DefinitionFile *definition_file;
        RequestJournal *request_journal;
        Triggers *triggers;       /* what else restarts an app */
        StoreWriter *store_writer; /* NULL: nothing was saved yet */
        char *node_drain;         /* path of the script that helps workers of Node.js to finish; "": it is missing, NULL: not looked for yet */

        /* Drained once per turn of the loop, by a deferred source: objects never act on each other recursively. */
        sd_event_source *dispatch_source;
        sd_event_source *save_again_source; /* of what could not be written */
        sd_event_source *reexecute_source; /* NULL: it goes on */
        LIST_HEAD(Job, jobs_to_check);
        LIST_HEAD(Process, dirty_processes);

        bool stopping;            /* the machine is, or the user's session: what ends is not started again */
        bool without_systemd;     /* which there was, and which would start it */
        bool exiting;             /* every app is being stopped, then the loop ends */
        bool exit_when_done;      /* that begins by itself when no app runs or waits any more */
        int exit_status;          /* ours, then: how the apps ended */
        sd_event_source *sigterm_source, *sigint_source, *sighup_source, *sigusr2_source, *sigdone_source;
        sd_bus_message *exit_message; /* who asked, to be answered when all are gone */
};

int manager_new(Instance *instance, Manager **ret); /* takes the instance */
int manager_startup(Manager *m, const char *runner_name); /* directories, lock, runner, log thread, bus; -EBUSY: another pmd serves */
Manager *manager_free(Manager *m);
DEFINE_CLEANUP_FUNC(Manager *, manager_free);

/* Look-ups */
App *manager_get_app(Manager *m, const char *name);
Process *manager_get_process(Manager *m, unsigned id);

/* Every incarnation there is: the current ones by id, then those that are hidden, which may be freed meanwhile. */
typedef struct IncarnationIterator {
        size_t i;
        Process *next_hidden;
} IncarnationIterator;
Process *manager_next_incarnation(const Manager *m, IncarnationIterator *i);
#define MANAGER_FOREACH_INCARNATION(p, m) for (IncarnationIterator _i = {}; ((p) = manager_next_incarnation(m, &_i));)

/* manager-targets.c: what operands mean: "all", a name, a namespace, an id, /regex/, or the absolute path of a script; in pm2's order. Each process once, by id.
 * 0, or -ENOENT with *ret_unknown the operand nothing answers to (static or the operand itself), -EINVAL for a bad regex, -E2BIG for one that costs too much. */
int manager_resolve_targets(Manager *m, char *const *targets, Process ***ret, size_t *ret_n, const char **ret_unknown);

/* Upward calls of the objects */
void manager_add_process(Manager *m, Process *p);      /* memory was reserved by manager_reserve_processes() */
int manager_reserve_processes(Manager *m, size_t n);
int manager_make_app(Manager *m, AppConfig *config, uid_t owner, App **ret); /* there is none of that name */
void manager_remove_process(Manager *m, Process *p);    /* and frees it */
void manager_remove_app(Manager *m, App *a);            /* and frees it; it has no processes */
void manager_replace_process(Manager *m, Process *old, Process *p); /* of the same id; frees nothing */
void manager_wake(Manager *m);                         /* to look at the queues, and at hidden processes */
void manager_process_settled(Manager *m);             /* for the shutdown, which waits for all of them */
void manager_enqueue_job_check(Manager *m, Job *j);
void manager_dequeue_job_check(Manager *m, Job *j);
void manager_enqueue_changed(Manager *m, Process *p);  /* p->dirty says what */
void manager_job_new(Manager *m, Job *j);
void manager_job_progress(Manager *m, const Job *j, unsigned process_id); /* one more of its processes is where it should be */
void manager_job_removed(Manager *m, Job *j, JobResult result);

/* manager-request.c: what turns into jobs. Definitions are finished and checked. While the manager is exiting all give -ESHUTDOWN.
 *
 * -EEXIST: there is an app of that name and force was not given. -ESRCH, -ENOENT: no such user, no such group. -EBUSY: too many jobs.
 * ret_ids: the processes that were made, new memory. */
int manager_start_app(Manager *m, AppConfig *config, uid_t owner, bool force, App **ret_app, Job **ret_job, uint32_t **ret_ids, size_t *ret_n);
/* Makes processes of the app's definition, or deletes those with the lowest ids, until there are n. -EALREADY if there are. ret_ids: the ones
 * that were made or are deleted, new memory. */
int manager_scale_app(Manager *m, App *a, unsigned n, Job **ret_job, uint32_t **ret_ids, size_t *ret_n);
/* One job per app that is touched; *ret_ids is new memory. */
int manager_enqueue_jobs(Manager *m, JobVerb verb, Process *const *processes, size_t n, uint32_t **ret_ids, size_t *ret_n);
/* parallel: of each app as many at a time; 0: one. */
int manager_enqueue_reload(Manager *m, Process *const *processes, size_t n, unsigned parallel, uint32_t **ret_ids, size_t *ret_n);
/* The same for processes of one app, because of what reason says, not of a request. -EALREADY if such a job of the app waits already. */
int manager_enqueue_restart(Manager *m, JobVerb verb, Process *const *processes, size_t n, const char *reason);

/* Its end */
/* Leaves the loop with PMD_EXIT_REEXECUTE and the apps alone, for whoever supervises pmd to start it again. -EOPNOTSUPP: nobody would. */
int manager_reexecute(Manager *m);
int manager_exit(Manager *m);  /* stop everything, then leave the loop */

/* manager-done.c: the end of all apps is ours, too. Looks whether it has come. */
void manager_check_done(Manager *m);
