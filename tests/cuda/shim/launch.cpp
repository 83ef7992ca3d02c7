/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a grid on the host. The threads of a block are fibers: each runs until it waits at a
 * barrier or a warp function, then another has its turn. One that never waits is an ordinary call,
 * so that kernels without barriers cost next to nothing.
 *
 * A thread that waits for others that never come ends the program with a message.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unordered_map>
#include <vector>

#include "graph.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
const char *ct_shim_kernel = "?";

/* ---- fibers ----------------------------------------------------------------------------- */

enum { STACK = 256 << 10, PAGE = 4096, GUARD = PAGE, MOST_THREADS = 1024, WARP = 32 };

#ifdef __x86_64__
typedef void *context;
/* Saves the registers that a call keeps on the stack, and the stack's pointer in *from; goes on
 * with `to`. */
extern "C" void ct_shim_switch(context *from, context to);
asm(R"(
.text
.type ct_shim_switch, @function
ct_shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size ct_shim_switch, . - ct_shim_switch
)");

static void make_context(context *c, char *stack, void (*run)(void)) {
    void **top = (void **)(stack + STACK);
    *--top = nullptr; /* what `run` would return to; keeps the stack aligned as after a call */
    *--top = (void *)run;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *c = top;
}
#else
typedef ucontext_t context;
static void ct_shim_switch(context *from, const context &to) { swapcontext(from, &to); }
static void make_context(context *c, char *stack, void (*run)(void)) {
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK;
    makecontext(c, run, 0);
}
#endif

struct fiber {
    context at;
    char *stack;
    void *fake_stack;    /* the sanitizer's */
    int thread;          /* of the block, -1 for none */
    const int *wait_for; /* goes on when *wait_for is no more `seen`; NULL: does not wait */
    int seen;
    const char *where;
};

/* ---- a block ---------------------------------------------------------------------------- */

/* Where the threads of a warp meet whose mask it is. Two arrays used in turn: no thread comes to
 * the next meeting before it has read what the last one brought. */
struct meeting {
    unsigned mask, arrived;
    int turn;
    uint64_t brought[2][WARP];
};

enum { MEETINGS = 8 }; /* masks that a warp may use in one kernel */

static struct {
    const std::function<void()> *run;
    int threads, started, live; /* live: not yet at their end */
    int order[MOST_THREADS];
    fiber *of_thread[MOST_THREADS];
    std::vector<fiber *> idle;
    fiber *current;
    context scheduler;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_size;
    int arrived, barrier_turn, votes, result; /* of __syncthreads */
    meeting meetings[MOST_THREADS / WARP][MEETINGS];
    char *shared;
    uint64_t random;
} block;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one grid at a time */

[[noreturn]] static void die(const char *what) {
    fprintf(stderr, "cuda shim: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): %s\n",
            ct_shim_kernel, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y,
            threadIdx.z, what);
    abort();
}

static void to_scheduler(fiber *self) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&self->fake_stack, block.scheduler_stack,
                                   block.scheduler_stack_size);
#endif
    ct_shim_switch(&self->at, block.scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(self->fake_stack, &block.scheduler_stack,
                                    &block.scheduler_stack_size);
#endif
}

static void set_thread(int thread) {
    unsigned i = (unsigned)thread, x = blockDim.x, y = blockDim.y;
    threadIdx = {i % x, i / x % y, i / (x * y)};
}

static void resume(fiber *f) {
    block.current = f;
    if (f->thread >= 0) set_thread(f->thread);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&block.scheduler_fake_stack, f->stack, STACK);
#endif
    ct_shim_switch(&block.scheduler, f->at);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(block.scheduler_fake_stack, nullptr, nullptr);
#endif
}

static void wait_until_changed(const int *turn, int seen, const char *where) {
    fiber *self = block.current;
    self->wait_for = turn;
    self->seen = seen;
    self->where = where;
    to_scheduler(self);
    self->wait_for = nullptr;
}

static void open_barrier() {
    block.result = block.votes;
    block.arrived = block.votes = 0;
    block.barrier_turn++;
}

/* What a fiber does for ever: one thread after another of those not yet started. */
static void work() {
    fiber *self = block.current;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_stack_size);
#endif
    for (;;) {
        while (block.started < block.threads) {
            self->thread = block.order[block.started++];
            block.of_thread[self->thread] = self;
            set_thread(self->thread);
            (*block.run)();
            block.of_thread[self->thread] = nullptr;
            block.live--;
            if (block.arrived && block.arrived == block.live) open_barrier();
        }
        self->thread = -1;
        block.idle.push_back(self);
        to_scheduler(self);
    }
}

static fiber *take_fiber() {
    if (!block.idle.empty()) {
        fiber *f = block.idle.back();
        block.idle.pop_back();
        return f;
    }
    char *memory = (char *)mmap(nullptr, GUARD + STACK + PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE) != 0) die("no stack");
    fiber *f = (fiber *)(memory + GUARD + STACK); /* all zero */
    f->stack = memory + GUARD;
    f->thread = -1;
    make_context(&f->at, f->stack, work);
    return f;
}

static bool resume_those_that_can() {
    bool moved = false;
    for (int i = 0; i < block.threads; i++) {
        fiber *f = block.of_thread[block.order[i]];
        if (!f || *f->wait_for == f->seen) continue;
        resume(f);
        moved = true;
    }
    return moved;
}

static void run_block() {
    block.started = block.arrived = block.votes = 0;
    block.live = block.threads;
    memset(block.meetings, 0, sizeof block.meetings);
    while (block.started < block.threads) resume(take_fiber());
    while (block.live) {
        if (resume_those_that_can()) continue;
        for (int i = 0; i < block.threads; i++) {
            fiber *f = block.of_thread[i];
            if (!f) continue;
            set_thread(i);
            die(f->where);
        }
    }
}

/* ---- what kernels call ------------------------------------------------------------------ */

static int barrier(int vote) {
    int turn = block.barrier_turn;
    block.votes += vote;
    if (++block.arrived == block.live) {
        open_barrier();
    } else {
        wait_until_changed(&block.barrier_turn, turn,
                           "waits at __syncthreads for threads that wait elsewhere");
    }
    return block.result;
}

void __syncthreads(void) { barrier(0); }
int __syncthreads_or(int predicate) { return barrier(predicate != 0) != 0; }
int __syncthreads_count(int predicate) { return barrier(predicate != 0); }
int __syncthreads_and(int predicate) { return barrier(predicate == 0) == 0; }

int ct_shim_lane(void) { return block.current->thread % WARP; }

void ct_shim_check_lane(unsigned mask, int from) {
    if (!(mask >> from & 1)) die("shuffles from a lane that its mask leaves out");
}

void ct_shim_meet(unsigned mask, uint64_t bits, uint64_t out[32]) {
    int thread = block.current->thread, lane = thread % WARP;
    if (!(mask >> lane & 1)) die("calls a warp function whose mask leaves it out");
    meeting *m = block.meetings[thread / WARP];
    while (m->mask && m->mask != mask) {
        if (++m == block.meetings[thread / WARP] + MEETINGS) die("too many masks in one kernel");
    }
    m->mask = mask;
    int turn = m->turn;
    m->brought[turn & 1][lane] = bits;
    m->arrived |= 1u << lane;
    if (m->arrived == mask) {
        m->arrived = 0;
        m->turn++;
    } else {
        wait_until_changed(&m->turn, turn,
                           "waits in a warp function for threads of its mask that wait elsewhere");
    }
    memcpy(out, m->brought[turn & 1], sizeof m->brought[0]);
}

void *ct_shim_shared_memory(void) { return block.shared; }

/* ---- a grid ----------------------------------------------------------------------------- */

static uint64_t next_random() {
    block.random = block.random * 6364136223846793005u + 1442695040888963407u;
    return block.random >> 33;
}

/* 0..count-1 in the order that CT_SHIM_ORDER asks for. */
static void make_order(int *order, int count) {
    const char *wanted = getenv("CT_SHIM_ORDER");
    bool reversed = wanted && strcmp(wanted, "reversed") == 0;
    for (int i = 0; i < count; i++) order[i] = reversed ? count - 1 - i : i;
    if (!wanted || !*wanted || reversed || strcmp(wanted, "forward") == 0) return;
    block.random += (uint64_t)strtoull(wanted, nullptr, 10);
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(next_random() % (uint64_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static std::unordered_map<const void *, int> shared_limits;

cudaError_t ct_shim_set_shared_limit(const void *kernel, int bytes) {
    if (bytes > 227 << 10) return cudaErrorInvalidValue;
    shared_limits[kernel] = bytes;
    return cudaSuccess;
}

static bool fits(const cudaLaunchConfig_t *c, const void *kernel) {
    dim3 g = c->gridDim, b = c->blockDim;
    auto limit = shared_limits.find(kernel);
    size_t shared = limit == shared_limits.end() ? 48 << 10 : (size_t)limit->second;
    return g.x && g.y && g.z && b.x && b.y && b.z && g.x <= INT32_MAX && g.y <= 65535 &&
           g.z <= 65535 && (uint64_t)b.x * b.y * b.z <= MOST_THREADS && b.z <= 64 &&
           c->dynamicSmemBytes <= shared;
}

extern char __start_ct_shim_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_ct_shim_shared[] __attribute__((weak, visibility("hidden")));

static void fill_shared(size_t bytes) {
    memset(block.shared, 0xff, bytes);
    if (__start_ct_shim_shared) {
        memset(__start_ct_shim_shared, 0xff,
               (size_t)(__stop_ct_shim_shared - __start_ct_shim_shared));
    }
}

static void run_grid(const cudaLaunchConfig_t *c) {
    blockDim = c->blockDim;
    gridDim = c->gridDim;
    block.threads = (int)(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    int blocks = (int)(c->gridDim.x * c->gridDim.y * c->gridDim.z);
    std::vector<int> order((size_t)blocks);
    make_order(order.data(), blocks);
    make_order(block.order, block.threads);
    block.shared = (char *)malloc(c->dynamicSmemBytes + 1);
    for (int i : order) {
        unsigned at = (unsigned)i, x = gridDim.x, y = gridDim.y;
        blockIdx = {at % x, at / x % y, at / (x * y)};
        fill_shared(c->dynamicSmemBytes);
        run_block();
    }
    free(block.shared);
}

/* The kernel's name, a line of the file CT_SHIM_LOG. */
static void write_log() {
    const char *path = getenv("CT_SHIM_LOG");
    FILE *file = path ? fopen(path, "a") : nullptr;
    if (!file) return;
    fprintf(file, "%s\n", ct_shim_kernel);
    fclose(file);
}

cudaError_t ct_shim_launch(const cudaLaunchConfig_t *config, const void *kernel,
                           std::function<void()> run) {
    if (!fits(config, kernel)) return cudaErrorInvalidConfiguration;
    if (!ct_shim_on_device()) return cudaErrorInvalidResourceHandle;
    cudaLaunchConfig_t shape = *config;
    const char *name = ct_shim_kernel;
    return ct_shim_do([shape, name, run = std::move(run)] {
        pthread_mutex_lock(&lock);
        ct_shim_device_begin();
        ct_shim_kernel = name;
        write_log();
        block.run = &run;
        run_grid(&shape);
        ct_shim_device_end();
        pthread_mutex_unlock(&lock);
        return cudaSuccess;
    });
}
