/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a child has of pmd's memory between fork and execve(): the stack, the data of pmd and libc, and a SpawnMemory of its own. The heap and
 * the other libraries stay out of it, so that fork need not copy their page tables, and pmd, which writes to them while the child waits at
 * its gate, is not given copies of their pages. */

typedef struct SpawnMemory {
        char *begin; /* a page that nobody may touch, the stack, the copies */
        size_t size, used;
} SpawnMemory;

/* Keeps the rest out of the children that follow, as far as that is possible, and unless a library is preloaded. */
void spawn_memory_exclude(void);

/* Whether libc's functions are libc's: no sanitizer, and nobody (valgrind, auditing) has put himself before them. */
bool spawn_memory_is_plain(void);

/* Empty, with room for copies of so many bytes in all, and a stack; takes what m has already if it is enough, so it begins as {}. 0 or a negative errno. */
#define SPAWN_MEMORY_COPIES_MAX 9
int spawn_memory_prepare(SpawnMemory *m, size_t size);
void spawn_memory_done(SpawnMemory *m);

/* Its lowest part, below which there is nothing. */
#define SPAWN_MEMORY_STACK 16384U
char *spawn_memory_stack(SpawnMemory *m);

/* The copies, for which there has to be room. Nothing is NULL, but an array of strings has its end. */
void *spawn_memory_copy(SpawnMemory *m, const void *data, size_t size);
char *spawn_memory_copy_string(SpawnMemory *m, const char *s);
char **spawn_memory_copy_strv(SpawnMemory *m, char *const *strings);
size_t spawn_memory_size_of_strv(char *const *strings);
