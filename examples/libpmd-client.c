/* SPDX-License-Identifier: MIT */

/* Lists the processes that pmd keeps.
 *
 *     cc -o libpmd-client libpmd-client.c $(pkg-config --cflags --libs pmd) */

#include <inttypes.h>
#include <pmd.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, pmd_error *e) {
        fprintf(stderr, "%s: %s\n", what, e->message ? e->message : "failed");
        pmd_error_free(e);
        return EXIT_FAILURE;
}

int main(void) {
        pmd_connection *c;
        pmd_process *p;
        pmd_error e = { 0 };
        size_t n;

        if (pmd_open(PMD_SCOPE_AUTO, NULL, PMD_OPEN_NO_START, &c, &e) < 0)
                return fail("Cannot reach pmd", &e);

        if (pmd_list(c, NULL, 0, &p, &n, &e) < 0) {
                pmd_close(c);
                return fail("Cannot list", &e);
        }

        for (size_t i = 0; i < n; i++) {
                printf("%" PRIu32 "\t%s\t%s\tpid %" PRIu32, p[i].id, p[i].name, p[i].status, p[i].pid);
                if (p[i].memory != UINT64_MAX)
                        printf("\t%" PRIu64 " KiB", p[i].memory / 1024);
                putchar('\n');
        }

        pmd_process_free_many(p, n);
        pmd_close(c);
        return EXIT_SUCCESS;
}
