/* SPDX-License-Identifier: MIT */
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pmd/spawn-memory.h"
#include "shared/path-util.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0 /* its functions, which are everywhere, have their memory everywhere */
#endif

/* ---- what stays with pmd ---- */

static size_t page_size(void) {
        return (size_t) sysconf(_SC_PAGESIZE);
}

static void exclude(uintptr_t begin, uintptr_t end) {
        begin &= ~(page_size() - 1);
        if (end > begin)
                (void) madvise((void *) begin, end - begin, MADV_DONTFORK); /* ENOMEM: there are holes in it */
}

/* The child calls functions of pmd and of libc. */
static bool is_needed(const char *library) {
        const char *name = path_basename(library);

        return isempty(name) || startswith(name, "libc.") || startswith(name, "libc-") || startswith(name, "ld-") || startswith(name, "ld.") ||
                startswith(name, "ld64.") || startswith(name, "linux-vdso") || startswith(name, "linux-gate");
}

static int exclude_library(struct dl_phdr_info *info, size_t size, void *userdata) {
        uintptr_t begin = UINTPTR_MAX, end = 0;

        if (is_needed(info->dlpi_name))
                return 0;
        for (size_t i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *h = info->dlpi_phdr + i;

                if (h->p_type != PT_LOAD)
                        continue;
                begin = MIN(begin, info->dlpi_addr + h->p_vaddr);
                end = MAX(end, info->dlpi_addr + h->p_vaddr + h->p_memsz);
        }
        exclude(begin, end);
        return 0;
}

bool spawn_memory_is_plain(void) {
        return !IS_SANITIZED && isempty(getenv("LD_PRELOAD")) && access("/etc/ld.so.preload", F_OK) < 0;
}

void spawn_memory_exclude(void) {
        static atomic_uintptr_t heap_begin, heap_end; /* other threads have children, too */
        uintptr_t end = (uintptr_t) sbrk(0);
        ProcStat st;

        if (end == atomic_load(&heap_end) || !spawn_memory_is_plain()) /* those functions may need any memory */
                return;

        if (atomic_load(&heap_begin) == 0) {
                if (proc_read_stat(getpid(), &st) < 0 || st.heap_begin == 0)
                        return;
                (void) dl_iterate_phdr(exclude_library, NULL);
                atomic_store(&heap_begin, st.heap_begin);
        }
        exclude(atomic_load(&heap_begin), end);
        atomic_store(&heap_end, end);
}

/* ---- what goes along ---- */

#define ALIGNMENT sizeof(max_align_t)

static size_t copies_offset(void) {
        return page_size() + SPAWN_MEMORY_STACK;
}

int spawn_memory_prepare(SpawnMemory *m, size_t size) {
        void *p;

        size += copies_offset() + SPAWN_MEMORY_COPIES_MAX * ALIGNMENT;
        if (size > m->size) {
                spawn_memory_done(m);
                p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (p == MAP_FAILED)
                        return -errno;
                *m = (SpawnMemory) { .begin = p, .size = size };
                if (mprotect(p, page_size(), PROT_NONE) < 0)
                        return -errno;
        }
        m->used = copies_offset();
        return 0;
}

char *spawn_memory_stack(SpawnMemory *m) {
        return m->begin + page_size();
}

void spawn_memory_done(SpawnMemory *m) {
        if (m->begin)
                (void) munmap(m->begin, m->size);
        *m = (SpawnMemory) {};
}

static void *take(SpawnMemory *m, size_t size) {
        char *p = m->begin + m->used;

        assert(size <= m->size - m->used);
        m->used += MIN((size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, m->size - m->used);
        return p;
}

void *spawn_memory_copy(SpawnMemory *m, const void *data, size_t size) {
        return size > 0 ? memcpy(take(m, size), data, size) : NULL;
}

char *spawn_memory_copy_string(SpawnMemory *m, const char *s) {
        return s ? spawn_memory_copy(m, s, strlen(s) + 1) : NULL;
}

size_t spawn_memory_size_of_strv(char *const *strings) {
        size_t size = sizeof(char *);

        STRV_FOREACH(s, strings)
                size += sizeof(char *) + strlen(*s) + 1;
        return size;
}

char **spawn_memory_copy_strv(SpawnMemory *m, char *const *strings) {
        char **copy = take(m, spawn_memory_size_of_strv(strings)), **to = copy, *text;

        text = (char *) (copy + strv_length(strings) + 1);
        STRV_FOREACH(s, strings) {
                *to++ = text;
                text = stpcpy(text, *s) + 1;
        }
        *to = NULL;
        return copy;
}
