/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tensor/io/file.h"
#include "train/run/console.h"
#include "train/run/experiment.h"

struct ct_run_lock {
    char *path;
    int file;
};

/* "process 1234 on HOST", as the owner wrote it. */
static void read_owner(int file, char *owner, size_t size) {
    ssize_t got = pread(file, owner, size - 1, 0);
    owner[got > 0 ? got : 0] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    if (!*owner) snprintf(owner, size, "another process");
}

static void write_owner(int file) {
    char host[256] = "", owner[320];
    gethostname(host, sizeof host - 1);
    int length = snprintf(owner, sizeof owner, "process %d on %s\n", (int)getpid(), host);
    /* without it the lock is as good: only the message to another one is the poorer */
    if (ftruncate(file, 0) < 0 || pwrite(file, owner, (size_t)length, 0) < 0) return;
}

/* 0: locked; -1 and an error: another has it, who is named; or errno, where locks are not known. If
 * something is waited for, another's end is. */
static int lock_file(int file, const char *folder, const char *waiting) {
    if (flock(file, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK) return errno;
    char owner[320];
    read_owner(file, owner, sizeof owner);
    if (!waiting) {
        ct_fail("%s: %s is at work there: wait for its end, or take another folder", folder, owner);
        return -1;
    }
    ct_console_line("%s by %s, which is waited for", waiting, owner);
    int wrong;
    do {
        wrong = flock(file, LOCK_EX) < 0 ? errno : 0;
    } while (wrong == EINTR);
    return wrong;
}

/* The file, locked; -1 and an error otherwise. Its owner removes it when it ends: then a new one is
 * made. */
static int open_locked(const char *folder, const char *path, const char *waiting) {
    for (;;) {
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (file < 0) {
            ct_fail("%s: cannot be made: %s", path, strerror(errno));
            return -1;
        }
        int wrong = lock_file(file, folder, waiting);
        if (wrong < 0) {
            close(file);
            return -1;
        }
        if (wrong) {
            ct_console_line("%s: cannot be locked (%s): nothing keeps another run out", path,
                            strerror(wrong));
        }
        int there = ct_file_is_at(file, path);
        if (there == 1) return file;
        if (there < 0) ct_fail("%s: cannot be read: %s", path, strerror(errno));
        close(file);
        if (there < 0) return -1;
    }
}

ct_run_lock *ct_run_lock_wait(const char *folder, const char *name, const char *waiting) {
    ct_run_lock *lock = calloc(1, sizeof *lock);
    if (!lock) return ct_fail("out of memory");
    lock->path = ct_path(folder, name);
    lock->file = lock->path ? open_locked(folder, lock->path, waiting) : -1;
    if (lock->file < 0) {
        free(lock->path);
        free(lock);
        return NULL;
    }
    write_owner(lock->file);
    return lock;
}

ct_run_lock *ct_run_lock_take(const char *folder, const char *name) {
    return ct_run_lock_wait(folder, name, NULL);
}

void ct_run_lock_release(ct_run_lock *lock) {
    if (!lock) return;
    unlink(lock->path); /* while it is held: no one else's goes */
    close(lock->file);
    free(lock->path);
    free(lock);
}
