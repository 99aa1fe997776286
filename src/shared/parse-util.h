/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Each parses the whole string or fails: -EINVAL for what is no number, -ERANGE for one that does not fit. */
int safe_atou(const char *s, unsigned *ret);
int safe_atoi(const char *s, int *ret);
int safe_atou64(const char *s, uint64_t *ret);

/* 1/yes/true/on and 0/no/false/off in any case: 1, 0 or -EINVAL. */
int parse_boolean(const char *s);

/* Bytes, with an optional suffix K, M, G or T of base 1024 (in either case). */
int parse_size(const char *s, uint64_t *ret);

/* "12.5%", with at most two decimals, as hundredths of a percent. */
int parse_percent(const char *s, uint64_t *ret);

/* "0-3,5" or "0-3 5". As the kernel writes such lists, without spaces, and as a bit per CPU, the lowest first; new memory. */
int parse_cpu_list(const char *s, char **ret_list, uint8_t **ret_mask, size_t *ret_size);
