/* Whole runs of `train` on the device cuda: the same weights as on the CPU but for rounding, the
 * same bits again, and the other commands. */
#include "program.h"

static void train_on(const char *folder, const char *device, const char *options) {
    static char output[OUTPUT_SIZE];
    char arguments[2048];
    snprintf(arguments, sizeof arguments,
             "%s/tiny.ini --set run.folder=%s/%s --set run.device=%s --set run.dtype=f64 %s",
             folder, folder, device, device, options);
    ck_assert_msg(run_train(arguments, output) == 0, "%s", output);
}

static void assert_same_weights(const char *path, const char *other) {
    CT_SCOPE {
        ct_safetensors *a = ct_safetensors_open(path), *b = ct_safetensors_open(other);
        assert_no_error();
        ck_assert_int_eq(ct_safetensors_count(a), ct_safetensors_count(b));
        ck_assert_int_gt(ct_safetensors_count(a), 20);
        for (int i = 0; i < ct_safetensors_count(a); i++) {
            const char *name = ct_safetensors_name(a, i);
            assert_close(ct_safetensors_get(a, name), ct_safetensors_get(b, name), 1e-7, 1e-9,
                         name);
        }
        ct_safetensors_close(a);
        ct_safetensors_close(b);
    }
}

START_TEST(trains_as_the_cpu) {
    char *folder = tiny_experiment();
    train_on(folder, "cpu", "");
    train_on(folder, "cuda", "");
    assert_same_weights(in_folder(folder, "cuda/last.safetensors"),
                        in_folder(folder, "cpu/last.safetensors"));
    folder_remove(folder);
}
END_TEST

START_TEST(resumes_to_the_same_bits) {
    char *folder = tiny_experiment();
    train_on(folder, "cuda", "");
    ck_assert_int_eq(rename(in_folder(folder, "cuda"), in_folder(folder, "whole")), 0);
    train_on(folder, "cuda", "--steps 4");
    train_on(folder, "cuda", "--resume");
    assert_same_file(in_folder(folder, "cuda/best.safetensors"),
                     in_folder(folder, "whole/best.safetensors"));
    folder_remove(folder);
}
END_TEST

START_TEST(embeds_evaluates_and_answers) {
    char *folder = tiny_experiment(), options[512];
    train_on(folder, "cpu", "");
    char weights[256];
    snprintf(weights, sizeof weights, "--weights %s/cpu/best.safetensors", folder);
    static const char *const devices[] = {"cpu", "cuda"};
    for (int i = 0; i < 2; i++) {
        snprintf(options, sizeof options, "--embed test --out %s/e_%s %s", folder, devices[i],
                 weights);
        train_on(folder, devices[i], options);
        snprintf(options, sizeof options, "--evaluate test %s", weights);
        train_on(folder, devices[i], options);
        snprintf(options, sizeof options, "--query 'a red square' %s", weights);
        train_on(folder, devices[i], options);
        train_on(folder, devices[i], "--dry-run");
    }
    CT_SCOPE {
        assert_close(ct_npy_open(in_folder(folder, "e_cuda/cap_embs.npy")),
                     ct_npy_open(in_folder(folder, "e_cpu/cap_embs.npy")), 1e-10, 0, "captions");
        assert_close(ct_npy_open(in_folder(folder, "e_cuda/img_embs.npy")),
                     ct_npy_open(in_folder(folder, "e_cpu/img_embs.npy")), 1e-10, 0, "images");
    }
    folder_remove(folder);
}
END_TEST

TEST_MAIN("cuda train", trains_as_the_cpu, resumes_to_the_same_bits, embeds_evaluates_and_answers)
