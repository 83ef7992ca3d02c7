/* SPDX-License-Identifier: Apache-2.0 */
/* How long the ranking of a split takes, and how much memory.
 *
 *     build/benchmarks/evaluate [IMAGES [CAPTIONS_EACH [WIDTH [FOLDER]]]]
 *
 * Random embeddings, normalised; a caption's is its image's and noise. Default: the size of COCO's
 * test split, 5000 images of 5 captions, width 1024. Prints the median of five evaluations against
 * the matrix product alone, measured in the same run, and their memory beyond the embeddings.
 * With a FOLDER the embeddings are left there for benchmarks/evaluate_numpy.py.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/profile.h"
#include "train/evaluate/evaluate.h"
#include "train/run/restart.h"

enum { TIMES = 5 };

static double median(double *seconds) {
    for (int i = 0; i < TIMES; i++) {
        for (int k = i + 1; k < TIMES; k++) {
            double a = seconds[i], b = seconds[k];
            if (b < a) seconds[i] = b, seconds[k] = a;
        }
    }
    return seconds[TIMES / 2];
}

/* "VmRSS:" memory that is resident now, or "VmHWM:" the most since begin_peak. */
static double resident_megabytes(const char *what) {
    char line[256];
    double kilobytes = NAN;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, what, strlen(what)) == 0) kilobytes = atof(line + strlen(what));
    }
    if (status) fclose(status);
    return 1024e-6 * kilobytes;
}

static void begin_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

/* The noise is so large that the ranks spread. */
static ct_embeddings make_embeddings(int64_t images, int64_t each, int64_t width,
                                     int64_t *image_of) {
    ct_rng rng = ct_rng_create(1, 0);
    int64_t captions = images * each;
    for (int64_t c = 0; c < captions; c++) image_of[c] = c / each;
    ct_tensor *kept[2] = {0};
    CT_SCOPE {
        ct_tensor *index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(captions), image_of);
        ct_tensor *x = ct_random_normal(&rng, "images", CT_F32, CT_CPU, CT_SHAPE(images, width));
        ct_tensor *y =
            ct_random_normal(&rng, "captions", CT_F32, CT_CPU, CT_SHAPE(captions, width));
        y = ct_tensor_add(ct_tensor_index_select(x, 0, index), ct_tensor_scale(y, 8));
        kept[0] = ct_keep(ct_l2_normalize(x, -1));
        kept[1] = ct_keep(ct_l2_normalize(y, -1));
    }
    return (ct_embeddings){ct_adopt(kept[0]), ct_adopt(kept[1]), CT_COSINE};
}

/* The products of an evaluation of this size, without what comes after: in blocks of images. */
static double time_products(const ct_embeddings *model) {
    int64_t images = ct_dim(model->images, 0), block = 320;
    double start = ct_profile_clock();
    for (int64_t i = 0; i < images; i += block) CT_SCOPE {
            ct_tensor *rows = ct_tensor_slice(model->images, 0, i, i + block, 1);
            ct_tensor_matmul(rows, ct_tensor_transpose(model->captions, 0, 1));
        }
    return ct_profile_clock() - start;
}

static int run(int64_t images, int64_t each, int64_t width, const char *folder) {
    int64_t *image_of = malloc((size_t)(images * each) * sizeof *image_of);
    if (!image_of) return 1;
    CT_SCOPE {
        ct_embeddings model = make_embeddings(images, each, width, image_of);
        ct_retrieval metrics = {0};
        double seconds[TIMES], products[TIMES], before = resident_megabytes("VmRSS:");
        begin_peak();
        for (int i = 0; i < TIMES && ct_ok(); i++) {
            double start = ct_profile_clock();
            ct_evaluate(&model, 1, image_of, (ct_evaluation){0}, &metrics);
            seconds[i] = ct_profile_clock() - start;
        }
        double after = resident_megabytes("VmHWM:");
        for (int i = 0; i < TIMES; i++) products[i] = time_products(&model);
        printf("%s\n%lld images, %lld captions, width %lld\n", ct_machine_text(), (long long)images,
               (long long)(images * each), (long long)width);
        printf("evaluation %.3f s, its products alone %.3f s, %.0f MB beyond the embeddings\n",
               median(seconds), median(products), after - before);
        const ct_recalls *a = &metrics.i2t, *b = &metrics.t2i;
        printf("i2t %.2f %.2f %.2f  t2i %.2f %.2f %.2f\n", a->r1, a->r5, a->r10, b->r1, b->r5,
               b->r10);
        char path[4096];
        snprintf(path, sizeof path, "%s/img_embs.npy", folder ? folder : "");
        if (folder) ct_npy_save(path, model.images);
        snprintf(path, sizeof path, "%s/cap_embs.npy", folder ? folder : "");
        if (folder) ct_npy_save(path, model.captions);
    }
    free(image_of);
    if (ct_error()) fprintf(stderr, "evaluate: %s\n", ct_error());
    return ct_ok() ? 0 : 1;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    int64_t size[3] = {5000, 5, 1024};
    for (int i = 0; i < 3 && i + 1 < argc; i++) size[i] = atoll(argv[i + 1]);
    if (size[0] < 1 || size[1] < 1 || size[2] < 1) {
        fprintf(stderr, "usage: evaluate [IMAGES [CAPTIONS_EACH [WIDTH [FOLDER]]]]\n");
        return 2;
    }
    return run(size[0], size[1], size[2], argc > 4 ? argv[4] : NULL);
}
