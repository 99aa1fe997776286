/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/app-config.h"
#include "shared/list.h"

/* A name and the processes below it. The definition here is the one that the next process is made with; each process keeps its own. */
struct App {
        Manager *manager;
        char *name;
        char *object_path;        /* /org/pmd1/app/<escaped name> */
        AppConfig *config;
        uid_t owner;              /* who started it: may read its environment, as root may */
        LIST_HEAD(Process, processes); /* by id */
        Job *job;                 /* the one that runs */
        LIST_HEAD(Job, waiting_jobs);
        bool announced;           /* on the bus */
        LIST_HEAD(AppSocket, sockets); /* those of "listen" that are open */
        Cluster *cluster;         /* the sockets that its workers share; NULL: none yet */
        unsigned n_workers;       /* how many were made: they are numbered from 1 */

        /* For app-triggers.c. */
        Watch *watch;             /* while one of the processes is watching */
        AppConfig *watch_config;  /* the definition that says what */
        CronJob *cron;            /* NULL without cron_restart */
};

int app_new(Manager *m, AppConfig *config, uid_t owner, App **ret);
App *app_free(App *a);
DEFINE_CLEANUP_FUNC(App *, app_free);

/* Of its processes first the current ones, then those that are hidden. */
Process *app_next_incarnation(const App *a, const Process *p); /* NULL: the first */
#define APP_FOREACH_INCARNATION(p, a) for (Process *p = app_next_incarnation(a, NULL); p; p = app_next_incarnation(a, p))

/* Adds n processes, each with the lowest free instance number, definition config. They are not started. 0 or a negative errno, none added then. */
int app_add_processes(App *a, AppConfig *config, unsigned n);

/* Adds one with the instance number that it had when it was saved. error: 0, or why it cannot be started, in words in fault: it
 * is errored by its first start then. -EEXIST if the number is taken. */
int app_restore_process(App *a, AppConfig *config, unsigned instance, int error, const char *fault, Process **ret);
