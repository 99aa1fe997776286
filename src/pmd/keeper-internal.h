/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/keeper.h"
#include "shared/list.h"
#include "shared/pidref.h"
#include "shared/time-util.h"

/* As FileDescriptorStoreMax= of pmd.service. */
#define KEPT_MAX 4096U
#define N_OWN_FDS 32U

/* A descriptor that is kept for pmd. */
typedef struct Kept {
        LIST_FIELDS(struct Kept, kept);
        int fd;
        bool watched; /* dropped when its other end is closed */
        char name[];
} Kept;

typedef struct Keeper {
        char **argv;              /* of pmd, its path first; after an upgrade the next start is of the new one */
        char *notify_address;
        int epoll_fd, signal_fd, notify_fd;
        int upstream_fd;          /* notifies who started us; -EBADF: nobody wants to know */
        int exits_fds[2];
        int lock_fd;              /* -EBADF: the one that we were started with */

        PidRef pmd;
        usec_t start_at;          /* USEC_INFINITY: it runs */
        usec_t ready_at;          /* when this pmd was ready; USEC_INFINITY: not yet */
        usec_t watchdog_at;       /* when it has to have given a sign of life */
        usec_t watchdog_usec;
        bool was_ready;           /* this one or one before it */
        bool aborted;             /* it missed the watchdog and got SIGABRT */
        int end_signal;           /* with which we were told to end; 0: we were not */
        unsigned n_quick_deaths;  /* in a row */

        char **starter;           /* a program that is run once, when pmd is ready; NULL: none */
        bool starter_due;         /* it was not run yet */
        PidRef starting;          /* while it runs */
        bool stay;                /* its end is no reason to tell pmd */
        bool exit_when_done;      /* pmd was told, and the next one is */
        int starter_status;       /* 0: it went well */
        int told_status;          /* ours, as pmd says; negative: it does not say */

        bool ended;
        int exit_status;

        LIST_HEAD(Kept, kept);
        size_t n_kept, n_kept_max;
        uint64_t nofile;          /* the limit that we were started with */
        size_t names_size;        /* of all names, each with a separator */
} Keeper;

/* keeper-store.c: what pmd notifies. Reads what is there. */
void keeper_read_notices(Keeper *k);

void keeper_store_drop(Keeper *k, Kept *kept);
void keeper_store_done(Keeper *k);

/* The names of what is handed over, for $LISTEN_FDNAMES, in its order. New memory. */
int keeper_store_join_names(const Keeper *k, char **ret);

/* In the child that becomes pmd: moves the descriptors to where sd_listen_fds(3) expects them, over those of the keeper. */
int keeper_store_hand_over(Keeper *k, size_t *ret_n);
