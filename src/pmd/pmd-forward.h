/* SPDX-License-Identifier: MIT */
#pragma once

/* The types of pmd, so that no header needs another one. */
typedef struct App App;
typedef struct AppAction AppAction;
typedef struct AppSocket AppSocket;
typedef struct BusFace BusFace;
typedef struct Cluster Cluster;
typedef struct Credentials Credentials;
typedef struct CronJob CronJob;
typedef struct DefinitionFile DefinitionFile;
typedef struct EventSink EventSink;
typedef struct FdStore FdStore;
typedef struct InputPipe InputPipe;
typedef struct Job Job;
typedef struct KeeperExits KeeperExits;
typedef struct LogRelay LogRelay;
typedef struct Manager Manager;
typedef struct NodeChannel NodeChannel;
typedef struct OomLog OomLog;
typedef struct Process Process;
typedef struct ProcessReport ProcessReport;
typedef struct RequestJournal RequestJournal;
typedef struct Runner Runner;
typedef struct RunnerUnit RunnerUnit;
typedef struct Spawner Spawner;
typedef struct StateSlots StateSlots;
typedef struct StoreWriter StoreWriter;
typedef struct SystemdClient SystemdClient;
typedef struct Triggers Triggers;
typedef struct Watch Watch;
