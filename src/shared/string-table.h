/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* An enum T whose values run from 0 to _T_MAX - 1 and whose invalid value is -EINVAL gets its names from one array. */
#define DEFINE_STRING_TABLE(type, name)                                                 \
        const char *name##_to_string(type v) {                                          \
                if ((int) v < 0 || (size_t) v >= ELEMENTSOF(name##_table))              \
                        return NULL;                                                    \
                return name##_table[v];                                                 \
        }                                                                               \
        type name##_from_string(const char *s) {                                        \
                if (s)                                                                  \
                        for (size_t i = 0; i < ELEMENTSOF(name##_table); i++)           \
                                if (name##_table[i] && strcmp(name##_table[i], s) == 0) \
                                        return (type) i;                                \
                return (type) -EINVAL;                                                  \
        }

#define DECLARE_STRING_TABLE(type, name)                                                \
        const char *name##_to_string(type v);                                           \
        type name##_from_string(const char *s)
