/* SPDX-License-Identifier: Apache-2.0 */
/* A training step of several ranks: how long it takes, how long it waits for gradients, and what it
 * sends.
 *
 *     mpirun -n 2 build/benchmarks/ranks [--batch 128] [--width 512] [--threads 1] [--steps 10]
 *         [--bucket BYTES] [--wire f64|f32|bf16] [--apart] [--local] ...
 *
 * The model is a compact VSRN (fc, two graph convolutions, a GRU over the regions; words and a GRU;
 * hinge with the hardest negatives) on made-up pairs. --apart: gradients are added up when backward
 * has ended; --local: each rank ranks its own rows alone. Rank 0 prints JSON: medians in seconds,
 * of rank 0; bytes that it sent a step, and as many as docs/scaling.md counts.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/measure.h"
#include "models/models.h"
#include "nn/nn.h"

enum { GRAPHS = 2, VALUE = 64 };

typedef struct {
    int64_t batch, width, regions, features, words, vocabulary, bucket;
    int threads, steps, warm_up;
    ct_dtype wire;
    bool apart, local;
} arguments;

typedef struct {
    arguments a;
    ct_model *model;
    ct_optimizer *optimizer;
    ct_rng rng;
    ct_batch batch; /* of this rank; kept */
    /* of each counted step */
    double whole[CT_MOST_SAMPLES], forward[CT_MOST_SAMPLES], backward[CT_MOST_SAMPLES],
        waiting[CT_MOST_SAMPLES], updating[CT_MOST_SAMPLES];
} bench;

/* ---- the model and its batch ----------------------------------------------------------------- */

static ct_model *create_model(const arguments *a) {
    char fc[VALUE], embed[VALUE];
    snprintf(fc, sizeof fc, "linear width=%lld", (long long)a->width);
    snprintf(embed, sizeof embed, "words width=%lld", (long long)a->width);
    const ct_description_entry entries[] = {
        {"image", "fc", fc, 1},
        {"image", "norm", "l2norm", 2},
        {"image", "gcn", "gcn x 2", 3},
        {"image", "pool", "gru", 4},
        {"image", "bn", "batchnorm", 5},
        {"text", "embed", embed, 6},
        {"text", "pool", "gru", 7},
        {"text", "bn", "batchnorm", 8},
        {"loss", "retrieval", "hinge margin=0.2 negatives=hardest", 9},
    };
    const ct_description description = {"benchmark", entries, sizeof entries / sizeof *entries};
    const ct_model_sizes sizes = {.regions = a->regions,
                                  .features = a->features,
                                  .vocabulary = a->vocabulary,
                                  .images = a->batch};
    return ct_model_create(&description, sizes);
}

/* This rank's rows; captions are as wide as the longest of all, which is `words`. */
static bool make_batch(bench *b) {
    const arguments *a = &b->a;
    int64_t rows = a->batch / ct_ranks();
    ct_rng rng = ct_rng_create(7, (uint64_t)ct_rank());
    CT_SCOPE {
        ct_tensor *words = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(rows, a->words));
        ct_tensor *lengths = ct_empty(CT_I64, CT_CPU, CT_SHAPE(rows));
        if (!words || !lengths) return false;
        int64_t *word = ct_data(words), *length = ct_data(lengths);
        for (int64_t i = 0; i < rows; i++, word += a->words) {
            length[i] = a->words - (int64_t)ct_random_below(&rng, (uint64_t)a->words / 2);
            for (int64_t t = 0; t < length[i]; t++)
                word[t] = 3 + (int64_t)ct_random_below(&rng, (uint64_t)a->vocabulary - 3);
        }
        b->batch =
            (ct_batch){.images = ct_keep(ct_random_normal(&rng, "images", CT_F32, CT_CPU,
                                                          CT_SHAPE(rows, a->regions, a->features))),
                       .words = ct_keep(words),
                       .lengths = ct_keep(lengths)};
    }
    return b->batch.images != NULL;
}

static bool open(bench *b) {
    ct_seed(1); /* the same parameters on all ranks */
    ct_set_threads(b->a.threads);
    b->model = create_model(&b->a);
    if (!b->model || !ct_model_local_loss(b->model, b->a.local) || !make_batch(b)) return false;
    b->optimizer = ct_adam_create(ct_model_module(b->model), NULL);
    if (!b->optimizer) return false;
    ct_optimizer_set_lr(b->optimizer, 2e-4);
    ct_optimizer_clip_norm(b->optimizer, 2);
    return ct_optimizer_wire(b->optimizer, b->a.wire) &&
           (b->a.bucket == 0 || ct_optimizer_bucket(b->optimizer, b->a.bucket));
}

static void close(bench *b) {
    ct_optimizer_destroy(b->optimizer);
    ct_model_destroy(b->model);
    ct_release(b->batch.images);
    ct_release(b->batch.words);
    ct_release(b->batch.lengths);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool step(bench *b, int i) {
    double start = ct_seconds(), forward = 0, backward = 0;
    CT_SCOPE {
        bool done = b->a.apart || ct_optimizer_all_reduce_begin(b->optimizer);
        CT_OVER_RANKS {
            ct_losses losses = ct_model_losses(b->model, &b->batch, 1, &b->rng);
            forward = ct_seconds();
            done = done && ct_ok() && ct_backward(losses.term[CT_LOSS_TOTAL]);
        }
        backward = ct_seconds();
        if (!done || !ct_optimizer_all_reduce(b->optimizer)) return false;
    }
    double waited = ct_seconds();
    if (!ct_optimizer_step(b->optimizer)) return false;
    double end = ct_seconds();
    b->whole[i] = end - start;
    b->forward[i] = forward - start;
    b->backward[i] = backward - forward;
    b->waiting[i] = waited - backward;
    b->updating[i] = end - waited;
    return true;
}

/* ---- what docs/scaling.md counts ------------------------------------------------------------- */

typedef struct {
    int64_t parameters, named;
} counted;

static bool count_parameters(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)name;
    counted *c = context;
    if (buffer) return true;
    c->parameters += ct_count(x);
    c->named++;
    return true;
}

/* Bytes of an all-reduce of `count` numbers of `size` bytes. */
static double bytes_of_sum(int64_t count, double size) {
    double n = ct_ranks();
    return (double)count * size <= 4096 ? (n - 1) * (double)count * size
                                        : 2 * (n - 1) / n * (double)count * size;
}

/* Of a step, that a rank sends. */
static double bytes_counted(const bench *b, counted c) {
    const arguments *a = &b->a;
    double n = ct_ranks(), wire = a->wire == CT_BF16 ? 2 : 4;
    double embeddings = 2 * 2 * (n - 1) * (double)(a->width * a->batch) / n * 4;
    double statistics = (n - 1) * 8 * (double)(2 * a->width + 1);
    double norms = (GRAPHS + 2) * (statistics + bytes_of_sum(2 * a->width, 8));
    double having = bytes_of_sum(c.named, 8);
    return embeddings + norms + having + 2 * (n - 1) / n * (double)c.parameters * wire;
}

/* ---- all ------------------------------------------------------------------------------------- */

static void print(bench *b, double sent) {
    counted c = {0};
    int steps = b->a.steps;
    ct_module_visit(ct_model_module(b->model), count_parameters, &c);
    json_t *result = json_pack(
        "{s:i, s:i, s:I, s:I, s:b, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "ranks",
        ct_ranks(), "threads", b->a.threads, "batch", (json_int_t)b->a.batch, "parameters",
        (json_int_t)c.parameters, "apart", b->a.apart, "wire", ct_dtype_name(b->a.wire), "step",
        ct_median(b->whole, steps), "forward", ct_median(b->forward, steps), "backward",
        ct_median(b->backward, steps), "waiting", ct_median(b->waiting, steps), "updating",
        ct_median(b->updating, steps), "fastest", b->whole[0], "sent", sent, "counted",
        bytes_counted(b, c));
    json_dumpf(result, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(result);
}

static bool run(bench *b) {
    if (!open(b)) return false;
    for (int i = 0; i < b->a.warm_up; i++) {
        if (!step(b, 0)) return false;
    }
    int64_t sent = ct_ranks_sent();
    for (int i = 0; i < b->a.steps; i++) {
        if (!step(b, i)) return false;
    }
    if (ct_rank() == 0) print(b, (double)(ct_ranks_sent() - sent) / b->a.steps);
    return ct_ok();
}

static bool read_wire(const char *text, ct_dtype *wire) {
    static const ct_dtype dtypes[] = {CT_F64, CT_F32, CT_BF16};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, ct_dtype_name(dtypes[i])) != 0) continue;
        *wire = dtypes[i];
        return true;
    }
    return false;
}

static bool read_arguments(int argc, char **argv, arguments *a) {
    int64_t steps = a->steps, warm_up = a->warm_up, threads = a->threads;
    struct {
        const char *name;
        int64_t *value;
    } numbers[] = {{"batch", &a->batch},       {"width", &a->width}, {"regions", &a->regions},
                   {"features", &a->features}, {"words", &a->words}, {"vocabulary", &a->vocabulary},
                   {"bucket", &a->bucket},     {"steps", &steps},    {"warm-up", &warm_up},
                   {"threads", &threads}};
    enum { NUMBERS = sizeof numbers / sizeof *numbers, WIRE = 'w', APART = 'a', LOCAL = 'l' };
    struct option options[NUMBERS + 4] = {{"wire", required_argument, NULL, WIRE},
                                          {"apart", no_argument, NULL, APART},
                                          {"local", no_argument, NULL, LOCAL}};
    for (int i = 0; i < NUMBERS; i++)
        options[3 + i] = (struct option){numbers[i].name, required_argument, NULL, 1000 + i};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == APART) a->apart = true;
        else if (option == LOCAL) a->local = true;
        else if (option == WIRE && !read_wire(optarg, &a->wire)) return false;
        else if (option >= 1000) *numbers[option - 1000].value = atoll(optarg);
        else if (option == '?') return false;
    }
    a->steps = (int)steps;
    a->warm_up = (int)warm_up;
    a->threads = (int)threads;
    return optind == argc && steps >= 1 && steps <= CT_MOST_SAMPLES && threads >= 1 &&
           a->batch > 0 && a->words >= 2 && a->vocabulary > 3;
}

int main(int argc, char **argv) {
    static bench b = {.a = {.batch = 128,
                            .width = 512,
                            .regions = 36,
                            .features = 2048,
                            .words = 20,
                            .vocabulary = 8000,
                            .threads = 1,
                            .steps = 10,
                            .warm_up = 3,
                            .wire = CT_F64}};
    if (!read_arguments(argc, argv, &b.a)) {
        fprintf(stderr, "ranks: [--batch N] [--width N] [--regions N] [--features N] [--words N] "
                        "[--vocabulary N] [--threads N] [--steps N] [--warm-up N] [--bucket BYTES] "
                        "[--wire f64|f32|bf16] [--apart] [--local]\n");
        return 2;
    }
    if (!ct_ranks_start()) {
        fprintf(stderr, "ranks: %s\n", ct_error());
        return 2;
    }
    b.rng = ct_rng_create(1, 0);
    bool done = b.a.batch % ct_ranks() == 0 ? run(&b) : false;
    if (ct_error())
        fprintf(stderr, "ranks: rank %d on %s: %s\n", ct_rank(), ct_rank_host(), ct_error());
    else if (!done) fprintf(stderr, "ranks: --batch is no multiple of %d ranks\n", ct_ranks());
    close(&b);
    ct_ranks_end();
    return done ? 0 : 1;
}
