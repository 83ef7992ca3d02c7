/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at work in a folder: a lock on a file in it, held as long as its owner lives. */
#ifndef CT_RUN_LOCK_H
#define CT_RUN_LOCK_H

typedef struct ct_run_lock ct_run_lock;

/* Takes FOLDER/NAME, a file that holds the owner's process and host. The folder is there. NULL and
 * an error that names the owner where another process has it. An owner that has died has it no
 * longer, whatever it left. Where the file system knows no locks, a line on the console says so and
 * nothing is held. */
ct_run_lock *ct_run_lock_take(const char *folder, const char *name);
/* The same, but waits for the end of who has it, which is said on the console: "WAITING by process
 * 1234 on HOST, which is waited for". NULL: does not wait. */
ct_run_lock *ct_run_lock_wait(const char *folder, const char *name, const char *waiting);
/* Removes the file too. NULL is nothing. */
void ct_run_lock_release(ct_run_lock *lock);

#endif
