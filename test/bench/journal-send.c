/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-journal.h>

/* Sends lines of a file to the journal in a loop, with as many fields as pmd sends: what pmd is measured against. */

int main(int argc, char *argv[]) {
        FILE *f = argc == 2 ? fopen(argv[1], "re") : NULL;
        size_t n_allocated = 0;
        char *line = NULL;
        ssize_t n;

        if (!f)
                return EXIT_FAILURE;

        while ((n = getline(&line, &n_allocated, f)) > 0) {
                char message[8192] = "MESSAGE=";
                size_t k = strlen(message);

                if ((size_t) n > sizeof message - k)
                        return EXIT_FAILURE;
                memcpy(message + k, line, (size_t) n - 1);

                struct iovec iov[] = {
                        { message, k + (size_t) n - 1 },
                        { (char *) "PRIORITY=6", 10 },
                        { (char *) "SYSLOG_IDENTIFIER=loop", 22 },
                        { (char *) "PM_APP=loop", 11 },
                        { (char *) "PM_ID=0", 7 },
                        { (char *) "PM_INSTANCE=0", 13 },
                        { (char *) "PM_NAMESPACE=default", 20 },
                        { (char *) "PM_STREAM=out", 13 },
                        { (char *) "PM_UNIT=pm-loop-0-1.scope", 25 },
                        { (char *) "OBJECT_PID=1", 12 },
                };
                if (sd_journal_sendv(iov, sizeof iov / sizeof *iov) < 0)
                        return EXIT_FAILURE;
        }
        free(line);
        (void) fclose(f);
        return EXIT_SUCCESS;
}
