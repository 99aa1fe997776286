/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* A file of the runtime directory that stays open, and that somebody may remove under our hands: who writes to it asks before. Nothing is
 * synced: it is for the next pmd of the same boot. */
typedef struct StateFile {
        char *path;
        int fd;
        off_t size; /* what has been written; the next record of a file of records begins there */
        bool lost;  /* it has been removed, or cut, and is to be written anew */
} StateFile;

#define STATE_FILE_NULL { .fd = -EBADF }

int state_file_init(StateFile *f, const char *directory, const char *name);
void state_file_done(StateFile *f);

/* 1: what was written is there. 0: it is not, the file is a new, empty one. Or a negative errno. */
int state_file_check(StateFile *f);
/* The same question where the directory may have been moved away with the file; a costly one. The next check tells. */
void state_file_check_path(StateFile *f);

/* The next check makes it anew. */
void state_file_lose(StateFile *f);

/* At start-up: 0 if there is one. -ENOENT: there is none, and check makes it. */
int state_file_open(StateFile *f);

/* All or, as far as can be told, nothing. */
int state_file_write(StateFile *f, off_t offset, const void *data, size_t n);
int state_file_append(StateFile *f, const char *data, size_t n);
int state_file_cut(StateFile *f, off_t size); /* what is added next begins there in any case */
/* As a whole, for every reader. */
int state_file_replace(StateFile *f, const char *data, size_t n);
