/* SPDX-License-Identifier: MIT */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>

#include "pmd/raw-syscall.h"
#include "pmd/spawn-clone.h"

static struct clone_args make_args(uint64_t flags, int cgroup_fd, int *pidfd) {
        struct clone_args args = { .flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t) pidfd, .exit_signal = SIGCHLD };

        if (cgroup_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t) cgroup_fd;
        }
        return args;
}

pid_t spawn_clone(uint64_t flags, int cgroup_fd, void (*run)(void *userdata), void *userdata, int *ret_pidfd) {
        int pidfd = -EBADF;
        struct clone_args args = make_args(flags, cgroup_fd, &pidfd);
        long pid;

        pid = RAW_SYSCALL(SYS_clone3, &args, sizeof(args));
        if (pid == 0) {
                run(userdata);
                __builtin_unreachable();
        }
        if (pid > 0)
                *ret_pidfd = pidfd;
        return (pid_t) pid;
}

/* The child begins with an empty stack, so what it needs is in registers. */
static long clone_on_stack(const struct clone_args *args, void (*run)(void *userdata), void *userdata) {
#if defined(__x86_64__) && !defined(__ILP32__)
        register void (*r12)(void *) __asm__("r12") = run;
        register void *r13 __asm__("r13") = userdata;
        long pid;

        __asm__ volatile("syscall\n\t"
                         "test %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xor %%ebp, %%ebp\n\t"
                         "mov %%r13, %%rdi\n\t"
                         "call *%%r12\n\t"
                         "ud2\n"
                         "1:"
                         : "=a"(pid)
                         : "a"(SYS_clone3), "D"(args), "S"(sizeof(*args)), "r"(r12), "r"(r13)
                         : "rcx", "r11", "memory", "cc");
        return pid;
#elif defined(__aarch64__)
        register long x8 __asm__("x8") = SYS_clone3;
        register long x0 __asm__("x0") = (long) args;
        register long x1 __asm__("x1") = (long) sizeof(*args);
        register void (*x10)(void *) __asm__("x10") = run;
        register void *x11 __asm__("x11") = userdata;

        __asm__ volatile("svc 0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, #0\n\t"
                         "mov x30, #0\n\t"
                         "mov x0, x11\n\t"
                         "blr x10\n\t"
                         "brk #1\n"
                         "1:"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x10), "r"(x11)
                         : "memory", "cc");
        return x0;
#else
        return -EOPNOTSUPP;
#endif
}

pid_t spawn_clone_in_memory(uint64_t flags, int cgroup_fd, char *stack, size_t stack_size, void (*run)(void *userdata), void *userdata, int *ret_pidfd) {
        int pidfd = -EBADF;
        struct clone_args args = make_args(flags | CLONE_VM, cgroup_fd, &pidfd);
        long pid;

        if (!HAVE_RAW_SYSCALL)
                return -EOPNOTSUPP;

        args.stack = (uintptr_t) stack;
        args.stack_size = stack_size;
        pid = clone_on_stack(&args, run, userdata);
        if (pid > 0)
                *ret_pidfd = pidfd;
        return (pid_t) pid;
}
