/* SPDX-License-Identifier: MIT */
#pragma once

/* By these an event in the life of an app is found in the journal; catalog/pmd.catalog explains them. */

#define PMD_MESSAGE_STARTED_STR "98b1a88166df4d95904ece32d3078d2c"
#define PMD_MESSAGE_EXITED_STR "8ff90f64733241d9a3a9e5a6f4710d0a"
#define PMD_MESSAGE_OOM_KILL_STR "519042a4c12a440185cd62ff2c97aaa5"
#define PMD_MESSAGE_RESTART_STR "0e1136ecd01e473aa10abd69ebf4c0b2"
#define PMD_MESSAGE_GAVE_UP_STR "8c02288088af4ba892df88d2ae038ce0"
#define PMD_MESSAGE_STOPPED_STR "85c348afe4224e26a21a7edf45688109"
#define PMD_MESSAGE_REQUESTED_STR "bc24721188c14706be6afbf83749a87f"
#define PMD_MESSAGE_FLUSHED_STR "8ba49e59ad5045bf945b8ae46a4119c5"
