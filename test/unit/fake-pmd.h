/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

/* A pmd that knows no apps and answers by a script: what it does is chosen by the first target. See fake-pmd.c. */

#define FAKE_N_PROCESSES 100U

/* Serves home/run/pmd.sock from a child process that dies with its parent. The pid. */
pid_t fake_pmd_fork(const char *home);

/* For a program that is launched as "PROGRAM --private=HOME --keeper", or as "PROGRAM --broker" from a service file: becomes the
 * fake and does not return. Without arguments it does nothing. */
void fake_pmd_main(int argc, char **argv);
