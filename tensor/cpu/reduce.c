/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions over any set of dimensions.
 *
 * The dimensions are put in the order of x's memory. If the innermost is reduced, each piece of it
 * is a row that a row kernel reduces; if it is kept, a column kernel joins rows of it. The reduced
 * rows are cut into chunks whose size depends on the shape alone; chunks are reduced by any thread
 * and joined in order, so the result does not depend on the number of threads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/cpu/iterate.h"

enum {
    LANES = 64,        /* of f32 and f64 row kernels: four 512-bit vectors of f32 */
    WIDE_LANES = 32,   /* of those that compute in f64 */
    ROW_LENGTH = 8192, /* elements of one row kernel call */
    COLUMNS = 2048,    /* accumulators of one column kernel call */
    COLUMN_ROWS = 128, /* rows of one column kernel call */
    TASK = 65536,      /* elements of one task, about */
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/reduce_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/reduce_kernels.h"

typedef double (*row_kernel)(const void *x, int64_t n);
typedef void (*column_kernel)(double *to, const void *x, int64_t rows, int64_t stride, int64_t n);

typedef struct {
    row_kernel row;
    column_kernel columns;
} kernel_pair;

typedef enum { SUM, MAX, MIN, PROD, SQUARE, NONFINITE } reduction;

static const struct {
    double start;
    kernel_pair f32, f64;
} kernels[] = {
    [SUM] = {0, {row_sum_f32, columns_sum_f32}, {row_sum_f64, columns_sum_f64}},
    [MAX] = {-INFINITY, {row_max_f32, columns_max_f32}, {row_max_f64, columns_max_f64}},
    [MIN] = {INFINITY, {row_min_f32, columns_min_f32}, {row_min_f64, columns_min_f64}},
    [PROD] = {1, {row_prod_f32, columns_prod_f32}, {row_prod_f64, columns_prod_f64}},
    [SQUARE] = {0, {row_square_f32, columns_square_f32}, {row_square_f64, columns_square_f64}},
    [NONFINITE] = {0,
                   {row_nonfinite_f32, columns_nonfinite_f32},
                   {row_nonfinite_f64, columns_nonfinite_f64}},
};

static double join(reduction what, double a, double b) {
    switch (what) {
    case SUM:
    case SQUARE: return a + b;
    case PROD: return a * b;
    case MIN: return b < a || b != b ? b : a;
    case MAX:
    case NONFINITE: break;
    }
    return b > a || b != b ? b : a;
}

/* ---- the nest of loops ------------------------------------------------------------------ */

/* Some dimensions with the strides of x and, for those kept, of y. */
typedef struct {
    int ndim;
    int64_t size[CT_MAX_DIMS], x[CT_MAX_DIMS], y[CT_MAX_DIMS];
} dims;

static void push(dims *d, int64_t size, int64_t x, int64_t y) {
    d->size[d->ndim] = size;
    d->x[d->ndim] = x;
    d->y[d->ndim++] = y;
}

static int64_t product(const dims *d) {
    int64_t n = 1;
    for (int i = 0; i < d->ndim; i++) n *= d->size[i];
    return n;
}

static void offsets(const dims *d, int64_t index, int64_t *x, int64_t *y) {
    *x = *y = 0;
    for (int i = d->ndim - 1; i >= 0; i--) {
        int64_t here = i ? index % d->size[i] : index;
        *x += here * d->x[i];
        *y += here * d->y[i];
        if (i) index /= d->size[i];
    }
}

typedef struct {
    reduction what;
    row_kernel row;
    column_kernel columns;
    size_t size; /* bytes of an element of x */
    const char *x;
    dims kept, reduced; /* without the innermost */
    bool inner_kept;
    int64_t inner_size, inner_x, inner_y;
    int64_t outputs;              /* of kept, times column blocks if the innermost is kept */
    int64_t blocks;               /* of the innermost: column blocks, or pieces of a row */
    int64_t rows;                 /* of reduced, times pieces if the innermost is reduced */
    int64_t rows_per_task, tasks; /* of one output */
    double divisor;               /* of the results: the count of a mean */
    bool is_f32;
    void *y;
} job;

/* Dimensions of x larger than 1, in the order of its strides, largest first (broadcast ones first
 * of all), merged where both x and y allow. */
static dims sorted_dims(const ct_tensor *x, const ct_tensor *y) {
    dims d = {.ndim = 0};
    for (int i = 0; i < x->shape.ndim; i++) {
        int64_t size = x->shape.dim[i];
        if (size != 1) push(&d, size, x->stride[i], y->shape.dim[i] == 1 ? 0 : y->stride[i]);
    }
    for (int i = 1; i < d.ndim; i++) {
        for (int j = i; j > 0; j--) {
            if (d.x[j] != 0 && (d.x[j - 1] == 0 || d.x[j - 1] >= d.x[j])) break;
            if (d.x[j] == 0 && d.x[j - 1] == 0) break;
            int64_t size = d.size[j], sx = d.x[j], sy = d.y[j];
            d.size[j] = d.size[j - 1], d.x[j] = d.x[j - 1], d.y[j] = d.y[j - 1];
            d.size[j - 1] = size, d.x[j - 1] = sx, d.y[j - 1] = sy;
        }
    }
    dims merged = {.ndim = 0};
    for (int i = 0; i < d.ndim; i++) {
        int last = merged.ndim - 1;
        if (last >= 0 && merged.x[last] == d.x[i] * d.size[i] &&
            merged.y[last] == d.y[i] * d.size[i]) {
            merged.size[last] *= d.size[i];
            merged.x[last] = d.x[i];
            merged.y[last] = d.y[i];
        } else {
            push(&merged, d.size[i], d.x[i], d.y[i]);
        }
    }
    if (!merged.ndim) push(&merged, 1, 1, 1);
    return merged;
}

/* Short innermost rows next to a longer kept dimension are better read as its columns. */
static void swap_short_rows(dims *d) {
    int last = d->ndim - 1;
    if (last < 1 || d->y[last] != 0 || d->size[last] >= 32) return;
    if (d->y[last - 1] == 0 || d->size[last - 1] <= d->size[last]) return;
    int64_t size = d->size[last], x = d->x[last];
    d->size[last] = d->size[last - 1], d->x[last] = d->x[last - 1], d->y[last] = d->y[last - 1];
    d->size[last - 1] = size, d->x[last - 1] = x, d->y[last - 1] = 0;
}

static job plan(reduction what, const ct_tensor *y, const ct_tensor *x) {
    bool f32 = x->dtype == CT_F32;
    job j = {.what = what,
             .row = f32 ? kernels[what].f32.row : kernels[what].f64.row,
             .columns = f32 ? kernels[what].f32.columns : kernels[what].f64.columns,
             .size = ct_dtype_size(x->dtype),
             .x = ct_cpu_data(x),
             .divisor = 1,
             .is_f32 = y->dtype == CT_F32,
             .y = ct_cpu_data(y)};
    dims d = sorted_dims(x, y);
    swap_short_rows(&d);
    int last = d.ndim - 1;
    for (int i = 0; i < last; i++) {
        push(d.y[i] ? &j.kept : &j.reduced, d.size[i], d.x[i], d.y[i]);
    }
    j.inner_kept = d.y[last] != 0;
    j.inner_size = d.size[last];
    j.inner_x = d.x[last];
    j.inner_y = d.y[last];
    int64_t piece = j.inner_kept ? COLUMNS : ROW_LENGTH;
    j.blocks = (j.inner_size + piece - 1) / piece;
    j.outputs = product(&j.kept) * (j.inner_kept ? j.blocks : 1);
    j.rows = product(&j.reduced) * (j.inner_kept ? 1 : j.blocks);
    int64_t width = j.inner_size < piece ? j.inner_size : piece;
    j.rows_per_task = (TASK + width - 1) / width;
    if (j.inner_kept && j.rows_per_task < COLUMN_ROWS) j.rows_per_task = COLUMN_ROWS;
    j.tasks = (j.rows + j.rows_per_task - 1) / j.rows_per_task;
    return j;
}

/* ---- one task --------------------------------------------------------------------------- */

/* n elements of the innermost dimension, contiguous */
static const void *inner_run(const job *j, const char *from, int64_t n, void *buffer) {
    if (j->inner_x == 1) return from;
    ct_walk w = {.data = (char *)from, .size = j->size, .ndim = 1};
    w.dim[0] = n;
    w.stride[0] = j->inner_x;
    return CT_CPU(load)(&w, 0, n, buffer);
}

static double reduce_rows(const job *j, int64_t output, int64_t task) {
    double buffer[ROW_LENGTH];
    int64_t at, unused, first = task * j->rows_per_task;
    int64_t end = first + j->rows_per_task < j->rows ? first + j->rows_per_task : j->rows;
    double total = kernels[j->what].start;
    offsets(&j->kept, output, &at, &unused);
    for (int64_t i = first; i < end; i++) {
        int64_t row, start = i % j->blocks * ROW_LENGTH;
        offsets(&j->reduced, i / j->blocks, &row, &unused);
        int64_t left = j->inner_size - start, n = left < ROW_LENGTH ? left : ROW_LENGTH;
        const char *from = j->x + (at + row + start * j->inner_x) * (int64_t)j->size;
        total = join(j->what, total, j->row(inner_run(j, from, n, buffer), n));
    }
    return total;
}

/* How many rows from `row` on lie at equal distances: the rest of the innermost reduced
 * dimension. */
static int64_t equal_rows(const job *j, int64_t row, int64_t end, int64_t *stride) {
    if (!j->reduced.ndim) {
        *stride = 0;
        return 1;
    }
    int last = j->reduced.ndim - 1;
    *stride = j->reduced.x[last];
    int64_t left = j->reduced.size[last] - row % j->reduced.size[last];
    if (left > end - row) left = end - row;
    return left < COLUMN_ROWS ? left : COLUMN_ROWS;
}

static void reduce_columns(const job *j, int64_t output, int64_t task, double *to, int64_t n) {
    double buffer[COLUMNS];
    int64_t at, unused, first = task * j->rows_per_task;
    int64_t end = first + j->rows_per_task < j->rows ? first + j->rows_per_task : j->rows;
    offsets(&j->kept, output / j->blocks, &at, &unused);
    at += output % j->blocks * COLUMNS * j->inner_x;
    for (int64_t i = 0; i < n; i++) to[i] = kernels[j->what].start;
    for (int64_t i = first, rows; i < end; i += rows) {
        int64_t row, stride;
        offsets(&j->reduced, i, &row, &unused);
        rows = equal_rows(j, i, end, &stride);
        const char *from = j->x + (at + row) * (int64_t)j->size;
        if (j->inner_x == 1) {
            j->columns(to, from, rows, stride, n);
            continue;
        }
        for (int64_t k = 0; k < rows; k++) {
            const char *strided = from + k * stride * (int64_t)j->size;
            j->columns(to, inner_run(j, strided, n, buffer), 1, 0, n);
        }
    }
}

/* ---- all tasks -------------------------------------------------------------------------- */

static void write_value(const job *j, int64_t at, double value) {
    value /= j->divisor;
    if (j->is_f32) {
        ((float *)j->y)[at] = (float)value;
    } else {
        ((double *)j->y)[at] = value;
    }
}

static int64_t output_width(const job *j, int64_t output) {
    if (!j->inner_kept) return 1;
    int64_t left = j->inner_size - output % j->blocks * COLUMNS;
    return left < COLUMNS ? left : COLUMNS;
}

static void reduce_task(const job *j, int64_t output, int64_t task, double *to) {
    if (j->inner_kept) {
        reduce_columns(j, output, task, to, output_width(j, output));
    } else {
        *to = reduce_rows(j, output, task);
    }
}

static void write_output(const job *j, int64_t output, const double *value) {
    int64_t unused, at, n = output_width(j, output);
    offsets(&j->kept, j->inner_kept ? output / j->blocks : output, &unused, &at);
    if (j->inner_kept) at += output % j->blocks * COLUMNS * j->inner_y;
    for (int64_t i = 0; i < n; i++) write_value(j, at + i * j->inner_y, value[i]);
}

/* One task an output: no partial results to keep. */
CT_PART run_outputs(ct_part part, const job *j) {
    for (int64_t i = part.begin; i < part.end; i++) {
        double value[COLUMNS];
        reduce_task(j, i, 0, value);
        write_output(j, i, value);
    }
}

CT_PART run_part(ct_part part, const job *j, int64_t output, double *partial, int64_t width) {
    for (int64_t task = part.begin; task < part.end; task++) {
        reduce_task(j, output, task, partial + task * width);
    }
}

/* Several tasks an output, one output at a time; partial results are joined in order. */
static bool run_tasks(const job *j, int threads) {
    int64_t width = j->inner_kept ? COLUMNS : 1;
    double *partial = malloc((size_t)(j->tasks * width) * sizeof *partial);
    if (!partial) return ct_fail_bool("reduce: out of memory");
    for (int64_t output = 0; output < j->outputs; output++) {
        CT_IN_PARTS(threads, j->tasks, run_part(part, j, output, partial, width));
        int64_t n = output_width(j, output);
        for (int64_t task = 1; task < j->tasks; task++) {
            for (int64_t i = 0; i < n; i++) {
                partial[i] = join(j->what, partial[i], partial[task * width + i]);
            }
        }
        write_output(j, output, partial);
    }
    free(partial);
    return true;
}

static bool run(const job *j, int64_t count) {
    int threads = ct_cpu_threads(count);
    if (j->tasks > 1) return run_tasks(j, threads);
    CT_IN_PARTS(threads, j->outputs, run_outputs(part, j));
    return true;
}

/* ---- entries ---------------------------------------------------------------------------- */

bool CT_CPU(reduce)(ct_reduce_kind kind, ct_tensor *y, const ct_tensor *x) {
    static const reduction of_kind[] = {
        [CT_SUM] = SUM, [CT_MEAN] = SUM, [CT_MAX] = MAX, [CT_MIN] = MIN, [CT_PROD] = PROD};
    reduction what = of_kind[kind];
    int64_t outputs = ct_count(y), count = ct_count(x);
    if (outputs == 0) return true;
    if (count == 0) {
        return CT_CPU(fill)(y, kind == CT_MEAN ? NAN : kernels[what].start);
    }
    job j = plan(what, y, x);
    if (kind == CT_MEAN) j.divisor = (double)(count / outputs);
    return run(&j, count);
}

/* All of x to one f64. */
static bool reduce_all(reduction what, const ct_tensor *x, double *value) {
    *value = kernels[what].start;
    if (ct_count(x) == 0) return true;
    ct_storage storage = {.data = value};
    ct_tensor y = {.dtype = CT_F64, .shape = x->shape, .storage = &storage};
    for (int i = 0; i < y.shape.ndim; i++) y.shape.dim[i] = 1;
    job j = plan(what, &y, x);
    return run(&j, ct_count(x));
}

bool CT_CPU(global_norm)(ct_tensor *norm, ct_tensor *const *tensors, int count) {
    double sum = 0, one;
    for (int i = 0; i < count; i++) {
        if (!reduce_all(SQUARE, tensors[i], &one)) return false;
        sum += one;
    }
    *(double *)ct_cpu_data(norm) = sqrt(sum);
    return true;
}

bool CT_CPU(has_nonfinite)(const ct_tensor *x, bool *found) {
    double value;
    if (!reduce_all(NONFINITE, x, &value)) return false;
    *found = value > 0;
    return true;
}
