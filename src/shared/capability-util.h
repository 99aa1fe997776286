/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* The name as libcap writes it ("cap_chown") for one in either case, with or without "cap_". 0, -EINVAL if there is none, -ENOMEM. */
int capability_normalize(const char *name, char **ret);

/* A bit per capability. 0, -EINVAL for an unknown name, -ENOMEM. */
int capabilities_to_mask(char *const *names, uint64_t *ret);
