/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/macro.h"

/* System calls that touch nothing of libc's: what shares pmd's memory must not write to the errno of one of its threads. -errno or what the call returns.
 * HAVE_RAW_SYSCALL: that is so; else errno is used. */

#if defined(__x86_64__) && !defined(__ILP32__)
#define HAVE_RAW_SYSCALL 1

static inline long raw_syscall(long number, long a, long b, long c, long d, long e) {
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        long r;

        __asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
        return r;
}

#elif defined(__aarch64__)
#define HAVE_RAW_SYSCALL 1

static inline long raw_syscall(long number, long a, long b, long c, long d, long e) {
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;

        __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
        return x0;
}

#else
#define HAVE_RAW_SYSCALL 0

static inline long raw_syscall(long number, long a, long b, long c, long d, long e) {
        long r = syscall(number, a, b, c, d, e);

        return r < 0 ? -errno : r;
}
#endif

/* Up to five arguments; pointers and numbers alike. */
#define RAW_SYSCALL(...) RAW_SYSCALL_(__VA_ARGS__, 0, 0, 0, 0, 0)
#define RAW_SYSCALL_(number, a, b, c, d, e, ...) raw_syscall(number, (long) (a), (long) (b), (long) (c), (long) (d), (long) (e))
