/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks are allocated, and by which library: what is not freed when something fails. */
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/faults/faults.h"

enum { MOST_LIBRARIES = 64, SLOTS = 1 << 19 };

static struct {
    char name[64];
    uintptr_t begin, end;
    long blocks;
} library[MOST_LIBRARIES];
static int libraries;

/* Open addressing; a slot of a block that is gone is taken again, and never empty. */
static struct {
    const void *block; /* NULL: empty; gone: it was taken */
    int library;
} slots[SLOTS];
static const char gone;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static bool counts;

static void lock(void) {
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) continue;
}
static void unlock(void) { atomic_flag_clear_explicit(&busy, memory_order_release); }

static int add_library(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    if (libraries == MOST_LIBRARIES) return 1;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (at < begin) begin = at;
        if (at + info->dlpi_phdr[i].p_memsz > end) end = at + info->dlpi_phdr[i].p_memsz;
    }
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : *info->dlpi_name ? info->dlpi_name : "train";
    snprintf(library[libraries].name, sizeof library->name, "%.63s", name);
    library[libraries].begin = begin;
    library[libraries++].end = end;
    return 0;
}

static int library_of(const void *caller) {
    int i = 0;
    uintptr_t at = (uintptr_t)caller;
    while (i < libraries && (at < library[i].begin || at >= library[i].end)) i++;
    return i < libraries ? i : 0;
}

static size_t first_slot(const void *block) {
    return (size_t)(((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 40) % SLOTS;
}

void fault_keep_begin(void) {
    dl_iterate_phdr(add_library, NULL);
    counts = true;
}

void fault_keep(const void *block, const void *caller) {
    if (!counts || !block) return;
    lock();
    size_t at = first_slot(block);
    while (slots[at].block && slots[at].block != &gone) at = (at + 1) % SLOTS;
    slots[at].block = block;
    slots[at].library = library_of(caller);
    library[slots[at].library].blocks++;
    unlock();
}

void fault_let_go(const void *block) {
    if (!counts || !block) return;
    lock();
    size_t at = first_slot(block);
    while (slots[at].block && slots[at].block != block) at = (at + 1) % SLOTS;
    if (slots[at].block) {
        library[slots[at].library].blocks--;
        slots[at].block = &gone;
    }
    unlock();
}

void fault_say_kept(char *line, size_t size) {
    size_t used = (size_t)snprintf(line, size, "live");
    for (int i = 0; i < libraries && used < size; i++) {
        if (!library[i].blocks) continue;
        used += (size_t)snprintf(line + used, size - used, " %s=%ld", library[i].name,
                                 library[i].blocks);
    }
    if (used + 1 < size) memcpy(line + used, "\n", 2);
}
