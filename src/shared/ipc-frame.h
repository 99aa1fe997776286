/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Takes a stream apart into the messages that newlines end, as the channel between Node.js and its children has them. A message that is larger
 * than max is passed over and counted, whatever its size; an empty line is no message. */

typedef struct IpcFrameReader {
        size_t max;
        char *partial;      /* the beginning of a message whose end has not come yet */
        size_t n_partial, n_allocated;
        bool skipping;      /* up to the next newline */
        uint64_t n_skipped; /* messages that were too large */
} IpcFrameReader;

void ipc_frame_reader_init(IpcFrameReader *r, size_t max);
void ipc_frame_reader_done(IpcFrameReader *r);

/* Takes the stream's next bytes from *data, which moves on, up to the end of a message. 1: *ret is one, of *ret_size bytes and with a NUL behind
 * it, until the next call or the end of data's life. 0: all is taken, and more is needed. -ENOMEM: the message is lost, the next ones are not.
 * The newline in data is overwritten. */
int ipc_frame_next(IpcFrameReader *r, char **data, size_t *size, const char **ret, size_t *ret_size);
