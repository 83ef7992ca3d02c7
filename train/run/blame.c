/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/blame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a sample ---------------------------------------------------------------------------- */

static ct_tensor *one_of(ct_tensor *x, int64_t i) {
    return x ? ct_tensor_slice(x, 0, i, i + 1, 1) : NULL;
}

/* Sample i of a batch, in the innermost scope. */
static ct_batch sample_of(const ct_batch *batch, int64_t i) {
    return (ct_batch){.images = one_of(batch->images, i),
                      .words = one_of(batch->words, i),
                      .vectors = one_of(batch->vectors, i),
                      .lengths = one_of(batch->lengths, i)};
}

/* ---- training ---------------------------------------------------------------------------- */

static void name_image(const ct_experiment *e, const ct_batch *batch, int64_t i, char *text,
                       size_t size) {
    if (ct_experiment_is_recorded(e) || !batch->classes) {
        snprintf(text, size, "%s: image %lld of the batch", e->config->recorded_file, (long long)i);
        return;
    }
    int64_t row = (int64_t)ct_get(batch->classes, i) - ct_model_first_class(e->model);
    ct_images_name(e->train->images, row, text, size);
}

static void name_caption(const ct_experiment *e, const ct_batch *batch, int64_t i, char *text,
                         size_t size) {
    size_t used = (size_t)snprintf(text, size, "caption %lld of the batch", (long long)i);
    if (!e->vocabulary || !batch->words) return;
    int64_t words = ct_dim(batch->words, 1);
    for (int64_t t = 1; t < words && used + 1 < size; t++) {
        int64_t id = (int64_t)ct_get(batch->words, i * words + t);
        if (id == CT_WORD_END || id == CT_WORD_PAD) break;
        used += (size_t)snprintf(text + used, size - used, "%s%s", t > 1 ? " " : ", ",
                                 ct_vocabulary_word(e->vocabulary, id));
    }
}

/* "PATH: image 7 ...": the first sample that is not finite by itself. */
static bool find(const ct_experiment *e, const ct_batch *batch, char *text, size_t size) {
    bool found = false;
    for (int64_t i = 0; i < ct_dim(batch->images, 0) && !found && ct_ok(); i++) {
        CT_SCOPE {
            ct_batch sample = sample_of(batch, i);
            for (int captions = 0; captions < 2 && !found && ct_ok(); captions++) {
                char name[512], why[512];
                found = ct_model_explain(e->model, &sample, captions, why, sizeof why);
                if (!found) continue;
                if (captions) name_caption(e, batch, i, name, sizeof name);
                else name_image(e, batch, i, name, sizeof name);
                snprintf(text, size, "%s: %s", name, why);
            }
        }
    }
    return found && ct_ok();
}

/* Where no sample is not finite by itself, a batch norm's statistics may be what left the range:
 * the image with the largest feature, if that is one to say so of. */
static bool find_largest(const ct_experiment *e, const ct_batch *batch, char *text, size_t size) {
    enum { LARGE = 1000000 };
    double most = LARGE;
    int64_t image = -1;
    CT_SCOPE {
        ct_tensor *sizes = ct_tensor_unary(CT_UNARY_abs, batch->images, 0, 0);
        sizes = sizes ? ct_tensor_reduce(CT_MAX, sizes, 1u << 1 | 1u << 2, false) : NULL;
        for (int64_t i = 0; sizes && i < ct_count(sizes); i++) {
            if (ct_get(sizes, i) <= most) continue;
            most = ct_get(sizes, i);
            image = i;
        }
    }
    if (image < 0 || !ct_ok()) return false;
    char name[512];
    name_image(e, batch, image, name, sizeof name);
    snprintf(text, size,
             "%s: its largest feature is %.3g, squares and products of which may be no "
             "finite numbers in %s",
             name, most, ct_dtype_name(e->config->dtype));
    return true;
}

/* The step's losses as they were: with the noise and the numbers that were drawn. */
static ct_losses losses_again(const ct_experiment *e, const ct_batch *batch,
                              const ct_progress *before) {
    ct_rng rng = before->rng;
    if (!ct_recorded_replay(e->recorded, before->step, &rng)) return (ct_losses){0};
    return ct_model_losses(e->model, batch, before->epoch, &rng);
}

/* The first term of the loss that is not finite; NULL: none is, or they cannot be computed. */
static const char *first_term(const ct_experiment *e, const ct_batch *batch,
                              const ct_progress *before) {
    const char *name = NULL;
    CT_SCOPE {
        ct_losses losses = losses_again(e, batch, before);
        for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT && ct_ok() && !name; i++) {
            bool is_finite = !losses.term[i] || !ct_tensor_has_nonfinite(losses.term[i]);
            if (!is_finite) name = ct_loss_name((ct_loss_term)i);
        }
    }
    return name;
}

/* "the retrieval loss is not finite; anomaly: at [image] fc (linear): output 0 of 'linear' has
 * ...";
 * "" if anomaly mode finds nothing. */
static void compute_again(const ct_experiment *e, const ct_batch *batch, const ct_progress *before,
                          char *text, size_t size) {
    const char *term = first_term(e, batch, before);
    ct_error_clear();
    ct_set_anomaly_mode(true);
    CT_SCOPE {
        ct_losses losses = losses_again(e, batch, before);
        if (ct_ok()) ct_backward(losses.term[CT_LOSS_TOTAL]);
    }
    ct_set_anomaly_mode(false);
    const char *found = ct_error() ? strstr(ct_error(), "anomaly: ") : NULL;
    *text = '\0';
    if (found && term) snprintf(text, size, "the %s loss is not finite; %s", term, ct_error());
    else if (found) snprintf(text, size, "%s", ct_error());
    ct_error_clear();
}

bool ct_blame_step(const ct_experiment *e, const ct_batch *batch, const ct_progress *before) {
    char *error = ct_error() ? strdup(ct_error()) : NULL, text[1024 + 64];
    if (!error) return false;
    ct_error_clear();
    bool found = find(e, batch, text, sizeof text) || find_largest(e, batch, text, sizeof text);
    ct_error_clear();
    if (found) {
        ct_fail("%s; %s", text, error);
    } else {
        compute_again(e, batch, before, text, sizeof text);
        ct_fail("%s%s%s", error, *text ? "; computed again: " : "", text);
        found = *text != '\0';
    }
    free(error);
    return found;
}

/* ---- embeddings -------------------------------------------------------------------------- */

bool ct_blame_embeddings(const ct_experiment *e, const ct_tensor *embeddings, const ct_batch *batch,
                         bool captions, ct_sample_name *name, const void *context) {
    if (!embeddings || !ct_tensor_has_nonfinite(embeddings)) return embeddings != NULL;
    int64_t i = 0, count = ct_dim(embeddings, 0);
    char text[1024], why[512];
    bool found = false;
    CT_SCOPE {
        while (i < count && !ct_tensor_has_nonfinite(one_of((ct_tensor *)embeddings, i))) i++;
        ct_batch sample = sample_of(batch, i);
        found = ct_model_explain(e->model, &sample, captions, why, sizeof why);
    }
    name(context, i, text, sizeof text);
    if (found) return ct_fail_bool("%s: %s", text, why);
    return ct_fail_bool(
        "%s: its embedding is not finite: the weights are not, or it is of its batch", text);
}
