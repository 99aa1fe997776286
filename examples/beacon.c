/* SPDX-License-Identifier: MIT */

/* A native program: a heartbeat on standard output, a warning on standard error now and then. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
        setvbuf(stdout, NULL, _IOLBF, 0);

        for (unsigned n = 1;; n++) {
                printf("beat %u\n", n);
                if (n % 10 == 0)
                        fprintf(stderr, "<4>%u beats and nobody answers\n", n);
                sleep(3);
        }
}
