/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* To be preloaded: one allocation of pmd's own fails. Those of its libraries do not, as libsystemd's own failures can be the end of its caller,
 * by an assertion. */

#define INTERPOSED __attribute__((visibility("default")))

/* The allocations that are left until one fails; 0: none does. */
static atomic_long *left;
static const char *text, *text_end; /* of pmd */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static int find_text(struct dl_phdr_info *info, size_t size, void *data) {
        for (int i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
                        text = (const char *) info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                        text_end = text + info->dlpi_phdr[i].p_memsz;
                }
        return 1;
}

__attribute__((constructor)) static void begin(void) {
        const char *path = getenv("MALLOC_LEFT");
        int fd = path && strcmp(program_invocation_short_name, "pmd") == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
        void *p = fd >= 0 ? mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

        if (fd >= 0)
                close(fd);
        if (p == MAP_FAILED)
                return;
        dl_iterate_phdr(find_text, NULL); /* the program comes first */
        left = p;
}

static int fails(const void *caller) {
        if (!left || (const char *) caller < text || (const char *) caller >= text_end)
                return 0;
        if (atomic_load(left) <= 0 || atomic_fetch_sub(left, 1) != 1)
                return 0;
        errno = ENOMEM;
        return 1;
}

INTERPOSED void *malloc(size_t n) {
        return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

INTERPOSED void *calloc(size_t n, size_t m) {
        return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, m);
}

INTERPOSED void *realloc(void *p, size_t n) {
        return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

INTERPOSED char *strdup(const char *s) {
        size_t n = strlen(s) + 1;
        char *copy = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);

        return copy ? memcpy(copy, s, n) : NULL;
}
