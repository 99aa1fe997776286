/* SPDX-License-Identifier: MIT */
#include "test.h"

Test *test_first = NULL, **test_last = &test_first;
jmp_buf test_escape;

static bool run_one(const Test *t) {
        if (setjmp(test_escape) != 0)
                return false;
        t->run();
        return true;
}

int main(void) {
        unsigned n = 0, failed = 0;

        setvbuf(stdout, NULL, _IOLBF, 0);

        for (Test *t = test_first; t; t = t->next) {
                bool ok = run_one(t);

                failed += !ok;
                printf("%s %u - %s\n", ok ? "ok" : "not ok", ++n, t->name);
        }

        printf("1..%u\n", n);
        return failed > 0;
}
