/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/cpu/iterate.h"

#include <string.h>

/* Any element of that many bytes, whatever its type. */
typedef uint8_t __attribute__((may_alias)) any1;
typedef uint16_t __attribute__((may_alias)) any2;
typedef uint32_t __attribute__((may_alias)) any4;
typedef uint64_t __attribute__((may_alias)) any8;

#define DEFINE_STRIDED(T)                                                    \
    static void load_##T(T *to, const T *from, int64_t stride, int64_t n) {  \
        if (stride == 0) {                                                   \
            T value = *from;                                                 \
            for (int64_t i = 0; i < n; i++) to[i] = value;                   \
        } else {                                                             \
            for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];        \
        }                                                                    \
    }                                                                        \
    static void store_##T(T *to, const T *from, int64_t stride, int64_t n) { \
        for (int64_t i = 0; i < n; i++) to[i * stride] = from[i];            \
    }
DEFINE_STRIDED(any1)
DEFINE_STRIDED(any2)
DEFINE_STRIDED(any4)
DEFINE_STRIDED(any8)

static void load_strided(void *to, const void *from, int64_t stride, int64_t n, size_t size) {
    switch (size) {
    case 1: load_any1(to, from, stride, n); break;
    case 2: load_any2(to, from, stride, n); break;
    case 4: load_any4(to, from, stride, n); break;
    default: load_any8(to, from, stride, n); break;
    }
}

static void store_strided(void *to, const void *from, int64_t stride, int64_t n, size_t size) {
    switch (size) {
    case 1: store_any1(to, from, stride, n); break;
    case 2: store_any2(to, from, stride, n); break;
    case 4: store_any4(to, from, stride, n); break;
    default: store_any8(to, from, stride, n); break;
    }
}

/* A position in a walk: indices of all dimensions and the bytes from the first element. */
typedef struct {
    int64_t index[CT_MAX_DIMS];
    int64_t offset;
} position;

static position position_of(const ct_walk *w, int64_t start) {
    position p = {.offset = 0};
    for (int i = w->ndim - 1; i >= 0; i--) {
        p.index[i] = i ? start % w->dim[i] : start;
        if (i) start /= w->dim[i];
        p.offset += p.index[i] * w->stride[i];
    }
    p.offset *= (int64_t)w->size;
    return p;
}

/* Elements from here to the end of the innermost dimension, at most n. */
static int64_t run_length(const ct_walk *w, const position *p, int64_t n) {
    int64_t left = w->dim[w->ndim - 1] - p->index[w->ndim - 1];
    return left < n ? left : n;
}

/* Moves on by `run` elements of the innermost dimension, into the next row at its end. */
static void advance(const ct_walk *w, position *p, int64_t run) {
    int i = w->ndim - 1;
    p->index[i] += run;
    p->offset += run * w->stride[i] * (int64_t)w->size;
    while (i > 0 && p->index[i] == w->dim[i]) {
        p->offset -= w->dim[i] * w->stride[i] * (int64_t)w->size;
        p->index[i] = 0;
        i--;
        p->index[i]++;
        p->offset += w->stride[i] * (int64_t)w->size;
    }
}

void *CT_CPU(in_place)(const ct_walk *w, int64_t start, int64_t n) {
    if (w->stride[w->ndim - 1] != 1) return NULL;
    position p = position_of(w, start);
    return run_length(w, &p, n) == n ? w->data + p.offset : NULL;
}

const void *CT_CPU(load)(const ct_walk *w, int64_t start, int64_t n, void *buffer) {
    int64_t stride = w->stride[w->ndim - 1];
    position p = position_of(w, start);
    int64_t run = run_length(w, &p, n);
    if (stride == 1 && run == n) return w->data + p.offset;
    char *to = buffer;
    for (;;) {
        load_strided(to, w->data + p.offset, stride, run, w->size);
        n -= run;
        if (n == 0) return buffer;
        to += (size_t)run * w->size;
        advance(w, &p, run);
        run = run_length(w, &p, n);
    }
}

void CT_CPU(store)(const ct_walk *w, int64_t start, int64_t n, const void *from) {
    int64_t stride = w->stride[w->ndim - 1];
    position p = position_of(w, start);
    const char *source = from;
    while (n > 0) {
        int64_t run = run_length(w, &p, n);
        store_strided(w->data + p.offset, source, stride, run, w->size);
        source += (size_t)run * w->size;
        n -= run;
        advance(w, &p, run);
    }
}

enum { MAX_INPUTS = 4 };

/* One job of ct_map: what all threads read. */
typedef struct {
    ct_map_kernel kernel;
    const double *params;
    ct_walk y, x[MAX_INPUTS];
    int inputs;
    bool contiguous; /* all of them */
} map_job;

static bool is_run(const ct_walk *w) { return w->ndim == 1 && w->stride[0] == 1; }

static void map_block(const map_job *job, int64_t start, int64_t n, double (*buffer)[CT_BLOCK]) {
    const void *x[MAX_INPUTS];
    for (int i = 0; i < job->inputs; i++) {
        x[i] = CT_CPU(load)(&job->x[i], start, n, buffer[1 + i]);
    }
    void *in_place = CT_CPU(in_place)(&job->y, start, n);
    void *y = in_place ? in_place : buffer[0];
    job->kernel(y, x, n, job->params);
    if (!in_place) CT_CPU(store)(&job->y, start, n, y);
}

static void map_chunk(const map_job *job, int64_t start, int64_t n) {
    if (job->contiguous) {
        const void *x[MAX_INPUTS];
        for (int i = 0; i < job->inputs; i++) {
            x[i] = job->x[i].data + (size_t)start * job->x[i].size;
        }
        job->kernel(job->y.data + (size_t)start * job->y.size, x, n, job->params);
        return;
    }
    double buffer[1 + MAX_INPUTS][CT_BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += CT_BLOCK) {
        map_block(job, start + i, n - i < CT_BLOCK ? n - i : CT_BLOCK, buffer);
    }
}

CT_PART map_chunks(ct_part part, const map_job *job, int64_t count) {
    for (int64_t i = part.begin; i < part.end; i++) {
        int64_t left = count - i * CT_CHUNK;
        map_chunk(job, i * CT_CHUNK, left < CT_CHUNK ? left : CT_CHUNK);
    }
}

/* A large transposed input is copied first, in tiles: read in rows, every element would fetch a
 * cache line of its own. Without memory for it, it is read in rows. Returns what is to be freed. */
static void *straighten(ct_walk *w, const ct_tensor *x, int64_t count) {
    if (count < CT_PARALLEL_MINIMUM || !CT_CPU(is_transposed)(w)) return NULL;
    ct_storage storage = {.data = ct_cpu_try_allocate((size_t)count * w->size)};
    ct_tensor copy = {.dtype = x->dtype, .shape = x->shape, .storage = &storage};
    int64_t step = 1;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        copy.stride[i] = step;
        step *= x->shape.dim[i];
    }
    if (!storage.data || !CT_CPU(copy)(&copy, x)) return NULL;
    *w = ct_walk_of(&copy);
    return storage.data;
}

void CT_CPU(map)(ct_map_kernel kernel, ct_tensor *y, int inputs, const ct_tensor *const *x,
                 const double *params, int cost) {
    int64_t count = ct_count(y);
    if (count == 0) return;
    map_job job = {.kernel = kernel, .params = params, .y = ct_walk_of(y), .inputs = inputs};
    void *copies[MAX_INPUTS];
    job.contiguous = is_run(&job.y);
    for (int i = 0; i < inputs; i++) {
        job.x[i] = ct_walk_of(x[i]);
        copies[i] = straighten(&job.x[i], x[i], count);
        job.contiguous = job.contiguous && is_run(&job.x[i]);
    }
    int64_t chunks = (count + CT_CHUNK - 1) / CT_CHUNK;
    CT_IN_PARTS(ct_cpu_threads(count * cost), chunks, map_chunks(part, &job, count));
    for (int i = 0; i < inputs; i++) ct_cpu_free(copies[i], (size_t)count * job.x[i].size);
}
