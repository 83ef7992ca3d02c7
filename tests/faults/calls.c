/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that fail, whoever makes them, the C library's streams too: a seccomp filter hands
 * those of files to a handler, which makes them itself, or not. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/faults/faults.h"

#if defined(__x86_64__)

/* The one place that the filter lets through. */
__asm__(".text\n"
        ".local fault_call\n"
        "fault_call:\n" /* (number, arguments) */
        "  push %rbx\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rbx\n"
        "  mov 0(%rbx), %rdi\n"
        "  mov 8(%rbx), %rsi\n"
        "  mov 16(%rbx), %rdx\n"
        "  mov 24(%rbx), %r10\n"
        "  mov 32(%rbx), %r8\n"
        "  mov 40(%rbx), %r9\n"
        "  syscall\n"
        ".local fault_called\n"
        "fault_called:\n"
        "  pop %rbx\n"
        "  ret\n");
long fault_call(long number, const long arguments[6]) __attribute__((visibility("hidden")));
extern const char fault_called[] __attribute__((visibility("hidden")));

static const struct {
    int number;
    const char *kind;
} watched[] = {
    {SYS_write, "write"},   {SYS_pwrite64, "write"},  {SYS_writev, "write"}, {SYS_fsync, "fsync"},
    {SYS_rename, "rename"}, {SYS_openat, "open"},     {SYS_open, "open"},    {SYS_mmap, "mmap"},
    {SYS_close, "close"},   {SYS_ftruncate, "cut"},   {SYS_read, "read"},    {SYS_mkdir, "mkdir"},
    {SYS_unlink, "unlink"}, {SYS_newfstatat, "stat"},
};
enum { WATCHED = sizeof watched / sizeof *watched };

static bool shortens; /* a write that fails is half done instead */

/* What the handler answers: a failed close has closed, a short write has written. */
static long answer(const char *kind, long number, long arguments[6]) {
    bool fails = fault_now(shortens && strcmp(kind, "write") == 0 ? "short" : kind);
    int error = errno;
    if (fails && shortens && arguments[2] > 1) arguments[2] /= 2;
    else if (fails && number == SYS_close) fault_call(number, arguments);
    else if (fails) return -error;
    return fails && number == SYS_close ? -error : fault_call(number, arguments);
}

static void handle(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    int kept = errno;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    long arguments[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    const char *kind = NULL;
    for (int i = 0; i < WATCHED && !kind; i++) {
        if (watched[i].number == info->si_syscall) kind = watched[i].kind;
    }
    r[REG_RAX] = answer(kind ? kind : "", info->si_syscall, arguments);
    errno = kept;
}

/* Lets through what the handler calls, and what goes to or comes from the standard files or the
 * log. */
static void add_filter(void) {
    struct sock_filter code[64];
    unsigned short n = 0;
    uint64_t after = (uint64_t)(uintptr_t)fault_called;
    enum {
        LOW = offsetof(struct seccomp_data, instruction_pointer),
        FIRST = offsetof(struct seccomp_data, args)
    };
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)after, 0, 3);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW + 4);
    code[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(after >> 32), 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < WATCHED; i++) {
        bool of_file = watched[i].number == SYS_write || watched[i].number == SYS_read;
        unsigned char skip = of_file ? 5 : 1;
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                 (uint32_t)watched[i].number, 0, skip);
        if (of_file) {
            code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIRST);
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 900, 1, 0);
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 2, 1, 0);
            code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        }
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77);
    }
}

void fault_watch_calls(const char *kind) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
    shortens = strcmp(kind, "short") == 0;
    if (sigaction(SIGSYS, &action, NULL) != 0) _exit(77);
    add_filter();
}

/* The filter would stay, the handler not: the program goes on as it is. */
int execv(const char *path, char *const *arguments) {
    (void)path;
    (void)arguments;
    errno = ENOSYS;
    return -1;
}

/* A thread that blocks all signals would be ended by one of its calls. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
    sigset_t most;
    if (set) {
        most = *set;
        if (how != SIG_UNBLOCK) sigdelset(&most, SIGSYS);
        set = &most;
    }
    return sigprocmask(how, set, before) == 0 ? 0 : errno;
}

#else

void fault_watch_calls(const char *kind) {
    (void)kind;
    _exit(77);
}

#endif
