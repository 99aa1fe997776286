/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/ecosystem.h"
#include "pmctl/pmctl-definition.h"

/* What a verb is to do with the apps of an ecosystem file. Everything is read, checked and looked up before anything is done. */

typedef struct FileApp {
        const EcosystemApp *entry;
        AppConfig *config, *finished; /* as the file and the command line have it; derived and checked */
        char *name;
        ProcessList processes;        /* those that it has already; what they hold is the plan's */
        char **changes;               /* attributes in which they differ from the file */

        /* How it went. */
        bool ended;
        int r;
        pmd_result result;
        pmd_error error;
} FileApp;

typedef struct FilePlan {
        Ecosystem *file;
        FileApp *apps;
        size_t n_apps;
        ProcessList known; /* all there are, by name */
        char **faults;
} FilePlan;

void file_plan_done(FilePlan *p);
#define _cleanup_file_plan_ _cleanup_(file_plan_done)

/* names_only: nothing but the name of each app is wanted. 0 or an ExitCode, all faults printed. */
int file_plan_read(const Options *o, const Caller *caller, const char *path, bool names_only, FilePlan *p);

/* Which of the apps there are. 0 or an ExitCode. */
int file_plan_look_up(const Options *o, pmd_connection *c, FilePlan *p);
