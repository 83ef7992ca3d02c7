/* SPDX-License-Identifier: Apache-2.0 */
/* What a device can do, and what the kernels make of it.
 *
 *     build/benchmarks/kernels [--device cpu|cuda] [--tiny] [--probe] [--samples N]
 *
 * Prints one JSON object: "copy", bytes read and written a second by large copies; "products",
 * FLOP/s of matrix products in each precision (bf16: of operands rounded before), at the model's
 * sizes and a large square; "gru", a GRU over all regions, forward and gradient; "kernels", those
 * that move data, at the published sizes, each as a fraction of the best copy: the bytes that must
 * be moved at least, every operand once, over the time. Operands are taken in turn from as many
 * copies as do not fit a cache. --probe: the device alone, 2 if it is not there. --tiny: small
 * sizes, to see that it runs.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/autograd.h"
#include "benchmarks/measure.h"
#include "benchmarks/kernels.h"
#include "train/run/restart.h"

typedef struct {
    ct_device device;
    bool tiny, probe;
    int samples;
    double least; /* seconds of a sample */
    double best_copy;
    ct_rng rng;
} bench;

/* ---- limits ----------------------------------------------------------------------------- */

typedef struct {
    ct_tensor *to;
    const ct_tensor *from, *more;
} operands;

static bool copy_once(void *context) {
    operands *x = context;
    return ct_tensor_copy_to(x->to, x->from);
}

static json_t *copies(bench *b) {
    json_t *rows = json_array();
    int64_t smallest = b->tiny ? 1 : 64, largest = b->tiny ? 1 : 1024;
    for (int64_t mib = smallest; mib <= largest && ct_ok(); mib *= 4) CT_SCOPE {
            ct_shape shape = CT_SHAPE(mib << 18);
            operands x = {ct_zeros(CT_F32, b->device, shape),
                          ct_random_uniform(&b->rng, "x", CT_F32, b->device, shape), NULL};
            json_t *row = ct_time_calls(copy_once, &x, b->device, b->samples, b->least);
            if (!row) break;
            double bytes = 8.0 * (double)shape.dim[0];
            double rate = bytes / json_real_value(json_object_get(row, "minimum"));
            if (rate > b->best_copy) b->best_copy = rate;
            json_object_set_new(row, "bytes", json_real(bytes));
            json_object_set_new(row, "bytes_per_second", json_real(rate));
            json_array_append_new(rows, row);
        }
    return rows;
}

static bool product_once(void *context) {
    operands *x = context;
    return ct_tensor_matmul_to(x->to, 1, x->from, x->more, 0);
}

static json_t *product(bench *b, const char *precision, const int64_t size[3]) {
    json_t *row = NULL;
    CT_SCOPE {
        operands x = {
            ct_empty(CT_F32, b->device, CT_SHAPE(size[0], size[2])),
            ct_random_normal(&b->rng, "a", CT_F32, b->device, CT_SHAPE(size[0], size[1])),
            ct_random_normal(&b->rng, "b", CT_F32, b->device, CT_SHAPE(size[1], size[2]))};
        x.from = ct_matmul_operand(x.from);
        x.more = ct_matmul_operand(x.more);
        row = ct_time_calls(product_once, &x, b->device, b->samples, b->least);
        if (!row) break;
        double flops = 2.0 * (double)size[0] * (double)size[1] * (double)size[2];
        double median = json_real_value(json_object_get(row, "median"));
        json_object_set_new(row, "precision", json_string(precision));
        json_object_set_new(
            row, "size",
            json_pack("[I, I, I]", (json_int_t)size[0], (json_int_t)size[1], (json_int_t)size[2]));
        json_object_set_new(row, "flops", json_real(flops));
        json_object_set_new(row, "flops_per_second", json_real(flops / median));
    }
    return row;
}

/* Linear layers and GRUs over all regions; a step of a GRU; the policy head; the classifier; the
 * captioner's last layer; and what only a limit is for. */
static json_t *products(bench *b, const char *precision) {
    static const int64_t sizes[][3] = {{4608, 2048, 2048}, {4608, 2048, 6144}, {128, 2048, 6144},
                                       {4608, 4096, 1000}, {128, 512, 29000},  {1792, 256, 8481},
                                       {128, 2048, 10000}, {8192, 8192, 8192}};
    json_t *rows = json_array();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && ct_ok(); i++) {
        int64_t size[3] = {sizes[i][0], sizes[i][1], sizes[i][2]};
        for (int k = 0; k < 3 && b->tiny; k++) size[k] = size[k] / 256 + 1;
        json_t *row = product(b, precision, size);
        if (row) json_array_append_new(rows, row);
    }
    return rows;
}

typedef struct {
    const ct_tensor *x, *g, *w_ih, *w_hh, *b_ih, *b_hh;
} gru_operands;

static bool gru_once(void *context) {
    const gru_operands *o = context;
    bool done = false;
    CT_SCOPE {
        ct_recurrent_inputs in = {
            .x = o->x, .w_ih = o->w_ih, .w_hh = o->w_hh, .b_ih = o->b_ih, .b_hh = o->b_hh};
        ct_recurrent_output_grad g = {.y = o->g};
        ct_recurrent_result y = ct_tensor_gru(in);
        done = y.y && ct_tensor_gru_grad(in, &y, g, true).w_hh;
    }
    return done;
}

/* Over all regions, in a row: a policy's, or the pool's. What cuDNN's takes is measured by
 * benchmarks/pytorch. */
static json_t *gru(bench *b, const char *precision) {
    ct_kernel_sizes s = b->tiny ? ct_kernel_sizes_tiny : ct_kernel_sizes_published;
    json_t *row = NULL;
    CT_SCOPE {
        ct_shape shape = CT_SHAPE(s.batch, s.regions, s.width), bias = CT_SHAPE(3 * s.width);
        ct_shape weight = CT_SHAPE(3 * s.width, s.width);
        gru_operands o = {ct_random_normal(&b->rng, "x", CT_F32, b->device, shape),
                          ct_random_normal(&b->rng, "g", CT_F32, b->device, shape),
                          ct_full(CT_F32, b->device, weight, 1e-3),
                          ct_full(CT_F32, b->device, weight, -1e-3),
                          ct_zeros(CT_F32, b->device, bias),
                          ct_zeros(CT_F32, b->device, bias)};
        row = ct_time_calls(gru_once, &o, b->device, b->samples, b->least);
        if (!row) break;
        double flops = 3 * 12.0 * (double)(s.batch * s.regions) * (double)(s.width * s.width);
        double median = json_real_value(json_object_get(row, "median"));
        json_object_set_new(row, "precision", json_string(precision));
        json_object_set_new(row, "flops_per_second", json_real(flops / median));
    }
    return row;
}

/* What is made of products, in each precision. */
static void measure_products(bench *b, json_t *result) {
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    json_t *rows = json_array(), *grus = json_array();
    for (int p = 0; p < (b->device == CT_CPU ? 1 : 3) && ct_ok(); p++) {
        ct_precision precision;
        ct_precision_from_name(names[p], &precision);
        if (!ct_set_precision(b->device, precision)) break;
        json_t *more = products(b, names[p]), *one = ct_ok() ? gru(b, names[p]) : NULL;
        json_array_extend(rows, more);
        json_decref(more);
        if (one) json_array_append_new(grus, one);
    }
    if (ct_ok()) ct_set_precision(b->device, CT_PRECISION_FP32);
    json_object_set_new(result, "products", rows);
    json_object_set_new(result, "gru", grus);
}

/* ---- kernels ---------------------------------------------------------------------------- */

typedef struct {
    const ct_kernel *kernel;
    ct_kernel_sizes sizes;
    ct_tensor *x[CT_KERNEL_SETS][CT_KERNEL_TENSORS];
    int sets, next;
} kernel_run;

static bool kernel_once(void *context) {
    kernel_run *run = context;
    run->next = (run->next + 1) % run->sets;
    return run->kernel->call(&run->sizes, run->x[run->next]);
}

static double bytes_of(ct_tensor *const *x) {
    double bytes = 0;
    for (int i = 0; i < CT_KERNEL_TENSORS; i++) {
        if (x[i]) bytes += (double)ct_count(x[i]) * (double)ct_dtype_size(x[i]->dtype);
    }
    return bytes;
}

/* As many sets of operands as fill four caches of 64 MB, one of those that are larger. */
static bool make_sets(bench *b, kernel_run *run) {
    const double enough = b->tiny ? 0 : 256e6;
    double bytes = 0;
    run->sets = 0;
    do {
        ct_tensor **x = run->x[run->sets++];
        if (!run->kernel->make(&run->sizes, b->device, &b->rng, x)) return false;
        bytes += bytes_of(x);
    } while (bytes < enough && run->sets < CT_KERNEL_SETS && ct_ok());
    return ct_ok();
}

static json_t *measure_kernel(bench *b, const ct_kernel *kernel, const ct_kernel_sizes *sizes) {
    json_t *row = NULL;
    CT_SCOPE {
        kernel_run run = {.kernel = kernel, .sizes = *sizes};
        if (!make_sets(b, &run)) break;
        row = ct_time_calls(kernel_once, &run, b->device, b->samples, b->least);
        if (!row) break;
        double bytes = kernel->bytes(sizes);
        double rate = bytes / json_real_value(json_object_get(row, "median"));
        json_object_set_new(row, "name", json_string(kernel->name));
        json_object_set_new(row, "bytes", json_real(bytes));
        json_object_set_new(row, "bytes_per_second", json_real(rate));
        json_object_set_new(row, "of_copy", json_real(rate / b->best_copy));
    }
    return row;
}

/* A kernel that fails is a row with its error; the others go on. */
static json_t *kernels(bench *b) {
    json_t *rows = json_array();
    ct_kernel_sizes sizes = b->tiny ? ct_kernel_sizes_tiny : ct_kernel_sizes_published;
    for (int i = 0; i < ct_kernel_count; i++) {
        json_t *row = measure_kernel(b, &ct_kernels[i], &sizes);
        if (!row) {
            row = json_pack("{s:s, s:s}", "name", ct_kernels[i].name, "error",
                            ct_error() ? ct_error() : "failed");
            ct_error_clear();
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- the program ------------------------------------------------------------------------ */

static bool read_arguments(int argc, char **argv, bench *b) {
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"samples", required_argument, NULL, 's'},
                                            {"tiny", no_argument, NULL, 't'},
                                            {"probe", no_argument, NULL, 'p'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't') b->tiny = true;
        else if (option == 'p') b->probe = true;
        else if (option == 's') b->samples = atoi(optarg);
        else if (option == 'd' && strcmp(optarg, "cpu") == 0) b->device = CT_CPU;
        else if (option != 'd' || strcmp(optarg, "cuda") != 0) return false;
    }
    return optind == argc && b->samples >= 1 && b->samples <= CT_MOST_SAMPLES;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    bench b = {.device = CT_CUDA, .samples = 7, .rng = ct_rng_create(1, 0)};
    if (!read_arguments(argc, argv, &b)) {
        fprintf(stderr, "usage: kernels [--device cpu|cuda] [--tiny] [--probe] [--samples N]\n");
        return 2;
    }
    b.least = b.tiny ? 0 : 0.02;
    if (ct_device_open(b.device)) {
        json_t *result = json_pack("{s:s}", "machine", ct_machine_text());
        if (!b.probe) {
            json_object_set_new(result, "copy", copies(&b));
            if (ct_ok()) measure_products(&b, result);
            if (ct_ok()) json_object_set_new(result, "kernels", kernels(&b));
        }
        if (ct_ok()) json_dumpf(result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        json_decref(result);
    }
    if (ct_error()) fprintf(stderr, "kernels: %s\n", ct_error());
    return ct_ok() ? 0 : 2;
}
