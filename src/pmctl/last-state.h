/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-options.h"

/* Where no pmd answers: prints what the last one wrote of its processes, read only, and which of them live. How many there are; 0 too if
 * nothing can be read. */
int show_last_state(const Options *o);

/* Whether a process runs that no pmd looks after, or a keeper that starts one in vain: then there is still something to end. */
bool last_state_lives(const Options *o, bool *ret_keeper);
