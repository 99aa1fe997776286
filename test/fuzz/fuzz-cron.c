/* SPDX-License-Identifier: MIT */
#include "shared/cron-expr.h"
#include "shared/string-util.h"

/* The first four bytes are an instant, the rest is an expression. What is parsed is printed and parsed again, and both must be due at
 * the same instant, in a zone that changes its clock. */

#define ZONE "CET-1CEST,M3.5.0,M10.5.0/3"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_cron_free_ CronExpr *c = NULL, *again = NULL;
        _cleanup_free_ char *text = NULL, *canonical = NULL, *canonical_again = NULL, *fault = NULL;
        usec_t after, next = 0, next_again = 0, same = 0;
        uint32_t seconds;
        int r;

        if (size < sizeof seconds)
                return 0;
        memcpy(&seconds, data, sizeof seconds);
        text = strndup((const char *) data + sizeof seconds, size - sizeof seconds);
        check(text);

        if (cron_parse(text, &c, &fault) < 0) {
                check(fault && *fault);
                return 0;
        }

        canonical = cron_to_string(c);
        check(canonical && cron_parse(canonical, &again, NULL) >= 0);
        canonical_again = cron_to_string(again);
        check(streq_ptr(canonical, canonical_again));

        after = seconds * USEC_PER_SEC;
        r = cron_next(c, after, ZONE, &next);
        check(r == cron_next(again, after, ZONE, &next_again) && next == next_again);
        check(r >= 0 || r == -ENOENT);
        if (r >= 0) {
                check(next > after);
                check(cron_next(c, next - 1, ZONE, &same) >= 0 && same == next);
        }
        return 0;
}
