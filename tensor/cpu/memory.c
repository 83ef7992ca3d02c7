/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of CPU tensors.
 *
 * A training step frees and asks for the same large blocks over and over. Through malloc each would
 * be mapped and its pages faulted in anew, which costs more than most kernels that then run on it;
 * so freed large blocks are kept for the next request of their size class or of a smaller one, down
 * to half: captions of another length want a little more or less of everything. Kept blocks and
 * blocks in use together stay below 5/4 of the most that was ever in use, plus 64 MiB.
 */
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
    SMALLEST_KEPT = 1 << 16,
    HUGE_PAGE = 1 << 21,
    CLASSES = 4 * 63, /* four an octave */
    SLACK = 64 << 20,
};

/* Stands before a large block's data. */
typedef struct block {
    alignas(ALIGNMENT) int index; /* of its class, which may be larger than what it serves */
    struct block *next;           /* while it is kept */
} block;

static struct {
    pthread_mutex_t lock;
    block *kept[CLASSES];
    size_t bytes_kept, bytes_used, bytes_used_peak;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The smallest class that holds so many bytes: 4, 5, 6 or 7 quarters of a power of two. */
static int class_index(size_t bytes) {
    int octave = 63 - __builtin_clzll((unsigned long long)bytes);
    size_t quarter = (size_t)1 << (octave - 2);
    size_t quarters = (bytes + quarter - 1) / quarter; /* 4..8 */
    return 4 * octave + (int)quarters - 4;             /* 8 quarters: the next octave's first */
}

static size_t class_bytes(int index) {
    size_t octave = (size_t)1 << (index / 4);
    return octave + (size_t)(index % 4) * (octave / 4);
}

static block *block_of(void *data) { return (block *)data - 1; }

static block *take_first(int index) {
    block *first = pool.kept[index];
    pool.kept[index] = first->next;
    pool.bytes_kept -= class_bytes(index);
    return first;
}

/* Gives kept blocks back, largest first, until at most `limit` bytes are kept. With the lock. */
static void trim(size_t limit) {
    for (int i = CLASSES - 1; i >= 0 && pool.bytes_kept > limit; i--) {
        while (pool.kept[i] && pool.bytes_kept > limit) free(take_first(i));
    }
}

/* To the bound that is said above. With the lock. */
static void trim_to_bound(void) {
    size_t limit = pool.bytes_used_peak + pool.bytes_used_peak / 4 + SLACK;
    trim(limit - pool.bytes_used);
}

static block *map_large(int index) {
    size_t size = sizeof(block) + class_bytes(index);
    void *data = NULL;
    if (posix_memalign(&data, size >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE) madvise(data, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    block *mapped = data;
    mapped->index = index;
    return mapped;
}

/* The smallest kept block of a class from `index` up to the double, or NULL. */
static block *take_kept(int index) {
    enum { DOUBLE = 4 };
    int most = index + DOUBLE < CLASSES ? index + DOUBLE : CLASSES - 1;
    pthread_mutex_lock(&pool.lock);
    while (index < most && !pool.kept[index]) index++;
    block *kept = pool.kept[index] ? take_first(index) : NULL;
    pthread_mutex_unlock(&pool.lock);
    return kept;
}

static void count_used(const block *used) {
    pthread_mutex_lock(&pool.lock);
    pool.bytes_used += class_bytes(used->index);
    if (pool.bytes_used > pool.bytes_used_peak) pool.bytes_used_peak = pool.bytes_used;
    trim_to_bound();
    pthread_mutex_unlock(&pool.lock);
}

/* After malloc refused: everything kept goes back first. */
static block *allocate_after_trim(int index) {
    pthread_mutex_lock(&pool.lock);
    trim(0);
    pthread_mutex_unlock(&pool.lock);
    return map_large(index);
}

static void *fail_allocate(size_t bytes) {
    double mib = 1 << 20;
    double available = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return ct_fail("allocate: no memory for %.1f MiB (tensors hold %.1f MiB, %.1f MiB are free)",
                   (double)bytes / mib, (double)ct_memory_in_use(CT_CPU) / mib, available / mib);
}

void *ct_cpu_try_allocate(size_t bytes) {
    if (bytes < SMALLEST_KEPT) {
        return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    }
    if (bytes >> 47) return NULL; /* beyond what a process can address */
    int index = class_index(bytes);
    block *large = take_kept(index);
    if (!large) large = map_large(index);
    if (!large) large = allocate_after_trim(index);
    if (!large) return NULL;
    count_used(large);
    return large + 1;
}

void *ct_cpu_allocate(size_t bytes) {
    void *data = ct_cpu_try_allocate(bytes);
    return data ? data : fail_allocate(bytes);
}

void ct_cpu_free(void *data, size_t bytes) {
    if (bytes < SMALLEST_KEPT || !data) {
        free(data);
        return;
    }
    block *large = block_of(data);
    size_t size = class_bytes(large->index);
    pthread_mutex_lock(&pool.lock);
    pool.bytes_used -= size;
    if (KEEP_BLOCKS) {
        large->next = pool.kept[large->index];
        pool.kept[large->index] = large;
        pool.bytes_kept += size;
        trim_to_bound();
    } else {
        free(large);
    }
    pthread_mutex_unlock(&pool.lock);
}

bool ct_cpu_copy_bytes(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return true;
}
