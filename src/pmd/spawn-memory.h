/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/* What a child has of pmd's memory between fork and execve(): the stack, the data of pmd and libc, and a SpawnMemory of its own. The heap and
 * the other libraries stay out of it, so that fork need not copy their page tables, and pmd, which writes to them while the child waits at
 * its gate, is not given copies of their pages. */

typedef struct SpawnMemory {
        char *begin;
        size_t size, used;
} SpawnMemory;

/* Keeps the rest out of the children that follow, as far as that is possible, and unless a library is preloaded. */
void spawn_memory_exclude(void);

/* Room for copies of so many bytes in all. 0 or a negative errno. */
#define SPAWN_MEMORY_COPIES_MAX 8
int spawn_memory_new(SpawnMemory *m, size_t size);
void spawn_memory_done(SpawnMemory *m);

/* The copies, for which there has to be room. Nothing is NULL, but an array of strings has its end. */
void *spawn_memory_copy(SpawnMemory *m, const void *data, size_t size);
char *spawn_memory_copy_string(SpawnMemory *m, const char *s);
char **spawn_memory_copy_strv(SpawnMemory *m, char *const *strings);
size_t spawn_memory_size_of_strv(char *const *strings);
