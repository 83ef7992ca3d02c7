/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions by oneDNN. Primitives are asked for anew each time: the library keeps those it has
 * made (1024, by shape and number of threads), and to find one takes microseconds. Weights are
 * brought into its layout each time, too, which is as much as reading them once more: they may have
 * changed. Its activations are not used, since they make a NaN a 0. */
#include "tensor/cpu/onednn.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

#ifdef CT_HAS_ONEDNN
#include <dnnl.h>
#include <pthread.h>

static dnnl_engine_t engine; /* NULL: there is none */
static char version[32];
static _Atomic bool forbidden;

/* Once. */
static void open_engine(void) {
    const char *wanted = getenv("CT_ONEDNN");
    if (wanted && strcmp(wanted, "off") == 0) return;
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
    const dnnl_version_t *v = dnnl_version();
    snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
}

static bool is_there(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_engine);
    return engine && !atomic_load(&forbidden);
}

const char *ct_onednn_version(void) { return is_there() ? version : NULL; }

void ct_onednn_allow(bool allowed) { atomic_store(&forbidden, !allowed); }

/* ---- one convolution -------------------------------------------------------------------- */

/* What is made for a call, and let go together. */
typedef struct {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
} work;

static void finish_work(work *w) {
    if (w->primitive) dnnl_primitive_destroy(w->primitive);
    if (w->description) dnnl_primitive_desc_destroy(w->description);
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
    dnnl_memory_desc_t x, weight, bias, y; /* row-major */
} layouts;

static layouts layouts_of(const ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                          int64_t groups, bool any) {
    const int64_t *w = weight->shape.dim;
    int64_t grouped[] = {groups, w[0] / groups, w[1], w[2], w[3]};
    return (layouts){layout_of(4, x->shape.dim, any),
                     groups > 1 ? layout_of(5, grouped, any) : layout_of(4, w, any),
                     layout_of(1, w, false), layout_of(4, y->shape.dim, any)};
}

static bool describe(work *w, const layouts *any, bool biased, ct_tensor_conv2d_options o) {
    dnnl_convolution_desc_t conv;
    const dnnl_dims_t strides = {o.stride, o.stride}, dilates = {o.dilation - 1, o.dilation - 1};
    const dnnl_dims_t before = {o.before, o.before}, after = {o.after, o.after};
    return dnnl_dilated_convolution_forward_desc_init(
               &conv, dnnl_forward_inference, dnnl_convolution_direct, &any->x, &any->weight,
               biased ? &any->bias : NULL, &any->y, strides, dilates, before,
               after) == dnnl_success &&
           dnnl_primitive_desc_create(&w->description, &conv, NULL, engine, NULL) == dnnl_success &&
           dnnl_primitive_create(&w->primitive, w->description) == dnnl_success &&
           dnnl_stream_create(&w->stream, engine, dnnl_stream_default_flags) == dnnl_success;
}

static bool reorder(dnnl_stream_t stream, const dnnl_memory_desc_t *from_layout, void *from,
                    const dnnl_memory_desc_t *to_layout, void *to) {
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t a = NULL, b = NULL;
    bool ok = dnnl_reorder_primitive_desc_create(&description, from_layout, engine, to_layout,
                                                 engine, NULL) == dnnl_success &&
              dnnl_primitive_create(&primitive, description) == dnnl_success &&
              dnnl_memory_create(&a, from_layout, engine, from) == dnnl_success &&
              dnnl_memory_create(&b, to_layout, engine, to) == dnnl_success;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}};
    ok = ok && dnnl_primitive_execute(primitive, stream, 2, arguments) == dnnl_success &&
         dnnl_stream_wait(stream) == dnnl_success;
    if (a) dnnl_memory_destroy(a);
    if (b) dnnl_memory_destroy(b);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (description) dnnl_primitive_desc_destroy(description);
    return ok;
}

/* A tensor's memory as the primitive takes it: itself, or room in the innermost scope. */
typedef struct {
    void *data;
    const dnnl_memory_desc_t *layout;
    dnnl_memory_t memory;
    bool moved;
} operand;

/* False with an error where there is no memory. */
static bool place(operand *o, const work *w, dnnl_query_t query, const ct_tensor *tensor,
                  const dnnl_memory_desc_t *plain) {
    o->layout = dnnl_primitive_desc_query_md(w->description, query, 0);
    o->moved = !dnnl_memory_desc_equal(o->layout, plain);
    o->data = ct_cpu_data(tensor);
    if (!o->moved) return true;
    int64_t bytes = (int64_t)dnnl_memory_desc_get_size(o->layout);
    const ct_tensor *room = ct_empty(CT_U8, CT_CPU, CT_SHAPE(bytes));
    if (room) o->data = ct_cpu_data(room);
    return room != NULL;
}

static bool run(const work *w, operand *o, int count, const int *kinds) {
    dnnl_exec_arg_t arguments[4];
    bool ok = true;
    for (int i = 0; i < count; i++) {
        ok = ok && dnnl_memory_create(&o[i].memory, o[i].layout, engine, o[i].data) == dnnl_success;
        arguments[i] = (dnnl_exec_arg_t){kinds[i], o[i].memory};
    }
    ok = ok && dnnl_primitive_execute(w->primitive, w->stream, count, arguments) == dnnl_success &&
         dnnl_stream_wait(w->stream) == dnnl_success;
    for (int i = 0; i < count; i++) {
        if (o[i].memory) dnnl_memory_destroy(o[i].memory);
    }
    return ok;
}

bool ct_onednn_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                      const ct_tensor *bias, ct_tensor_conv2d_options options, bool *done) {
    *done = false;
    if (!is_there()) return true;
    bool memory = true;
    const layouts plain = layouts_of(y, x, weight, options.groups, false);
    const layouts any = layouts_of(y, x, weight, options.groups, true);
    work w = {0};
    CT_SCOPE {
        if (!describe(&w, &any, bias != NULL, options)) break;
        operand o[4] = {0};
        memory = place(&o[0], &w, dnnl_query_src_md, x, &plain.x) &&
                 place(&o[1], &w, dnnl_query_weights_md, weight, &plain.weight) &&
                 place(&o[2], &w, dnnl_query_dst_md, y, &plain.y);
        if (!memory) break;
        if (bias) o[3] = (operand){.data = ct_cpu_data(bias), .layout = &plain.bias};
        static const int kinds[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
        *done =
            (!o[0].moved || reorder(w.stream, &plain.x, ct_cpu_data(x), o[0].layout, o[0].data)) &&
            (!o[1].moved ||
             reorder(w.stream, &plain.weight, ct_cpu_data(weight), o[1].layout, o[1].data)) &&
            run(&w, o, bias ? 4 : 3, kinds) &&
            (!o[2].moved || reorder(w.stream, o[2].layout, o[2].data, &plain.y, ct_cpu_data(y)));
    }
    finish_work(&w);
    return memory;
}

#else

const char *ct_onednn_version(void) { return NULL; }

void ct_onednn_allow(bool allowed) { (void)allowed; }

bool ct_onednn_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                      const ct_tensor *bias, ct_tensor_conv2d_options options, bool *done) {
    (void)y, (void)x, (void)weight, (void)bias, (void)options;
    *done = false;
    return true;
}

#endif
