/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "pmd/store-writer.h"
#include "shared/macro.h"

/* The saved list, as the manager's processes make it and are made from it again. */

/* What became of a list that was restored. */
typedef struct Restored {
        uint32_t *job_ids;
        size_t n_jobs;
        uint32_t *process_ids; /* that were made */
        size_t n_processes, n_processes_allocated;
        char **skipped;        /* apps of the list that there were already */
        char **warnings;       /* for people */
} Restored;

void restored_done(Restored *r);

/* Where the list is. New memory, NULL if there is none. */
char *manager_saved_path(const Manager *m);

/* Saves all processes, with what was asked of each; done() follows when the disk has them. -ENODATA if there are none and force was not
 * given; -ESHUTDOWN while exiting: all are being stopped then. On errors done() does not follow. */
int manager_save(Manager *m, bool force, store_written_t done, void *userdata);

/* Saves that there are none. */
int manager_clear_saved(Manager *m, store_written_t done, void *userdata);

/* Makes the processes of the saved list whose apps do not exist, and starts those that were not stopped. -ENOENT if there is no saved
 * list; -EBADMSG if none of its generations can be read, ret->warnings telling why; -ESHUTDOWN. */
int manager_resurrect(Manager *m, Restored *ret);
