/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of CPU tensors.
 *
 * A training step frees and asks for the same large blocks over and over. Through malloc each would
 * be mapped and its pages faulted in anew, which costs more than most kernels that then run on it.
 * So large blocks are spans of a few segments of address space: what is freed joins the free spans
 * beside it and is used again, by whatever fits, since captions of another length want a little
 * more or less of everything. Memory in use and memory that is kept together stay below the most
 * that was ever in use, an eighth and 32 MiB: what was kept longest goes back first.
 */
#include <pthread.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "tensor/cpu/cpu.h"

#if defined(__SANITIZE_ADDRESS__)
#define KEEP_BLOCKS 0 /* so that a use after free is seen */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP_BLOCKS 0
#endif
#endif
#ifndef KEEP_BLOCKS
#define KEEP_BLOCKS 1
#endif

enum {
    ALIGNMENT = 64,
    SMALLEST_LARGE = 1 << 16,
    SMALLEST_REST = 1 << 14, /* less than this is not split off */
    HUGE_PAGE = 1 << 21,
    SMALLEST_SEGMENT = 16 * HUGE_PAGE,
    LARGEST_SEGMENT = 512 * HUGE_PAGE, /* but for a block that is larger */
    SLACK = 16 * HUGE_PAGE,
    SLACK_PART = 8, /* of the most in use */
};

/* A part of a segment. Its neighbours are NULL at the segment's ends. */
typedef struct span {
    char *start;
    size_t size;
    bool used;
    size_t touched; /* of a free one: so much from its start may be in memory */
    struct span *below, *above;
    TAILQ_ENTRY(span) by_age; /* of a free one */
} span;

/* Stands before a large block's data. */
typedef struct {
    alignas(ALIGNMENT) span *of;
} header;

static struct {
    pthread_mutex_t lock;
    TAILQ_HEAD(free_spans, span) by_age; /* those free, the newest first */
    size_t bytes_mapped, bytes_kept, bytes_used, bytes_used_peak;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .by_age = TAILQ_HEAD_INITIALIZER(pool.by_age)};

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

/* ---- spans, all with the lock ------------------------------------------------------------- */

static void set_free(span *s, size_t touched) {
    s->used = false;
    s->touched = touched;
    pool.bytes_kept += touched;
    TAILQ_INSERT_HEAD(&pool.by_age, s, by_age);
}

static void set_used(span *s) {
    TAILQ_REMOVE(&pool.by_age, s, by_age);
    pool.bytes_kept -= s->touched;
    s->used = true;
}

/* The free span `above` becomes a part of the free one below it, which is the newest then; what
 * lies between what was touched of each counts as touched. */
static void join(span *s, span *above) {
    size_t touched = above->touched ? s->size + above->touched : s->touched;
    set_used(above);
    set_used(s);
    s->size += above->size;
    s->above = above->above;
    if (s->above) s->above->below = s;
    free(above);
    set_free(s, touched);
}

/* A used span is free from now on; with its free neighbours, one. */
static void release(span *s) {
    set_free(s, s->size);
    if (s->above && !s->above->used) join(s, s->above);
    if (s->below && !s->below->used) join(s->below, s);
}

/* Takes the first `size` bytes of a free span; all of it where the rest is of no use, or where
 * there is no memory to tell of a rest. */
static void take(span *s, size_t size) {
    size_t touched = s->touched;
    set_used(s);
    span *rest = s->size - size >= SMALLEST_REST ? malloc(sizeof *rest) : NULL;
    if (!rest) return;
    *rest = (span){.start = s->start + size, .size = s->size - size, .below = s, .above = s->above};
    if (rest->above) rest->above->below = rest;
    s->above = rest;
    s->size = size;
    set_free(rest, touched > size ? touched - size : 0);
}

/* The smallest free span that holds so much, of those whose pages are in memory if there is one; or
 * NULL. */
static span *find_free(size_t size) {
    span *best = NULL;
    for (span *s = TAILQ_FIRST(&pool.by_age); s; s = TAILQ_NEXT(s, by_age)) {
        if (s->size < size) continue;
        bool warm = s->touched >= size, best_warm = best && best->touched >= size;
        if (!best || (warm == best_warm ? s->size < best->size : warm)) best = s;
    }
    return best;
}

/* ---- from the system, and back ------------------------------------------------------------ */

/* On huge pages. NULL if there is no memory. */
static char *map_pages(size_t size) {
    size_t with_rest = size + HUGE_PAGE;
    char *data = mmap(NULL, with_rest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)data % HUGE_PAGE;
    if (before) munmap(data, before);
    munmap(data + before + size, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    madvise(data + before, size, MADV_HUGEPAGE);
#endif
    return data + before;
}

/* A segment that holds `size` bytes, as one free span: as large as all there are, if the system has
 * so much. NULL if there is no memory. */
static span *add_segment(size_t size) {
    span *s = malloc(sizeof *s);
    if (!s) return NULL;
    size_t most = pool.bytes_mapped < LARGEST_SEGMENT ? pool.bytes_mapped : LARGEST_SEGMENT;
    size_t least = rounded(size, HUGE_PAGE), wanted = most > least ? most : least;
    if (wanted < SMALLEST_SEGMENT) wanted = SMALLEST_SEGMENT;
    char *start = map_pages(wanted);
    if (!start && wanted > least) start = map_pages(wanted = least);
    if (!start) {
        free(s);
        return NULL;
    }
    *s = (span){.start = start, .size = wanted};
    pool.bytes_mapped += wanted;
    set_free(s, 0);
    return s;
}

/* The pages of a free span, or the segment that it is all of. Of a large span whole huge pages: a
 * part of one is not free before all of it is. */
static void give_back(span *s) {
    pool.bytes_kept -= s->touched;
    s->touched = 0;
    if (!s->below && !s->above) {
        TAILQ_REMOVE(&pool.by_age, s, by_age);
        pool.bytes_mapped -= s->size;
        munmap(s->start, s->size);
        free(s);
        return;
    }
    size_t page = s->size >= 2 * HUGE_PAGE ? HUGE_PAGE : (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = rounded((uintptr_t)s->start, page);
    uintptr_t to = ((uintptr_t)s->start + s->size) / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Until at most `limit` bytes are kept, what was kept longest first. */
static void trim(size_t limit) {
    span *s = TAILQ_LAST(&pool.by_age, free_spans), *newer;
    for (; s && pool.bytes_kept > limit; s = newer) {
        newer = TAILQ_PREV(s, free_spans, by_age);
        if (s->touched) give_back(s);
    }
}

/* To the bound that is said above. */
static void trim_to_bound(void) {
    size_t limit = pool.bytes_used_peak + pool.bytes_used_peak / SLACK_PART + SLACK;
    trim(limit - pool.bytes_used);
}

/* ---- blocks ------------------------------------------------------------------------------- */

static span *take_large(size_t size) {
    span *s = find_free(size);
    if (!s) s = add_segment(size);
    if (!s) {
        trim(0); /* the system may have less than what is kept */
        s = add_segment(size);
    }
    if (!s) return NULL;
    take(s, size);
    pool.bytes_used += s->size;
    if (pool.bytes_used > pool.bytes_used_peak) pool.bytes_used_peak = pool.bytes_used;
    trim_to_bound();
    return s;
}

static void *fail_allocate(size_t bytes) {
    double mib = 1 << 20;
    double available = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return ct_fail("allocate: no memory for %.1f MiB (tensors hold %.1f MiB, %.1f MiB are free)",
                   (double)bytes / mib, (double)ct_memory_in_use(CT_CPU) / mib, available / mib);
}

static bool is_large(size_t bytes) { return KEEP_BLOCKS && bytes >= SMALLEST_LARGE; }

void *ct_cpu_try_allocate(size_t bytes) {
    if (bytes >> 47) return NULL; /* beyond what a process can address */
    if (!is_large(bytes)) return aligned_alloc(ALIGNMENT, rounded(bytes, ALIGNMENT));
    pthread_mutex_lock(&pool.lock);
    span *s = take_large(sizeof(header) + rounded(bytes, ALIGNMENT));
    pthread_mutex_unlock(&pool.lock);
    if (!s) return NULL;
    header *before = (header *)(void *)s->start;
    before->of = s;
    return before + 1;
}

void *ct_cpu_allocate(size_t bytes) {
    void *data = ct_cpu_try_allocate(bytes);
    return data ? data : fail_allocate(bytes);
}

void ct_cpu_free(void *data, size_t bytes) {
    if (!is_large(bytes) || !data) {
        free(data);
        return;
    }
    span *s = ((header *)data - 1)->of;
    pthread_mutex_lock(&pool.lock);
    pool.bytes_used -= s->size;
    release(s);
    trim_to_bound();
    pthread_mutex_unlock(&pool.lock);
}

bool ct_cpu_copy_bytes(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return true;
}
