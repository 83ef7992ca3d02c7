/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of pictures: a product for each of so many output places as a cache holds the patches
 * of, or, where every channel is a group of its own, a plane at a time without any product. */
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include "tensor/cpu/blas.h"
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/span.h"

typedef struct {
    int64_t batch, in, height, width, out, kernel_h, kernel_w, rows, columns;
    int64_t stride, dilation, before, groups;
} conv;

/* x, weight and y as ct_tensor_conv2d's, or their gradients. */
static conv conv_of(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *y,
                    ct_tensor_conv2d_options o) {
    const int64_t *of_x = x->shape.dim, *of_w = weight->shape.dim, *of_y = y->shape.dim;
    return (conv){of_x[0], of_x[1], of_x[2],  of_x[3],    of_w[0],  of_w[2], of_w[3],
                  of_y[2], of_y[3], o.stride, o.dilation, o.before, o.groups};
}

/* Bytes that an instruction takes. */
#ifdef __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX2__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* ---- a plane with what is around it, by phases ------------------------------------------ */

/* A plane whose element (r, c), counted from the corner of the padding, stands in phase
 * (r % stride, c % stride) at (r / stride, c / stride). There every position of the kernel, seen
 * from all outputs, is one run of elements: output (h, w) is at h * pitch + w in all of them (what
 * is between the rows of outputs is computed, too, and not looked at). */
typedef struct {
    int64_t stride, before, depth, pitch;
} phases;

enum { MOST_TAPS = 128, MOST_PHASES = 4, LARGEST_PLANE = 1 << 20 };

/* Elements of four f32 vectors, of eight f64 ones: runs are computed in such steps. */
enum { BLOCK = 4 * VECTOR_BYTES / 4 };

/* Elements of all phases, and what a run may read beyond. */
static int64_t phases_size(phases p) {
    return (p.stride * p.stride * p.depth + 1) * p.pitch + BLOCK;
}

static phases phases_of(const conv *c) {
    return (phases){c->stride, c->before, c->rows + (c->kernel_h - 1) * c->dilation / c->stride,
                    c->columns + (c->kernel_w - 1) * c->dilation / c->stride};
}

/* Gradients of outputs with zeros around them, for what of x is in one phase. */
static phases grad_phases_of(const conv *c) {
    return (phases){
        1, 0,
        (c->height - 1 + c->before) / c->stride + 1 + (c->kernel_h - 1) * c->dilation / c->stride,
        (c->width - 1 + c->before) / c->stride + 1 + (c->kernel_w - 1) * c->dilation / c->stride};
}

static bool fits(phases p) {
    return p.depth <= LARGEST_PLANE && p.pitch <= LARGEST_PLANE &&
           p.depth * p.pitch <= LARGEST_PLANE;
}

/* Every channel a group of its own, of a size that a thread has room for. */
static bool is_depthwise(const conv *c) {
    return c->groups == c->in && c->groups == c->out && c->kernel_h <= MOST_TAPS &&
           c->kernel_w <= MOST_TAPS && c->kernel_h * c->kernel_w <= MOST_TAPS &&
           c->stride <= MOST_PHASES && fits(phases_of(c)) && fits(grad_phases_of(c));
}

/* Elements of a run over `rows` rows of outputs, in whole blocks. */
static int64_t run_of(int64_t rows, int64_t pitch) {
    return (rows * pitch + BLOCK - 1) / BLOCK * BLOCK;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Elements that a thread needs: two planes, and a run. */
static int64_t depthwise_room(const conv *c) {
    phases p = phases_of(c), g = grad_phases_of(c);
    int64_t run = larger(run_of(c->rows, p.pitch), run_of(g.depth, g.pitch));
    return larger(phases_size(p), phases_size(g)) + 2 * run + 4 * BLOCK;
}

/* ---- tiles ------------------------------------------------------------------------------ */

/* A task is `rows` rows of outputs of one picture (fewer at its end) or, where a picture has few,
 * `pictures` whole ones side by side; and in it a group, or one of `parts` parts of its outputs. */
typedef struct {
    int64_t inputs, outputs; /* of a group: rows of patches, output channels */
    int64_t rows, pictures, parts;
    int64_t of_picture, tasks; /* tiles of a picture; all tasks */
    bool plain;                /* patches are x itself */
    bool onednn;               /* products are oneDNN's, not OpenBLAS's */
} tiling;

/* A product costs a pass over its weights beside what it multiplies, so that it should have some
 * hundred columns; and its patches should still be in the cache when it reads them. */
enum { FEW_COLUMNS = 256, MANY_COLUMNS = 1024, PATCH_ELEMENTS = 1 << 18, FEW_TASKS = 8 };

static int64_t at_least_1(int64_t n) { return n > 0 ? n : 1; }

static tiling tile(const conv *c) {
    tiling t = {.inputs = c->in / c->groups * c->kernel_h * c->kernel_w,
                .outputs = c->out / c->groups,
                .pictures = 1};
    int64_t places = c->rows * c->columns;
    int64_t columns = PATCH_ELEMENTS / at_least_1(t.inputs);
    if (columns < FEW_COLUMNS) columns = FEW_COLUMNS;
    if (columns > MANY_COLUMNS) columns = MANY_COLUMNS;
    t.rows = at_least_1(columns / c->columns);
    if (t.rows > c->rows) t.rows = c->rows;
    t.of_picture = (c->rows + t.rows - 1) / t.rows;
    t.rows = (c->rows + t.of_picture - 1) / t.of_picture;
    t.of_picture = (c->rows + t.rows - 1) / t.rows;
    if (places < FEW_COLUMNS) t.pictures = at_least_1(columns / places);
    if (t.pictures > c->batch) t.pictures = c->batch;
    t.plain = t.pictures == 1 && c->kernel_h == 1 && c->kernel_w == 1 && c->stride == 1 &&
              c->before == 0 && c->rows == c->height && c->columns == c->width;
    t.tasks = (c->batch + t.pictures - 1) / t.pictures * t.of_picture * c->groups;
    t.parts = at_least_1(FEW_TASKS / t.tasks);
    if (t.parts > t.outputs / 64) t.parts = at_least_1(t.outputs / 64);
    t.tasks *= t.parts;
    return t;
}

/* Elements that a thread needs: patches and, of several pictures, outputs. */
static int64_t tile_room(const conv *c, const tiling *t) {
    int64_t columns = t->pictures * t->rows * c->columns;
    return columns * ((t->plain ? 0 : t->inputs) + (t->pictures > 1 ? t->outputs : 0)) + 1;
}

/* Room for each of `threads` threads, in the innermost scope; NULL with an error. */
static char *room_for(const ct_tensor *like, int threads, int64_t elements) {
    const ct_tensor *room = ct_empty(like->dtype, CT_CPU, CT_SHAPE(threads, elements));
    return room ? ct_cpu_data(room) : NULL;
}

/* What happens to outputs before they are written (tensor/device/kernels.def). */
typedef struct {
    const ct_tensor *bias, *added;
    ct_activation activation;
} finish;

/* v, or what it is beyond; a NaN stays one. */
#define R_WITHIN(v, low, high) ((v) < (low) ? (low) : (v) > (high) ? (high) : (v))

/* What comes behind a convolution that another has written to y. */
static bool activate(ct_tensor *y, const finish *f) {
    if (!f->added && f->activation == CT_NO_ACTIVATION) return true;
    const int64_t *size = y->shape.dim;
    ct_tensor *planes = ct_tensor_reshape(y, CT_SHAPE(size[0], size[1], size[2] * size[3]));
    return planes && CT_CPU(activate)(planes, NULL, f->added, f->activation);
}

/* What oneDNN is not asked for in f32 (benchmarks/README.md, "Pictures"): it wants pictures in
 * another order, and where a 1x1 kernel makes one long product, moving them takes longer than it
 * saves. */
static bool is_long_product(const conv *c) {
    return c->kernel_h * c->kernel_w == 1 && c->rows * c->columns >= FEW_COLUMNS;
}

static bool by_onednn(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight, const finish *f,
                      const conv *c, ct_tensor_conv2d_options options, bool *done) {
    *done = false;
    if (is_long_product(c) || c->in == 0) return true;
    return ct_onednn_conv2d(y, x, weight, f->bias, options, done) && (!*done || activate(y, f));
}

/* c (m,n) = a (m,k) b (k,n); false, and no error set, where there is no memory. */
static bool product_f32(const tiling *t, int64_t m, int64_t n, int64_t k, const float *a,
                        const float *b, int64_t b_leading, float *c, int64_t c_leading) {
    return ct_blas_sgemm(t->onednn, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, b_leading, 0,
                         c, c_leading);
}

static bool product_f64(const tiling *t, int64_t m, int64_t n, int64_t k, const double *a,
                        const double *b, int64_t b_leading, double *c, int64_t c_leading) {
    (void)t;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)k, b,
                (int)b_leading, 0, c, (int)c_leading);
    return true;
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_depthwise_kernels.h"
#include "tensor/cpu/fused_conv2d_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_depthwise_kernels.h"
#include "tensor/cpu/fused_conv2d_kernels.h"
