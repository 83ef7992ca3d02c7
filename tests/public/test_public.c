/* SPDX-License-Identifier: Apache-2.0 */
/* Every public function, called with values that make no sense: NULL, enumerators out of range,
 * sizes that are negative or huge, numbers that are not finite, structs with any of these, tensors
 * and modules of another kind. None may crash, hang, or exit; what returns nothing, and what is
 * given an enumerator out of range, leaves an error; what returns something leaves none.
 *
 *     test_public                       all of them
 *     test_public ct_slice              one function
 *     test_public ct_slice 0 3 1 1 1    one call, in this process (for a debugger)
 *
 * The calls are written by generate_calls.py. Each function is called in a process of its own.
 */
#include "tests/public/values.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPEATS = 6, RANDOM_CALLS = 200, MOST_FAILURES = 3, SECONDS = 60 };

/* What the child is doing, for the parent. */
typedef struct {
    int call;
    int pick[MOST_ARGUMENTS];
    char wrong[512];
} progress;

/* ---- what a call gave --------------------------------------------------------------------- */

static enum { NOTHING, A_RESULT, NO_RESULT } seen;

/* Whether the call failed, before more is done with what it gave. */
static bool failed;

void see_pointer(const void *x) {
    seen = x ? A_RESULT : NO_RESULT;
    failed = !ct_ok();
}

void see_text(const char *x) {
    failed = !ct_ok();
    if (x && strlen(x) > 1 << 20) abort();
}

bool see_flag(bool x) {
    failed = !ct_ok();
    seen = x ? A_RESULT : NOTHING;
    return x;
}

static void use_tensor(ct_tensor *x) {
    if (!x || failed || ct_count(x) > 1 << 16) return;
    ct_tensor *copy = ct_tensor_copy(x);
    if (copy && ct_requires_grad(x)) ct_backward(ct_sum_all(x));
}

void see_tensor(ct_tensor *x) {
    see_pointer(x);
    use_tensor(x);
}

void see_output(ct_tensor *x) {
    failed = failed || !ct_ok();
    use_tensor(x);
}

/* ---- one call ----------------------------------------------------------------------------- */

static void write_call(char *text, size_t size, const public_function *function, const int *pick) {
    size_t used = (size_t)snprintf(text, size, "%s(", function->name);
    for (int i = 0; i < function->arguments && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s %d", i ? ", " : "",
                                 function->argument[i].name, pick[i]);
    }
    if (used < size) snprintf(text + used, size - used, ")");
}

/* NULL, or what is wrong with how the call ended. */
static const char *call(const public_function *function, const int *pick, bool must_fail) {
    const char *wrong = NULL;
    seen = NOTHING;
    failed = false;
    CT_SCOPE {
        function->call(pick);
        failed = failed || (seen == NOTHING && !ct_ok());
        if (seen == NO_RESULT && !failed && !function->may_be_null) {
            wrong = "gave NULL and set no error";
        } else if (seen == A_RESULT && failed) {
            wrong = "gave a result and set an error";
        } else if (must_fail && !failed) {
            wrong = "took an enumerator out of range";
        }
    }
    ct_error_clear();
    return wrong;
}

/* ---- all calls of a function, in a child -------------------------------------------------- */

static uint32_t random_state;

static int below(int bound) {
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)bound);
}

/* Call number n: each value of each argument in turn, the others as they make sense; then any.
 * False behind the last. */
static bool choose(const public_function *function, int n, int *pick, bool *must_fail) {
    random_state = (uint32_t)n * 2654435761u + (uint32_t)function->name[3];
    *must_fail = false;
    for (int i = 0; i < function->arguments; i++) pick[i] = below(function->argument[i].valid);
    for (int i = 0; i < function->arguments; i++) {
        const public_argument *argument = &function->argument[i];
        if (n < argument->all * REPEATS) {
            pick[i] = n / REPEATS;
            *must_fail = argument->is_enum && pick[i] >= 2 && !function->any_enumerator;
            return true;
        }
        n -= argument->all * REPEATS;
    }
    for (int i = 0; i < function->arguments; i++) {
        if (below(4) == 0) pick[i] = below(function->argument[i].all);
    }
    return n < (function->arguments ? RANDOM_CALLS : 1);
}

static int make_calls(const public_function *function, progress *at) {
    bool must_fail;
    for (; choose(function, at->call, at->pick, &must_fail); at->call++) {
        alarm(SECONDS);
        const char *wrong = call(function, at->pick, must_fail);
        if (!wrong) continue;
        snprintf(at->wrong, sizeof at->wrong, "%s", wrong);
        return 1;
    }
    return 0;
}

/* Huge sizes fail to be allocated at once instead of filling the machine; under the address
 * sanitizer, which asks for much more than is used, as the options say. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

static void limit_memory(void) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit limit = {(rlim_t)6 << 30, (rlim_t)6 << 30};
    setrlimit(RLIMIT_AS, &limit);
#endif
}

/* How the child ended: NULL if all calls are made, else what is wrong with the one it stopped at.
 */
static const char *run_child(const public_function *function, progress *at) {
    static char text[64];
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        limit_memory();
        _exit(make_calls(function, at));
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return "no process could be made";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return NULL;
    if (WIFEXITED(status) && at->wrong[0]) return at->wrong;
    if (WIFEXITED(status)) snprintf(text, sizeof text, "exited with %d", WEXITSTATUS(status));
    if (WIFSIGNALED(status)) snprintf(text, sizeof text, "%s", strsignal(WTERMSIG(status)));
    return text;
}

static int try_function(const public_function *function, progress *at) {
    int failures = 0;
    memset(at, 0, sizeof *at);
    for (const char *wrong; failures < MOST_FAILURES && (wrong = run_child(function, at));) {
        char text[1024];
        write_call(text, sizeof text, function, at->pick);
        printf("%s: %s\n", text, wrong);
        failures++;
        at->call++;
        at->wrong[0] = '\0';
    }
    return failures;
}

/* ---- the values themselves ---------------------------------------------------------------- */

#define CHECK_VALUES(key, type, valid, all)                                               \
    for (int i = 0; i < (valid); i++) CT_SCOPE {                                          \
            (void)value_##key(i);                                                         \
            if (ct_ok()) continue;                                                        \
            printf("values.c: value %d of %s makes no sense: %s\n", i, #key, ct_error()); \
            ct_error_clear();                                                             \
            wrong++;                                                                      \
        }

/* Whether those that are said to make sense do: without, no call gets far. */
static int check_values(void) {
    int wrong = 0;
    pid_t child = fork();
    if (child == 0) {
        PUBLIC_VALUES(CHECK_VALUES)
        fflush(stdout);
        _exit(wrong);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)
               ? WEXITSTATUS(status)
               : 1;
}

/* ---- the program -------------------------------------------------------------------------- */

/* A folder for what is written. */
static void work_in_new_folder(void) {
    char folder[] = "/tmp/ct_public_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        perror(folder);
        exit(1);
    }
}

static void remove_folder(void) {
    char folder[64];
    if (!getcwd(folder, sizeof folder)) return;
    for (int i = 0; i < ALL_path; i++) {
        if (value_path(i)) unlink(value_path(i));
    }
    unlink("w.npy");
    unlink("w.npy.partial");
    rmdir(folder);
}

static int try_one_call(const public_function *function, char **numbers) {
    int pick[MOST_ARGUMENTS] = {0};
    for (int i = 0; i < function->arguments && numbers[i]; i++) pick[i] = atoi(numbers[i]);
    const char *wrong = call(function, pick, false);
    printf("%s\n", wrong ? wrong : "nothing wrong");
    return wrong != NULL;
}

int main(int count, char **arguments) {
    int failures, tried = 0;
    progress *at =
        mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return 1;
    work_in_new_folder();
    failures = check_values();
    for (int i = 0; i < public_function_count; i++) {
        const public_function *function = &public_functions[i];
        if (count > 1 && strcmp(arguments[1], function->name) != 0) continue;
        tried++;
        if (count > 2) return try_one_call(function, arguments + 2);
        failures += try_function(function, at);
    }
    remove_folder();
    printf("%d functions, %d failures\n", tried, failures);
    return failures || !tried;
}
