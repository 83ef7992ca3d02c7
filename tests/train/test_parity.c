/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded training steps replayed by the program, from outside: what `train --dump-steps` and
 * `--embed recorded` write meets what the published code recorded, at the tolerances of
 * tests/golden/README.md. */
#include "tests/train/program.h"

typedef struct {
    const char *name; /* tests/golden/NAME.ini, NAME.safetensors */
    ct_dtype dtype;
    int steps;
    ct_safetensors *recorded;
    char *folder; /* run/, steps/, embeddings */
} parity;

static const char *golden_path(const parity *p, const char *extension) {
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s.%s", getenv("CT_TEST_DATA"), p->name,
             extension);
    return path;
}

/* From the root of the sources, as docs/parity.md says. */
static parity parity_open(const char *name, ct_dtype dtype, int steps) {
    ck_assert_int_eq(chdir(getenv("CT_TEST_DATA")), 0);
    parity p = {name, dtype, steps, NULL, folder_make()};
    p.recorded = ct_safetensors_open(golden_path(&p, "safetensors"));
    assert_no_error();
    return p;
}

static void parity_close(parity *p) {
    ct_safetensors_close(p->recorded);
    folder_remove(p->folder);
}

static void run(const parity *p, const char *options) {
    static char arguments[2048], output[OUTPUT_SIZE];
    snprintf(
        arguments, sizeof arguments,
        "tests/golden/%s.ini --set run.folder=%s/run --set run.dtype=%s --set run.device=%s %s",
        p->name, p->folder, ct_dtype_name(p->dtype), ct_device_name(test_device()), options);
    ck_assert_msg(run_train(arguments, output) == 0, "%s: %s", arguments, output);
}

/* ---- tolerances -------------------------------------------------------------------------- */

static bool has_part(const char *name, const char *part) { return strstr(name, part) != NULL; }

/* In the recorded tensor's shape: of 1x1 convolutions it has a third dimension. */
static void check_within(const ct_tensor *x, const ct_tensor *expected, double relative,
                         double absolute, const char *name) {
    assert_close(ct_tensor_reshape(x, expected->shape), expected, relative, absolute, name);
}

static void check_plain(const parity *p, const ct_tensor *x, const ct_tensor *expected,
                        const char *name) {
    bool exact = p->dtype == CT_F64;
    check_within(x, expected, exact ? 1e-9 : 1e-4, exact ? 1e-12 : 1e-5, name);
}

static ct_tensor *recorded(const parity *p, int step, const char *kind, const char *name) {
    char full[256];
    if (p->steps > 1 && step) snprintf(full, sizeof full, "step%d.%s%s", step, kind, name);
    else snprintf(full, sizeof full, "%s%s", kind, name);
    return ct_safetensors_has(p->recorded, full) ? ct_safetensors_get(p->recorded, full) : NULL;
}

/* Adam divides by |g|: in f32 an element whose clipped gradient was ever below 1e-5 can be off by
 * the learning rate a step. */
static bool update_is_noise(const parity *p, int step, const char *name, int64_t element) {
    for (int s = 1; s <= step; s++) {
        const ct_tensor *gradient = recorded(p, s, "grad.param.", name);
        double clip = fmin(1, 2.0 / (ct_item(recorded(p, s, "out.", "total_grad_norm")) + 1e-6));
        if (fabs(ct_get(gradient, element)) * clip <= 1e-5) return true;
    }
    return false;
}

static void check_parameter(const parity *p, int step, const ct_tensor *x, const char *name) {
    const ct_tensor *start = recorded(p, 0, "param.", name);
    const ct_tensor *expected = recorded(p, step, "param_after.", name);
    if (!expected) { /* not in the optimiser, or without a gradient */
        const ct_tensor *as_run = ct_tensor_cast(ct_tensor_cast(start, p->dtype), CT_F64);
        check_within(x, as_run, 0, 0, name);
    } else if (p->dtype == CT_F64) {
        double factor = has_part(name, ".W.0.bias") ? 10 : 1;
        check_within(x, expected, factor * 1e-9, factor * 1e-12, name);
    } else {
        for (int64_t i = 0; i < ct_count(expected); i++) {
            double value = ct_get(x, i), right = ct_get(expected, i);
            if (update_is_noise(p, step, name, i))
                ck_assert_double_le(fabs(value - ct_get(start, i)), 1.01 * 2e-4 * step + 1e-7);
            else
                ck_assert_msg(fabs(value - right) <= 1e-6, "%s element %lld: %.9g, not %.9g", name,
                              (long long)i, value, right);
        }
    }
}

static void check_gradient(const parity *p, const ct_tensor *x, const ct_tensor *expected,
                           const char *name) {
    /* a bias before a batch norm: its gradient is 0, both sides hold rounding noise */
    if (has_part(name, ".W.0.bias"))
        check_within(x, expected, 0, p->dtype == CT_F64 ? 1e-12 : 1e-4, name);
    else check_plain(p, x, expected, name);
}

static void check_norm(const parity *p, int step, const ct_tensor *x, const char *name) {
    ct_tensor *gradient = recorded(p, step, "grad.param.", name);
    ck_assert_msg(gradient != NULL, "no recorded gradient of %s", name);
    check_gradient(p, x, ct_tensor_global_norm(&gradient, 1), name);
}

/* ---- a step ------------------------------------------------------------------------------ */

/* Compares one dumped tensor; false if the recorded step does not have it. */
static bool check_one(const parity *p, int step, const ct_tensor *x, const char *name) {
    static const char parameter[] = "param_after.", norm[] = "grad_norm.";
    if (strncmp(name, parameter, sizeof parameter - 1) == 0) {
        check_parameter(p, step, x, name + sizeof parameter - 1);
        return true;
    }
    if (strncmp(name, norm, sizeof norm - 1) == 0) {
        check_norm(p, step, x, name + sizeof norm - 1);
        return true;
    }
    const ct_tensor *expected = recorded(p, step, "", name);
    if (!expected) return false;
    if (p->dtype == CT_F32 && step > 1 && has_part(name, "W.1.running_mean"))
        check_within(x, expected, 0, 1e-4, name); /* it averages the bias before it */
    else if (has_part(name, "grad.param.")) check_gradient(p, x, expected, name);
    else check_plain(p, x, expected, name);
    return true;
}

/* Of what a recorded step holds, all that a dump must hold too. */
static bool dumped(const char *name) {
    static const char *const kinds[] = {"loss.", "grad.param.", "param_after.", "buffer_after."};
    static const char *const names[] = {"out.img_emb", "out.cap_emb", "out.advantage", "out.loss",
                                        "out.total_grad_norm"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(name, kinds[i], strlen(kinds[i])) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static int count_recorded(const parity *p, int step, ct_safetensors *dump) {
    char prefix[16] = "";
    int count = 0;
    if (p->steps > 1) snprintf(prefix, sizeof prefix, "step%d.", step);
    for (int i = 0; i < ct_safetensors_count(p->recorded); i++) {
        const char *name = ct_safetensors_name(p->recorded, i);
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        name += strlen(prefix);
        if (!dumped(name)) continue;
        ck_assert_msg(ct_safetensors_has(dump, name), "%s step %d: '%s' is not dumped", p->name,
                      step, name);
        count++;
    }
    return count;
}

static void check_step(const parity *p, int step, int expected) {
    char file[64];
    snprintf(file, sizeof file, "steps/step_%06d.safetensors", step);
    ct_safetensors *dump = ct_safetensors_open(in_folder(p->folder, file));
    assert_no_error();
    CT_SCOPE {
        ck_assert_int_eq(count_recorded(p, step, dump), expected);
        int unknown = 0;
        for (int i = 0; i < ct_safetensors_count(dump); i++) {
            const char *name = ct_safetensors_name(dump, i);
            unknown += !check_one(p, step, ct_safetensors_get(dump, name), name);
        }
        /* VSRN's file has no loss.*: total, retrieval; the policy model's no out.loss */
        ck_assert_int_eq(unknown, p->steps > 1 ? 2 : 1);
        ck_assert_int_eq(atoi(ct_safetensors_metadata(dump, "step")), step);
        ck_assert_double_eq(atof(ct_safetensors_metadata(dump, "lr")), 2e-4);
        ck_assert_ptr_nonnull(strstr(ct_safetensors_metadata(dump, "config"), "[recorded]"));
        assert_no_error();
    }
    ct_safetensors_close(dump);
}

static void train_steps(const char *name, ct_dtype dtype, int steps, int expected) {
    parity p = parity_open(name, dtype, steps);
    char options[1024];
    snprintf(options, sizeof options,
             "--init tests/golden/%s.safetensors --steps %d --dump-steps %s/steps", name, steps,
             p.folder);
    run(&p, options);
    for (int step = 1; step <= steps; step++) check_step(&p, step, expected);
    parity_close(&p);
}

/* 12 losses, 4 of out., 98 gradients, 74 parameters after, 18 buffers */
enum { DCPG = 12 + 4 + 98 + 74 + 18, VSRN_F30K = 4 + 53 + 53 + 15, VSRN_COCO = 4 + 51 + 51 + 12 };

START_TEST(policy_steps) {
    train_steps("dcpg_step_f30k", CT_F64, 1, DCPG);
    train_steps("dcpg_step_coco", CT_F64, 1, DCPG);
}
END_TEST

START_TEST(policy_steps_f32) {
    train_steps("dcpg_step_f30k", CT_F32, 1, DCPG);
    train_steps("dcpg_step_coco", CT_F32, 1, DCPG);
}
END_TEST

START_TEST(vsrn_steps) {
    train_steps("vsrn_step_f30k", CT_F64, 3, VSRN_F30K);
    train_steps("vsrn_step_coco", CT_F64, 3, VSRN_COCO);
}
END_TEST

START_TEST(vsrn_steps_f32) {
    train_steps("vsrn_step_f30k", CT_F32, 3, VSRN_F30K);
    train_steps("vsrn_step_coco", CT_F32, 3, VSRN_COCO);
}
END_TEST

/* ---- evaluation -------------------------------------------------------------------------- */

static void check_embeddings(const parity *p, const char *what, double absolute) {
    CT_SCOPE {
        char kind[32];
        snprintf(kind, sizeof kind, "%s.out.", what);
        ct_tensor *images = ct_npy_open(in_folder(p->folder, "img_embs.npy"));
        ct_tensor *captions = ct_npy_open(in_folder(p->folder, "cap_embs.npy"));
        assert_no_error();
        ck_assert_int_eq(images->dtype, p->dtype);
        ck_assert_int_eq(captions->dtype, p->dtype);
        if (absolute > 0) {
            check_within(images, recorded(p, 0, kind, "img_emb"), 0, absolute, what);
            check_within(captions, recorded(p, 0, kind, "cap_emb"), 0, absolute, what);
        } else {
            check_plain(p, images, recorded(p, 0, kind, "img_emb"), what);
            check_plain(p, captions, recorded(p, 0, kind, "cap_emb"), what);
        }
    }
}

static void embed(const char *name, ct_dtype dtype, const char *what, const char *more) {
    parity p = parity_open(name, dtype, 1);
    char options[1024];
    snprintf(options, sizeof options,
             "--embed recorded --weights tests/golden/%s.safetensors --out %s %s", name, p.folder,
             more);
    run(&p, options);
    check_embeddings(&p, what, 0);
    parity_close(&p);
}

START_TEST(embeddings) {
    for (int i = 0; i < 2; i++) {
        ct_dtype dtype = i ? CT_F32 : CT_F64;
        embed("dcpg_step_f30k", dtype, "eval", "");
        embed("dcpg_step_coco", dtype, "eval", "");
        embed("vsrn_step_f30k", dtype, "eval", "");
        embed("vsrn_step_coco", dtype, "eval", "");
        embed("vsrn_step_coco", dtype, "eval_use_abs", "--set image.abs=abs --set text.abs=abs");
        embed("vsrn_step_f30k", dtype, "eval_no_imgnorm", "--set image.norm3=");
    }
}
END_TEST

/* A file with the inputs of step 3 alone. */
static void save_third_batch(const parity *p, const char *path) {
    static const char *const names[] = {"in.images", "in.lengths", "in.captions"};
    ct_named_tensor tensors[3];
    CT_SCOPE {
        for (int i = 0; i < 3; i++)
            tensors[i] = (ct_named_tensor){names[i], recorded(p, 3, "", names[i])};
        const char *const metadata[] = {"V", ct_safetensors_metadata(p->recorded, "V"), NULL};
        ct_safetensors_save(path, tensors, 3, metadata);
        assert_no_error();
    }
}

/* Recorded batches come without a dev split: the last model is the one that is kept. */
static void embed_after_training(ct_dtype dtype) {
    parity p = parity_open("vsrn_step_f30k", dtype, 3);
    run(&p, "--init tests/golden/vsrn_step_f30k.safetensors --steps 3");
    save_third_batch(&p, in_folder(p.folder, "third.safetensors"));
    char options[1024];
    snprintf(options, sizeof options,
             "--embed recorded --out %s --set recorded.file=%s/third.safetensors", p.folder,
             p.folder);
    run(&p, options);
    check_embeddings(&p, "eval_after", dtype == CT_F32 ? 5e-3 : 0);
    parity_close(&p);
}

START_TEST(embeddings_after_training) {
    embed_after_training(CT_F64);
    embed_after_training(CT_F32);
}
END_TEST

TEST_MAIN("parity", policy_steps, policy_steps_f32, vsrn_steps, vsrn_steps_f32, embeddings,
          embeddings_after_training)
