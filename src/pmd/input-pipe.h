/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-event.h>

#include "shared/macro.h"

/* The writing end of a pipe that is the standard input of a program. What it does not read waits in the pipe, and then here, up to a limit; a
 * text is taken as a whole or not at all. */

typedef struct InputPipe InputPipe;

#define INPUT_PIPE_WAITING_MAX ((size_t) 64 * 1024)

/* Takes the fd. */
int input_pipe_new(sd_event *event, int fd, InputPipe **ret);
InputPipe *input_pipe_free(InputPipe *p); /* what still waits is lost */
DEFINE_CLEANUP_FUNC(InputPipe *, input_pipe_free)

/* 0: it is on its way. -EPIPE: nobody reads any more. -ENOBUFS: it does not read. */
int input_pipe_write(InputPipe *p, const char *text, size_t n);
