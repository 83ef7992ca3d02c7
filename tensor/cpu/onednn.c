/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions and products by oneDNN. Primitives are asked for anew each time: the library keeps
 * those it has made (1024, by shape and number of threads), and to find one takes microseconds.
 * Weights are brought into its layout each time, too, which is as much as reading them once more:
 * they may have changed. Its activations are not used, since they make a NaN a 0. */
#include "tensor/cpu/onednn.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

#ifdef CT_HAS_ONEDNN
#include <pthread.h>
#include <sys/mman.h>

#include "tensor/cpu/onednn_library.h"

static struct {
    pthread_mutex_t lock;
    _Atomic bool asked;
    dnnl_engine_t engine; /* NULL: there is none */
    char version[32];
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Atomic bool forbidden;

/* What the library makes first, its kernels in pages of their own, it makes without asking whether
 * there is memory for it, and ends the program where there is none. */
static bool has_room(void) {
    enum { SMALL = 1 << 12, ROOM = 32 << 20 };
    void *small = malloc(SMALL);
    void *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = small && room != MAP_FAILED;
    free(small);
    if (room != MAP_FAILED) munmap(room, ROOM);
    return has || ct_fail_bool("oneDNN: out of memory");
}

/* Where a call ends well; without memory an error: another library's bits would be others. */
static bool well(dnnl_status_t status) {
    if (status == dnnl_out_of_memory) ct_fail("oneDNN: out of memory");
    return status == dnnl_success;
}

/* Its kernels for products are made with the first of them. */
static bool make_kernels(void) {
    float one = 1, product = 0;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    bool made = well(dnnl_sgemm('N', 'N', 1, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1));
    omp_set_num_threads(threads);
    return made;
}

/* With the lock. Whether it is there is known then; not if there was no memory to find out. */
static bool ask(void) {
    const char *wanted = getenv("CT_ONEDNN");
    if (wanted && strcmp(wanted, "off") == 0) return true;
    if (!has_room()) return false;
    bool made = well(dnnl_engine_create(&library.engine, dnnl_cpu, 0)) && make_kernels();
    if (!made) library.engine = NULL;
    const dnnl_version_t *v = dnnl_version();
    snprintf(library.version, sizeof library.version, "%d.%d.%d", v->major, v->minor, v->patch);
    return ct_ok();
}

/* False with an error where there is no memory. */
static bool is_there(void) {
    if (!atomic_load(&library.asked)) {
        pthread_mutex_lock(&library.lock);
        if (!library.asked && ask()) atomic_store(&library.asked, true);
        pthread_mutex_unlock(&library.lock);
    }
    return library.asked && library.engine && !atomic_load(&forbidden);
}

dnnl_engine_t ct_onednn_engine(void) { return is_there() ? library.engine : NULL; }

const char *ct_onednn_version(void) { return is_there() ? library.version : NULL; }

void ct_onednn_allow(bool allowed) { atomic_store(&forbidden, !allowed); }

/* ---- products --------------------------------------------------------------------------- */

double ct_onednn_least_product(void) {
    if (!is_there()) return INFINITY;
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    if ((isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core) return 1 << 18;
    return (isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2 ? 1 << 15 : INFINITY;
}

ct_onednn_end ct_onednn_gemm(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k,
                             float alpha, const float *a, int64_t a_leading, const float *b,
                             int64_t b_leading, float beta, float *c, int64_t c_leading) {
    dnnl_status_t end = dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', m, n, k,
                                   alpha, a, a_leading, b, b_leading, beta, c, c_leading);
    if (end == dnnl_out_of_memory) return CT_ONEDNN_NO_MEMORY;
    return end == dnnl_success ? CT_ONEDNN_DONE : CT_ONEDNN_REFUSED;
}

/* ---- one convolution -------------------------------------------------------------------- */

/* What is made for a call, and let go together. */
typedef struct {
    dnnl_primitive_desc_t forward; /* what a gradient's is told it belongs to */
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
} work;

static void finish_work(work *w) {
    if (w->primitive) dnnl_primitive_destroy(w->primitive);
    if (w->description) dnnl_primitive_desc_destroy(w->description);
    if (w->forward) dnnl_primitive_desc_destroy(w->forward);
    if (w->stream) dnnl_stream_destroy(w->stream);
}

/* Row-major, of at most five dimensions; or, `any`, as the library likes it. */
static dnnl_memory_desc_t layout_of(int ndim, const int64_t *size, bool any) {
    static const dnnl_format_tag_t tags[] = {[1] = dnnl_a, [4] = dnnl_abcd, [5] = dnnl_abcde};
    dnnl_memory_desc_t layout = {0};
    dnnl_dims_t sizes = {0};
    memcpy(sizes, size, (size_t)ndim * sizeof *size);
    dnnl_memory_desc_init_by_tag(&layout, ndim, sizes, dnnl_f32,
                                 any ? dnnl_format_tag_any : tags[ndim]);
    return layout;
}

typedef struct {
    dnnl_memory_desc_t x, weight, bias, y; /* or of their gradients */
} layouts;

static layouts layouts_of(const ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                          int64_t groups, bool any) {
    const int64_t *w = weight->shape.dim;
    int64_t grouped[] = {groups, w[0] / groups, w[1], w[2], w[3]};
    return (layouts){layout_of(4, x->shape.dim, any),
                     groups > 1 ? layout_of(5, grouped, any) : layout_of(4, w, any),
                     layout_of(1, w, false), layout_of(4, y->shape.dim, any)};
}

typedef enum { FORWARD, GRADIENT_OF_X, GRADIENT_OF_WEIGHT } direction;

static bool describe(work *w, direction what, const layouts *any, bool biased,
                     ct_tensor_conv2d_options o) {
    dnnl_convolution_desc_t forward, gradient;
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const dnnl_dims_t strides = {o.stride, o.stride}, dilates = {o.dilation - 1, o.dilation - 1};
    const dnnl_dims_t before = {o.before, o.before}, after = {o.after, o.after};
    dnnl_status_t made = dnnl_dilated_convolution_forward_desc_init(
        &forward, what == FORWARD ? dnnl_forward_inference : dnnl_forward_training, direct, &any->x,
        &any->weight, biased ? &any->bias : NULL, &any->y, strides, dilates, before, after);
    if (!well(made)) return false;
    if (what == FORWARD) {
        made = dnnl_primitive_desc_create(&w->description, &forward, NULL, library.engine, NULL);
        return well(made);
    }
    made = dnnl_primitive_desc_create(&w->forward, &forward, NULL, library.engine, NULL);
    if (!well(made)) return false;
    made = what == GRADIENT_OF_X
               ? dnnl_dilated_convolution_backward_data_desc_init(&gradient, direct, &any->x,
                                                                  &any->weight, &any->y, strides,
                                                                  dilates, before, after)
               : dnnl_dilated_convolution_backward_weights_desc_init(
                     &gradient, direct, &any->x, &any->weight, NULL, &any->y, strides, dilates,
                     before, after);
    return well(made) && well(dnnl_primitive_desc_create(&w->description, &gradient, NULL,
                                                         library.engine, w->forward));
}

static bool reorder(dnnl_stream_t stream, const dnnl_memory_desc_t *from_layout, void *from,
                    const dnnl_memory_desc_t *to_layout, void *to) {
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t a = NULL, b = NULL;
    bool ok = well(dnnl_reorder_primitive_desc_create(&description, from_layout, library.engine,
                                                      to_layout, library.engine, NULL)) &&
              well(dnnl_primitive_create(&primitive, description)) &&
              well(dnnl_memory_create(&a, from_layout, library.engine, from)) &&
              well(dnnl_memory_create(&b, to_layout, library.engine, to));
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}};
    ok = ok && well(dnnl_primitive_execute(primitive, stream, 2, arguments)) &&
         well(dnnl_stream_wait(stream));
    if (a) dnnl_memory_destroy(a);
    if (b) dnnl_memory_destroy(b);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (description) dnnl_primitive_desc_destroy(description);
    return ok;
}

/* What a primitive reads, or writes: the tensor's memory where its order is the one that the
 * primitive takes, else room in the innermost scope. */
typedef struct {
    int argument; /* DNNL_ARG_... */
    const ct_tensor *tensor;
    dnnl_memory_desc_t plain;
    bool written;

    const dnnl_memory_desc_t *layout;
    void *data;
    dnnl_memory_t memory;
} operand;

enum { MOST_OPERANDS = 4 };

static bool moves(const operand *o) { return o->data != ct_cpu_data(o->tensor); }

/* False with an error where there is no memory. */
static bool place(const work *w, operand *o) {
    o->layout = dnnl_primitive_desc_query_md(w->description, dnnl_query_exec_arg_md, o->argument);
    o->data = ct_cpu_data(o->tensor);
    if (dnnl_memory_desc_equal(o->layout, &o->plain)) return true;
    int64_t bytes = (int64_t)dnnl_memory_desc_get_size(o->layout);
    const ct_tensor *room = ct_empty(CT_U8, CT_CPU, CT_SHAPE(bytes));
    if (room) o->data = ct_cpu_data(room);
    return room != NULL;
}

static bool execute(const work *w, operand *o, int count) {
    dnnl_exec_arg_t arguments[MOST_OPERANDS];
    bool ok = true;
    for (int i = 0; i < count; i++) {
        if (!o[i].written && moves(&o[i])) {
            ok = ok &&
                 reorder(w->stream, &o[i].plain, ct_cpu_data(o[i].tensor), o[i].layout, o[i].data);
        }
        ok = ok && well(dnnl_memory_create(&o[i].memory, o[i].layout, library.engine, o[i].data));
        arguments[i] = (dnnl_exec_arg_t){o[i].argument, o[i].memory};
    }
    ok = ok && well(dnnl_primitive_execute(w->primitive, w->stream, count, arguments)) &&
         well(dnnl_stream_wait(w->stream));
    for (int i = 0; i < count; i++) {
        if (o[i].memory) dnnl_memory_destroy(o[i].memory);
        if (o[i].written && moves(&o[i])) {
            ok = ok &&
                 reorder(w->stream, o[i].layout, o[i].data, &o[i].plain, ct_cpu_data(o[i].tensor));
        }
    }
    return ok;
}

/* Of the convolution that `any` describes. False with an error where there is no memory. */
static bool convolve(direction what, const layouts *any, bool biased,
                     ct_tensor_conv2d_options options, operand *o, int count, bool *done) {
    bool memory = true;
    work w = {0};
    CT_SCOPE {
        if (!describe(&w, what, any, biased, options) ||
            !well(dnnl_primitive_create(&w.primitive, w.description)) ||
            !well(dnnl_stream_create(&w.stream, library.engine, dnnl_stream_default_flags))) {
            break;
        }
        for (int i = 0; memory && i < count; i++) memory = place(&w, &o[i]);
        *done = memory && execute(&w, o, count);
    }
    finish_work(&w);
    return ct_ok();
}

bool ct_onednn_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                      const ct_tensor *bias, ct_tensor_conv2d_options options, bool *done) {
    *done = false;
    if (!is_there()) return ct_ok();
    const layouts plain = layouts_of(y, x, weight, options.groups, false);
    const layouts any = layouts_of(y, x, weight, options.groups, true);
    operand o[MOST_OPERANDS] = {{DNNL_ARG_SRC, x, plain.x, .written = false},
                                {DNNL_ARG_WEIGHTS, weight, plain.weight, .written = false}};
    int count = 2;
    if (bias) o[count++] = (operand){DNNL_ARG_BIAS, bias, plain.bias, .written = false};
    o[count++] = (operand){DNNL_ARG_DST, y, plain.y, .written = true};
    return convolve(FORWARD, &any, bias != NULL, options, o, count, done);
}

bool ct_onednn_conv2d_grad_x(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                             ct_tensor_conv2d_options options, bool *done) {
    *done = false;
    if (!is_there()) return ct_ok();
    const layouts plain = layouts_of(g, gx, weight, options.groups, false);
    const layouts any = layouts_of(g, gx, weight, options.groups, true);
    operand o[] = {{DNNL_ARG_DIFF_DST, g, plain.y, .written = false},
                   {DNNL_ARG_WEIGHTS, weight, plain.weight, .written = false},
                   {DNNL_ARG_DIFF_SRC, gx, plain.x, .written = true}};
    return convolve(GRADIENT_OF_X, &any, false, options, o, 3, done);
}

bool ct_onednn_conv2d_grad_weight(ct_tensor *gweight, const ct_tensor *g, const ct_tensor *x,
                                  ct_tensor_conv2d_options options, bool *done) {
    *done = false;
    if (!is_there()) return ct_ok();
    const layouts plain = layouts_of(g, x, gweight, options.groups, false);
    const layouts any = layouts_of(g, x, gweight, options.groups, true);
    operand o[] = {{DNNL_ARG_DIFF_DST, g, plain.y, .written = false},
                   {DNNL_ARG_SRC, x, plain.x, .written = false},
                   {DNNL_ARG_DIFF_WEIGHTS, gweight, plain.weight, .written = true}};
    return convolve(GRADIENT_OF_WEIGHT, &any, false, options, o, 3, done);
}

#else

const char *ct_onednn_version(void) { return NULL; }

void ct_onednn_allow(bool allowed) { (void)allowed; }

double ct_onednn_least_product(void) { return INFINITY; }

ct_onednn_end ct_onednn_gemm(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k,
                             float alpha, const float *a, int64_t a_leading, const float *b,
                             int64_t b_leading, float beta, float *c, int64_t c_leading) {
    (void)a_transposed, (void)b_transposed, (void)m, (void)n, (void)k, (void)alpha, (void)a;
    (void)a_leading, (void)b, (void)b_leading, (void)beta, (void)c, (void)c_leading;
    return CT_ONEDNN_REFUSED;
}

bool ct_onednn_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                      const ct_tensor *bias, ct_tensor_conv2d_options options, bool *done) {
    (void)y, (void)x, (void)weight, (void)bias, (void)options;
    *done = false;
    return true;
}

bool ct_onednn_conv2d_grad_x(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                             ct_tensor_conv2d_options options, bool *done) {
    (void)gx, (void)g, (void)weight, (void)options;
    *done = false;
    return true;
}

bool ct_onednn_conv2d_grad_weight(ct_tensor *gweight, const ct_tensor *g, const ct_tensor *x,
                                  ct_tensor_conv2d_options options, bool *done) {
    (void)gweight, (void)g, (void)x, (void)options;
    *done = false;
    return true;
}

#endif
