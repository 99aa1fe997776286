/* SPDX-License-Identifier: MIT */
#pragma once

/* Names that pmd and libpmd must agree on; documented in dbus/org.pmd1.xml. */
#define PMD_BUS_NAME "org.pmd1"
#define PMD_BUS_NAME_CLIENT "org.pmd1.Client" /* by which the bus policy keeps others from a second connection */
#define PMD_PATH "/org/pmd1"
#define PMD_PATH_APP "/org/pmd1/app"
#define PMD_PATH_PROCESS "/org/pmd1/process"
#define PMD_INTERFACE_MANAGER "org.pmd1.Manager"
#define PMD_INTERFACE_APP "org.pmd1.App"
#define PMD_INTERFACE_PROCESS "org.pmd1.Process"

/* The exit status of a pmd that is to be started again at once, see RestartForceExitStatus= of systemd.service(5). */
#define PMD_EXIT_REEXECUTE 133
/* And of one that finds another one serving. */
#define PMD_EXIT_ANOTHER_SERVES 75

#define PMD_ERROR_NO_SUCH_APP "org.pmd1.Error.NoSuchApp"
#define PMD_ERROR_NO_SUCH_PROCESS "org.pmd1.Error.NoSuchProcess"
#define PMD_ERROR_APP_EXISTS "org.pmd1.Error.AppExists"
#define PMD_ERROR_INVALID_DEFINITION "org.pmd1.Error.InvalidDefinition"
#define PMD_ERROR_NOT_EXECUTABLE "org.pmd1.Error.NotExecutable"
#define PMD_ERROR_NOT_RUNNING "org.pmd1.Error.NotRunning"
#define PMD_ERROR_INVALID_SIGNAL "org.pmd1.Error.InvalidSignal"
#define PMD_ERROR_TOO_MANY_JOBS "org.pmd1.Error.TooManyJobs"
#define PMD_ERROR_EXITING "org.pmd1.Error.Exiting"
#define PMD_ERROR_SPAWN_FAILED "org.pmd1.Error.SpawnFailed"
#define PMD_ERROR_EXEC_FAILED "org.pmd1.Error.ExecFailed"
#define PMD_ERROR_EXITED_EARLY "org.pmd1.Error.ExitedEarly"
#define PMD_ERROR_NOT_READY "org.pmd1.Error.NotReady"
#define PMD_ERROR_ERRORED "org.pmd1.Error.Errored"
#define PMD_ERROR_KILL_FAILED "org.pmd1.Error.KillFailed"
#define PMD_ERROR_CANCELED "org.pmd1.Error.Canceled"
#define PMD_ERROR_NOTHING_TO_DO "org.pmd1.Error.NothingToDo"
#define PMD_ERROR_NOTHING_TO_SAVE "org.pmd1.Error.NothingToSave"
#define PMD_ERROR_NO_SAVED_LIST "org.pmd1.Error.NoSavedList"
#define PMD_ERROR_NO_CHANNEL "org.pmd1.Error.NoChannel"
#define PMD_ERROR_CHANNEL_FULL "org.pmd1.Error.ChannelFull"
#define PMD_ERROR_NO_STDIN "org.pmd1.Error.NoStandardInput"
#define PMD_ERROR_NO_SUCH_ACTION "org.pmd1.Error.NoSuchAction"
#define PMD_ERROR_NO_ANSWER "org.pmd1.Error.NoAnswer"
#define PMD_ERROR_SAVED_LIST_DAMAGED "org.pmd1.Error.SavedListDamaged"

/* One event of GetHistory(). */
#define PMD_EVENT_SIGNATURE "ttussiistsuus"

/* One row of ListProcesses(). */
#define PMD_LIST_ROW_SIGNATURE "ussususttuu(iis)ttdtsbssssasasssssssasa{sv}"
#define PMD_LIST_SIGNATURE "a(" PMD_LIST_ROW_SIGNATURE ")"
