/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "pmd/pmd-forward.h"

/* What pmd knows of its processes, in the runtime directory: a file with a slot for each process, and one with the definitions, which many
 * processes share. Written when something changes, so that a pmd that is killed loses nothing. What the files do not say,
 * the fds of the store do: the pidfd, and the read ends of the output pipes. */

/* Before the gate is opened this has to be on file: what then runs must be found again. 0 or a negative errno. */
int process_save(Process *p);

/* The process is no more. */
void process_unsave(Process *p);

/* Somebody may have moved the files away: those that are not where they should be are made anew when something is saved. */
void manager_check_state_files(Manager *m);

/* At start-up, when runner and log thread are there, and before anybody is served: the processes of a pmd that ended. What is
 * of another boot, or of no use, is removed. */
int manager_readopt(Manager *m);
/* Whether what a pmd wrote is of this boot and this process 1: pids, monotonic times, fds and open requests of another mean nothing. */
bool manager_is_of_this_boot(const Manager *m, json_object *o);
