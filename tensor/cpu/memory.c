/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of CPU tensors.
 *
 * A training step frees and asks for the same large blocks over and over. Through malloc each would
 * be mapped and its pages faulted in anew, which costs more than most kernels that then run on it;
 * so freed large blocks are kept for the next request of their size class or of a smaller one, down
 * to half: captions of another length want a little more or less of everything. Kept blocks and
 * blocks in use together stay below the most that was ever in use, plus 32 MiB: what was kept
 * longest goes back first.
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
    SMALLEST_KEPT = 1 << 16,
    HUGE_PAGE = 1 << 21,
    OCTAVE = 8, /* classes from a power of two to the next */
    CLASSES = OCTAVE * 63,
    SLACK = 32 << 20,
};

/* Stands before a large block's data. */
typedef struct block {
    alignas(ALIGNMENT) int index; /* of its class, which may be larger than what it serves */
    LIST_ENTRY(block) of_class;   /* while it is kept */
    TAILQ_ENTRY(block) by_age;    /* while it is kept */
} block;

static struct {
    pthread_mutex_t lock;
    LIST_HEAD(, block) kept[CLASSES];
    TAILQ_HEAD(kept_blocks, block) by_age; /* those kept, the newest first */
    size_t bytes_kept, bytes_used, bytes_used_peak;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .by_age = TAILQ_HEAD_INITIALIZER(pool.by_age)};

/* The smallest class that holds so many bytes: a power of two and eighths of it. */
static int class_index(size_t bytes) {
    int octave = 63 - __builtin_clzll((unsigned long long)bytes);
    size_t step = ((size_t)1 << octave) / OCTAVE;
    size_t steps = (bytes + step - 1) / step;     /* 8..16 */
    return OCTAVE * octave + (int)steps - OCTAVE; /* 16: the next octave's first */
}

static size_t class_bytes(int index) {
    size_t octave = (size_t)1 << (index / OCTAVE);
    return octave + (size_t)(index % OCTAVE) * (octave / OCTAVE);
}

static block *block_of(void *data) { return (block *)data - 1; }

/* ---- from the system, and back ------------------------------------------------------------ */

/* On huge pages. From the system itself: malloc would keep what is given back, in holes between
 * what is in use. NULL if there is no memory. */
static void *map_pages(size_t size) {
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

/* Of whole pages. */
static size_t mapped_size(int index) {
    size_t size = sizeof(block) + class_bytes(index), page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

static bool is_mapped(int index) { return KEEP_BLOCKS && class_bytes(index) >= HUGE_PAGE; }

static block *take_from_system(int index) {
    size_t size = mapped_size(index);
    block *taken = is_mapped(index) ? map_pages(size) : aligned_alloc(ALIGNMENT, size);
    if (taken) taken->index = index;
    return taken;
}

static void give_back(block *taken) {
    if (is_mapped(taken->index)) munmap(taken, mapped_size(taken->index));
    else free(taken);
}

/* ---- kept blocks -------------------------------------------------------------------------- */

/* These with the lock. */

static void keep(block *given) {
    LIST_INSERT_HEAD(&pool.kept[given->index], given, of_class);
    TAILQ_INSERT_HEAD(&pool.by_age, given, by_age);
    pool.bytes_kept += class_bytes(given->index);
}

static block *take(block *kept) {
    LIST_REMOVE(kept, of_class);
    TAILQ_REMOVE(&pool.by_age, kept, by_age);
    pool.bytes_kept -= class_bytes(kept->index);
    return kept;
}

/* Gives back those that were kept longest, until at most `limit` bytes are. */
static void trim(size_t limit) {
    while (pool.bytes_kept > limit) give_back(take(TAILQ_LAST(&pool.by_age, kept_blocks)));
}

/* To the bound that is said above. */
static void trim_to_bound(void) {
    size_t limit = pool.bytes_used_peak + SLACK;
    trim(limit - pool.bytes_used);
}

/* The smallest kept block of a class from `index` up to the double, or NULL. */
static block *take_kept(int index) {
    int most = index + OCTAVE < CLASSES ? index + OCTAVE : CLASSES - 1;
    pthread_mutex_lock(&pool.lock);
    while (index < most && LIST_EMPTY(&pool.kept[index])) index++;
    block *first = LIST_FIRST(&pool.kept[index]), *kept = first ? take(first) : NULL;
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
    return take_from_system(index);
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
    if (!large) large = take_from_system(index);
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
        keep(large);
        trim_to_bound();
    } else {
        give_back(large);
    }
    pthread_mutex_unlock(&pool.lock);
}

bool ct_cpu_copy_bytes(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return true;
}
