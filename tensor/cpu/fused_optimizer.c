/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and SGD: one parallel loop over the chunks of all parameters. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/fused/clip.h"
#include "tensor/cpu/cpu.h"

enum { CHUNK = 16384, UPDATE_COST = 4 };

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_optimizer_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_optimizer_kernels.h"

/* A run of elements of one parameter. */
typedef struct {
    int parameter;
    int64_t start, count;
} chunk;

typedef struct {
    chunk *chunks;
    int64_t count, elements;
} work_list;

/* The chunks of all parameters with a gradient; chunks is to be freed, NULL if out of memory. */
static work_list list_work(ct_tensor *const *params, ct_tensor *const *grads, int count) {
    work_list work = {0};
    for (int i = 0; i < count; i++) {
        if (grads[i]) work.count += (ct_count(params[i]) + CHUNK - 1) / CHUNK;
    }
    work.chunks = malloc((size_t)(work.count + 1) * sizeof *work.chunks);
    if (!work.chunks) {
        ct_fail("optimizer: out of memory");
        return work;
    }
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        int64_t n = grads[i] ? ct_count(params[i]) : 0;
        for (int64_t start = 0; start < n; start += CHUNK) {
            work.chunks[at++] = (chunk){i, start, n - start < CHUNK ? n - start : CHUNK};
        }
        work.elements += n;
    }
    return work;
}

static void *element(const ct_tensor *x, int64_t start) {
    return (char *)ct_cpu_data(x) + (size_t)start * ct_dtype_size(x->dtype);
}

/* What gradients are multiplied by; false with an error if the norm is not finite. */
static bool clip_factor(const char *op, const ct_clip *clip, double *scale) {
    *scale = 1;
    if (!clip->norm) return true;
    double norm = *(const double *)ct_cpu_data(clip->norm);
    *scale = ct_clip_factor(norm, clip->limit, clip->times);
    return isfinite(norm) || ct_fail_bool("%s: a gradient is not finite: nothing was updated", op);
}

CT_PART adam_chunks(ct_part part, const chunk *chunks, ct_tensor *const *params,
                    ct_tensor *const *grads, ct_tensor *const *exp_avg,
                    ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, double scale,
                    const ct_tensor_adam_options *options) {
    for (int64_t k = part.begin; k < part.end; k++) {
        chunk c = chunks[k];
        int i = c.parameter;
        void *p = element(params[i], c.start), *g = element(grads[i], c.start);
        void *m = element(exp_avg[i], c.start), *v = element(exp_avg_sq[i], c.start);
        const double *rate = ct_cpu_data(rates[i]);
        if (params[i]->dtype == CT_F32) {
            adam_f32(p, g, m, v, c.count, rate, scale, options);
        } else {
            adam_f64(p, g, m, v, c.count, rate, scale, options);
        }
    }
}

bool CT_CPU(adam)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                  ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                  ct_tensor_adam_options options) {
    double scale;
    if (!clip_factor("adam", &options.clip, &scale)) return false;
    work_list work = list_work(params, grads, count);
    if (!work.chunks) return false;
    CT_IN_PARTS(
        ct_cpu_threads(UPDATE_COST * work.elements), work.count,
        adam_chunks(part, work.chunks, params, grads, exp_avg, exp_avg_sq, rates, scale, &options));
    free(work.chunks);
    return true;
}

CT_PART sgd_chunks(ct_part part, const chunk *chunks, ct_tensor *const *params,
                   ct_tensor *const *grads, ct_tensor *const *buffers, ct_tensor *const *rates,
                   double scale, const ct_tensor_sgd_options *options) {
    for (int64_t k = part.begin; k < part.end; k++) {
        chunk c = chunks[k];
        int i = c.parameter;
        void *p = element(params[i], c.start), *g = element(grads[i], c.start);
        void *b = options->momentum != 0 ? element(buffers[i], c.start) : NULL;
        const double *rate = ct_cpu_data(rates[i]);
        if (params[i]->dtype == CT_F32) {
            sgd_f32(p, g, b, c.count, rate, scale, options);
        } else {
            sgd_f64(p, g, b, c.count, rate, scale, options);
        }
    }
}

bool CT_CPU(sgd)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                 ct_tensor *const *rates, int count, ct_tensor_sgd_options options) {
    double scale;
    if (!clip_factor("sgd", &options.clip, &scale)) return false;
    work_list work = list_work(params, grads, count);
    if (!work.chunks) return false;
    CT_IN_PARTS(ct_cpu_threads(UPDATE_COST * work.elements), work.count,
                sgd_chunks(part, work.chunks, params, grads, buffers, rates, scale, &options));
    free(work.chunks);
    return true;
}
