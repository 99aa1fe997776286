/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* The definitions that processes refer to in what is written of them, in a file of the runtime directory: a line for each, with its serial, a
 * space, and JSON. Lines are added; what nobody needs any more goes when it is more than the rest, and at start-up. */

#define DEFINITION_FILE "definitions"

int definition_file_new(const char *runtime_dir, DefinitionFile **ret);
DefinitionFile *definition_file_free(DefinitionFile *f);
DEFINE_CLEANUP_FUNC(DefinitionFile *, definition_file_free);

/* As state_file_check(). After a 0 there are none. */
int definition_file_check(DefinitionFile *f);
void definition_file_check_path(DefinitionFile *f);

int definition_file_add(DefinitionFile *f, const char *json, unsigned *ret_serial);
void definition_file_remove(DefinitionFile *f, unsigned serial);
/* -ENOENT: there is none. */
int definition_file_read(DefinitionFile *f, unsigned serial, char **ret_json);

/* At start-up: what was loaded and is not needed is removed, or, if nobody can know whether it is, kept for good. */
int definition_file_load(DefinitionFile *f);
void definition_file_need(DefinitionFile *f, unsigned serial);
void definition_file_clean(DefinitionFile *f, bool keep);
