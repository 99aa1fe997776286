/* SPDX-License-Identifier: MIT */
#pragma once

/* Pipes that are told from each other by the byte that can be read from them. */

#include <fcntl.h>
#include <unistd.h>

#include "test.h"

/* The end to read from. */
static inline int pipe_with(char c) {
        int fds[2];

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        ASSERT_EQ(write(fds[1], &c, 1), 1);
        (void) close(fds[1]);
        return fds[0];
}

/* 0 if there is none. */
static inline char read_byte(int fd) {
        char c = 0;

        return read(fd, &c, 1) == 1 ? c : 0;
}
