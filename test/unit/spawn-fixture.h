/* SPDX-License-Identifier: MIT */
#pragma once

/* Children, and what is waited for of them. */

#include <signal.h>
#include <sys/types.h>

#include "pmd/process-spawn.h"

/* Each test is made once as it is without, once as with WITH_SPAWNER: what a child does is the same. */
#ifndef WITH_SPAWNER
#define WITH_SPAWNER 0
#endif

#define parameters(argv) make_parameters(argv, WITH_SPAWNER)

void wait_readable(int fd);
siginfo_t wait_child(SpawnResult *c);
int wait_exec(const SpawnResult *c, SpawnStep *ret_step);
SpawnParameters make_parameters(char *const *argv, bool with_spawner);
/* Reads to the end, which comes when the last process that writes has ended. */
char *read_all(int fd);
/* What the program writes to standard output. */
char *run(SpawnParameters p, const char *invocation_id);
/* In a process of its own, as it changes what cannot be changed back; to be called before a child of this process itself has been made:
 * from then on the memory of children that are forked is not whole. */
void check_in_child(void (*f)(void));
void wait_session(pid_t pid);
SpawnResult spawn_until_gate(const SpawnParameters *p);
void end_at_gate(SpawnResult *c);
void check_failure(const SpawnParameters *p, SpawnStep step, int error, int code);
