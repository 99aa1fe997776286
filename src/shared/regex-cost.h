/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* regcomp(3) writes repetitions out: "((a{1,99}){1,99}){1,99}" takes gigabytes, and whoever sends us a pattern would have us take them. So what a pattern
 * will cost is counted first. */

/* So much all patterns of one request may cost together: what regcomp() takes grows with its square, to some megabytes and tens of milliseconds here. */
#define REGEX_COST_MAX 512U

/* About the number of nodes that an extended regular expression is compiled to, or UINT_MAX: too many, too deeply nested, with a
 * reference to what a group has matched, or repetitions of repetitions that may match nothing. Whether the pattern is valid only regcomp() knows. */
unsigned regex_cost(const char *pattern);
