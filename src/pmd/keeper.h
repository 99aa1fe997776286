/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/instance.h"

/* pmd's parent where there is no systemd: "pmd --keeper …" becomes a small program that runs "pmd …", starts it again when it dies,
 * and keeps its descriptors meanwhile (fd-store.h). It is the subreaper above pmd, so apps become its children when pmd is killed,
 * and only it learns how they end then: it tells pmd, through a pipe that is handed over among the kept descriptors.
 *
 * It is a program of its own (keeper-main.c, keeper-store.c) because pmd's libraries would treble its memory. */

/* In a message of pmd's: the lock file was removed, it is to be made and locked anew. */
#define KEEPER_LOCK "KEEPER_LOCK="
/* And its own output goes on in a new file of this name, if it went to one that was removed. */
#define KEEPER_LOG "KEEPER_LOG="

#define KEEPER_EXITS "exits" /* the name of the pipe's read end in the fd store */

/* How a child of the keeper ended. Children that are no app of pmd's are among them. */
typedef struct KeeperExit {
        int32_t pid;
        int32_t code;        /* si_code and si_status of waitid() */
        int32_t status;
        uint32_t reserved;
        uint64_t start_time; /* of /proc/PID/stat, in clock ticks; 0: unknown */
} KeeperExit;

/* Reads one from the pipe, which does not block. It is there before the process is reaped, thus before a pidfd says EPOLLHUP.
 * 1: had one, 0: none now, -EPIPE: the keeper is gone and will tell no more, or another negative errno. */
int keeper_read_exit(int fd, KeeperExit *ret);

/* A program that is run once, when pmd is ready. When it has ended, pmd is told to end with its apps. */
typedef struct KeeperStarter {
        char *const *argv;
        bool stay; /* pmd is not told */
} KeeperStarter;

/* How the keeper gets it, before the words of pmd: how many words, which follow, are those of the program. */
#define KEEPER_STARTER "--starter="
#define KEEPER_STARTER_STAY "--starter-stay="

/* Turns this process into the keeper of a pmd with these arguments, less --keeper; starter may be NULL. A negative errno if that fails, -EBUSY if
 * there is one; it has been logged. */
int keeper_exec(const Instance *i, const KeeperStarter *starter, char *const argv[]);

