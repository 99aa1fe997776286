/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/process-serialize.h"
#include "shared/app-config.h"

/* What is new and may be missing does not change it; a pmd leaves alone what has a higher one than its own. "version", "boot" and "id" are what they are
 * in each. */
#define PROCESS_STATE_VERSION 1

/* process-definition.c: puts those that p has or is to have on file, if they are not. */
int process_save_definitions(Process *p);
void process_remove_unused_definition(const Process *p, unsigned serial);
/* At start-up, when all processes are there. */
void manager_clean_definitions(Manager *m);

/* Definitions read so far: processes that shared one share it again. */
typedef struct SavedDefinitions {
        struct {
                unsigned serial;
                AppConfig *config;
        } *items;
        size_t n, n_allocated;
} SavedDefinitions;

int saved_definitions_get(SavedDefinitions *d, Manager *m, unsigned serial, AppConfig **ret);
void saved_definitions_done(SavedDefinitions *d);
