/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into `train` by tests/faults/walk.py: the n-th allocation, or system call, fails. */
#include "tests/faults/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    char kind[16];
    long number;
    bool on, kills;
    int error, log;
} fault = {.log = -1};
static _Atomic long count;
static _Atomic bool began, told;
static _Thread_local bool within; /* what counting itself calls */

/* ---- which one --------------------------------------------------------------------------- */

static void tell(const char *kind, uint64_t hash, const char *library) {
    char line[128];
    int length =
        snprintf(line, sizeof line, "%s %016llx %.64s\n", kind, (unsigned long long)hash, library);
    if (fault.log >= 0 && write(fault.log, line, (size_t)length) < 0) _exit(98);
}

static uint64_t hash_of_calls(void) {
    void *frame[48];
    uint64_t hash = 0;
    int frames = backtrace(frame, 48);
    for (int i = 2; i < frames; i++) hash = (hash ^ (uintptr_t)frame[i]) * 0x9e3779b97f4a7c15u;
    return hash;
}

/* The library that asked, but for C's and C++'s own. */
static const char *library_of_calls(void) {
    void *frame[48];
    int frames = backtrace(frame, 48);
    for (int i = 2; i < frames; i++) {
        Dl_info info;
        const char *name = dladdr(frame[i], &info) ? strrchr(info.dli_fname, '/') : NULL;
        bool own =
            !name || strstr(name, "faults") || strstr(name, "/libc.") || strstr(name, "/libstdc++");
        if (!own) return name + 1;
    }
    return "-";
}

bool fault_now(const char *kind) {
    if (!began || within) return false;
    within = true;
    bool counted = strcmp(kind, fault.kind) == 0, fails = false;
    long number = counted ? ++count : 0;
    if (!fault.number) tell(kind, hash_of_calls(), library_of_calls());
    else fails = counted && (fault.on ? number >= fault.number : number == fault.number);
    if (fails && !atomic_exchange(&told, true)) tell(kind, 0, library_of_calls());
    if (fails && fault.kills) kill(getpid(), SIGKILL);
    within = false;
    if (fails) errno = fault.error;
    return fails;
}

/* ---- allocations ------------------------------------------------------------------------- */

static void *(*next_malloc)(size_t), *(*next_calloc)(size_t, size_t),
    *(*next_realloc)(void *, size_t), *(*next_aligned_alloc)(size_t, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);

#define NEXT(function) \
    if (!next_##function) next_##function = dlsym(RTLD_NEXT, #function)

void *malloc(size_t size) {
    NEXT(malloc);
    return fault_now("memory") ? NULL : next_malloc(size);
}

void *calloc(size_t number, size_t size) {
    NEXT(calloc);
    return fault_now("memory") ? NULL : next_calloc(number, size);
}

void *realloc(void *data, size_t size) {
    NEXT(realloc);
    return fault_now("memory") ? NULL : next_realloc(data, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    NEXT(aligned_alloc);
    return fault_now("memory") ? NULL : next_aligned_alloc(alignment, size);
}

int posix_memalign(void **data, size_t alignment, size_t size) {
    NEXT(posix_memalign);
    return fault_now("memory") ? ENOMEM : next_posix_memalign(data, alignment, size);
}

/* ---- the beginning of main --------------------------------------------------------------- */

static int (*real_main)(int, char **, char **);

static int main_with_faults(int argc, char **argv, char **environment) {
    const char *log = getenv("CT_FAULT_LOG"), *text = getenv("CT_FAULT");
    char mode[8] = "";
    void *frame[2];
    fault.error = ENOMEM;
    if (!text || sscanf(text, "%15s %ld %7s %d", fault.kind, &fault.number, mode, &fault.error) < 3)
        return real_main(argc, argv, environment);
    fault.on = strcmp(mode, "on") == 0;
    fault.kills = strcmp(mode, "kill") == 0;
    /* a high number: those below are what the program's own files would have */
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (file >= 0) fault.log = fcntl(file, F_DUPFD_CLOEXEC, 900);
    if (file >= 0) close(file);
    backtrace(frame, 2); /* loads what it needs */
    if (strcmp(fault.kind, "memory") != 0) fault_watch_calls(fault.kind);
    began = true;
    return real_main(argc, argv, environment);
}

int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                      void (*init)(void), void (*fini)(void), void (*linker_fini)(void),
                      void *stack_end);
int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                      void (*init)(void), void (*fini)(void), void (*linker_fini)(void),
                      void *stack_end) {
    int (*next)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                void (*)(void), void *) = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = program;
    return next(main_with_faults, argc, argv, init, fini, linker_fini, stack_end);
}
