/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into `train` by tests/faults/walk.py: the n-th allocation, or system call, fails. */
#include "tests/faults/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    char kind[16];
    long number;
    bool on, kills;
    int error, log;
} fault = {.log = -1};
/* Of a run that others branch off from: its folder, and the line of the next to do so. Of one that
 * has branched off: its folder, and NULL. */
static struct { char *line, folder[4096]; } trunk;
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

static void branch_off(long number);

bool fault_now(const char *kind) {
    if (!began || within) return false;
    within = true;
    bool counted = strcmp(kind, fault.kind) == 0, fails = false;
    long number = counted ? ++count : 0;
    if (counted && trunk.line) branch_off(number);
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
static void (*next_free)(void *);

#define NEXT(function) \
    if (!next_##function) next_##function = dlsym(RTLD_NEXT, #function)

static void *kept(void *block, const void *caller) {
    fault_keep(block, caller);
    return block;
}

void *malloc(size_t size) {
    NEXT(malloc);
    return fault_now("memory") ? NULL : kept(next_malloc(size), __builtin_return_address(0));
}

void *calloc(size_t number, size_t size) {
    NEXT(calloc);
    return fault_now("memory") ? NULL
                               : kept(next_calloc(number, size), __builtin_return_address(0));
}

void *realloc(void *data, size_t size) {
    NEXT(realloc);
    if (fault_now("memory")) return NULL;
    fault_let_go(data);
    void *block = next_realloc(data, size);
    fault_keep(block || !size ? block : data, __builtin_return_address(0));
    return block;
}

void *aligned_alloc(size_t alignment, size_t size) {
    NEXT(aligned_alloc);
    return fault_now("memory")
               ? NULL
               : kept(next_aligned_alloc(alignment, size), __builtin_return_address(0));
}

int posix_memalign(void **data, size_t alignment, size_t size) {
    NEXT(posix_memalign);
    int wrong = fault_now("memory") ? ENOMEM : next_posix_memalign(data, alignment, size);
    if (!wrong) fault_keep(*data, __builtin_return_address(0));
    return wrong;
}

void free(void *data) {
    NEXT(free);
    fault_let_go(data);
    next_free(data);
}

/* ---- paths --------------------------------------------------------------------------------- */

/* Where runs branch off, what lies in their folder is named from there: a path that the program
 * keeps, of a file that it writes, is then that of the copy, too. */
char *realpath(const char *path, char *resolved) {
    static char *(*next_realpath)(const char *, char *);
    NEXT(realpath);
    char *real = next_realpath(path, resolved);
    size_t length = strlen(trunk.folder);
    if (real && length && strncmp(real, trunk.folder, length) == 0 && real[length] == '/')
        memmove(real, real + length + 1, strlen(real + length));
    return real;
}

/* ---- the beginning of main --------------------------------------------------------------- */

static int (*real_main)(int, char **, char **);

static bool read_fault(const char *text, const char *log) {
    char mode[8] = "";
    fault.error = ENOMEM;
    if (!text || sscanf(text, "%15s %ld %7s %d", fault.kind, &fault.number, mode, &fault.error) < 3)
        return false;
    fault.on = strcmp(mode, "on") == 0;
    fault.kills = strcmp(mode, "kill") == 0;
    /* a high number: those below are what the program's own files would have */
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (file >= 0) fault.log = fcntl(file, F_DUPFD_CLOEXEC, 900);
    if (file >= 0) close(file);
    return true;
}

/* ---- one process for each fault ---------------------------------------------------------- */

enum { LONGEST = 1 << 14, OWN_FILES = 900 };

/* The next from descriptor 3, without its end; false where no more come. */
static bool next_line(char line[LONGEST]) {
    size_t length = 0;
    do {
        ssize_t read_now = read(3, line + length, LONGEST - 1 - length);
        if (read_now <= 0) return false;
        length += (size_t)read_now;
    } while (line[length - 1] != '\n');
    line[length - 1] = '\0';
    return true;
}

static void take_file(int file, const char *path) {
    int opened = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (opened < 0 || dup2(opened, file) < 0) _exit(97);
    close(opened);
}

/* What is open in a folder, or beside it under a name that begins so, in its copy. */
static void move_files(const char *from, const char *to) {
    char link[32], path[4096], moved[8192];
    for (int file = 0; file < OWN_FILES; file++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = '\0';
        if (strncmp(path, from, strlen(from)) != 0) continue;
        snprintf(moved, sizeof moved, "%s%s", to, path + strlen(from));
        int opened = open(moved, fcntl(file, F_GETFL));
        int close_on_exec = fcntl(file, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
        if (opened < 0) _exit(97);
        lseek(opened, lseek(file, 0, SEEK_CUR), SEEK_SET);
        if (dup3(opened, file, close_on_exec) < 0) _exit(97);
        close(opened);
    }
}

/* In the new process: the folder, the files and the fault of a line. */
static void take_line(char *line) {
    char *part[5], *rest = line;
    for (int i = 0; i < 5; i++) part[i] = strsep(&rest, "\t");
    if (!part[4] || chdir(part[0]) != 0) _exit(97);
    if (trunk.line) {
        move_files(trunk.folder, part[0]);
        snprintf(trunk.folder, sizeof trunk.folder, "%s", part[0]);
        trunk.line = NULL;
    } else {
        take_file(STDOUT_FILENO, part[2]);
        take_file(STDERR_FILENO, part[3]);
    }
    if (!read_fault(part[4], part[1])) _exit(97);
}

/* Whether this is the new process. */
static bool fork_for(char *line) {
    int status = 0;
    pid_t process = fork();
    if (process == 0) {
        close(3);
        close(4);
        take_line(line);
        return true;
    }
    dprintf(4, "%ld\n", (long)process);
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) continue;
    dprintf(4, "%d\n", status);
    return false;
}

/* Returns in each new process; ends when no more lines come. */
static void serve(void) {
    static char line[LONGEST];
    while (next_line(line)) {
        if (fork_for(line)) return;
    }
    _exit(0);
}

static bool begin_trunk(void) {
    static char line[LONGEST];
    if (!getcwd(trunk.folder, sizeof trunk.folder) || !next_line(line)) return false;
    trunk.line = line;
    strcpy(fault.kind, "memory");
    fault.number = LONG_MAX;
    return true;
}

/* Where the event of the next line is this one. */
static void branch_off(long number) {
    char go[LONGEST];
    const char *of_fault = strrchr(trunk.line, '\t');
    if (gettid() != getpid()) _exit(96);
    while (of_fault && strtol(strchr(of_fault, ' '), NULL, 10) == number) {
        dprintf(4, "%ld\n", number);
        if (!next_line(go)) _exit(0);
        if (fork_for(trunk.line)) return;
        if (!next_line(trunk.line)) _exit(0);
        of_fault = strrchr(trunk.line, '\t');
    }
}

/* The events of these lines were none. */
static void end_trunk(void) {
    do dprintf(4, "0\n");
    while (next_line(trunk.line));
    _exit(0);
}

static int run_with_fault(int argc, char **argv, char **environment) {
    void *frame[2];
    backtrace(frame, 2); /* loads what it needs */
    if (strcmp(fault.kind, "memory") == 0) fault_keep_begin();
    else if (strcmp(fault.kind, "none") != 0) fault_watch_calls(fault.kind);
    began = true;
    int status = real_main(argc, argv, environment);
    began = false;
    if (trunk.line) end_trunk();
    char line[1024];
    fault_say_kept(line, sizeof line);
    if (fault.log >= 0 && write(fault.log, line, strlen(line)) < 0) _exit(98);
    return status;
}

static int main_with_faults(int argc, char **argv, char **environment) {
    const char *server = getenv("CT_FAULT_SERVER");
    if (server && strcmp(server, "trunk") == 0) {
        if (!begin_trunk()) return 0;
    } else if (server) {
        serve();
    } else if (!read_fault(getenv("CT_FAULT"), getenv("CT_FAULT_LOG"))) {
        return real_main(argc, argv, environment);
    }
    return run_with_fault(argc, argv, environment);
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
