/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* Writes the file of shared/process-states.h: a slot for each process, which is overwritten in place. */

int state_slots_new(const char *runtime_dir, StateSlots **ret);
StateSlots *state_slots_free(StateSlots *s);
DEFINE_CLEANUP_FUNC(StateSlots *, state_slots_free);

/* As state_file_check(). */
int state_slots_check(StateSlots *s);
void state_slots_check_path(StateSlots *s);

/* The lowest one that is free. */
int state_slots_take(StateSlots *s, unsigned *ret);
/* text has a NUL behind its n bytes. */
int state_slots_write(StateSlots *s, unsigned slot, const char *text, size_t n);
void state_slots_release(StateSlots *s, unsigned slot);

/* At start-up: how many there are, at most, and what is in them, see process_state_read(). What is not free is taken. */
int state_slots_load(StateSlots *s, unsigned *ret_n);
int state_slots_read(StateSlots *s, unsigned slot, json_object **ret);
/* When all have been read: removes what belongs to none. */
void state_slots_clean(StateSlots *s);
