/* SPDX-License-Identifier: Apache-2.0 */
/* Running the built `train` on a tiny data folder: for the suites train and cli. */
#ifndef CT_TEST_PROGRAM_H
#define CT_TEST_PROGRAM_H

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

enum { TINY_IMAGES = 24, TINY_REGIONS = 4, TINY_FEATURES = 6, OUTPUT_SIZE = 1 << 16 };

/* A folder of its own for one test, removed by the test's folder_remove. */
static inline char *folder_make(void) {
    char *path = strdup("/tmp/cotangent-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static inline void folder_remove(char *path) {
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
    free(path);
}

static __attribute__((noinline, unused)) const char *in_folder(const char *folder,
                                                               const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* One split: image i shows colour i%4 and shape i/4%3; its two captions (three for every fifth
 * image) name both, so that a model can learn them. */
static inline void write_split(const char *folder, const char *split, int images, uint64_t seed) {
    static const char *const colours[] = {"red", "green", "blue", "white"};
    static const char *const shapes[] = {"square", "circle", "star"};
    char name[64];
    CT_SCOPE {
        ct_rng rng = ct_rng_create(seed, 0);
        ct_tensor *x = ct_random_normal(&rng, "features", CT_F32, CT_CPU,
                                        CT_SHAPE(images, TINY_REGIONS, TINY_FEATURES));
        snprintf(name, sizeof name, "%s_caps.txt", split);
        FILE *captions = fopen(in_folder(folder, name), "w");
        snprintf(name, sizeof name, "%s_ids.txt", split);
        FILE *ids = fopen(in_folder(folder, name), "w");
        ck_assert(x && captions && ids);
        float *value = ct_data(x);
        for (int i = 0; i < images; i++) {
            for (int r = 0; r < TINY_REGIONS; r++) {
                float *region = value + (i * TINY_REGIONS + r) * TINY_FEATURES;
                for (int k = 0; k < TINY_FEATURES; k++) region[k] *= 0.1f;
                if (i % 4 < 3) region[i % 4] += 1;
                region[3 + i / 4 % 3] += 1;
            }
            fprintf(captions, "a %s %s\n%s %s\n", colours[i % 4], shapes[i / 4 % 3],
                    shapes[i / 4 % 3], colours[i % 4]);
            fprintf(ids, "%d\n%d\n", i, i);
            if (i % 5) continue;
            fprintf(captions, "the %s is %s\n", shapes[i / 4 % 3], colours[i % 4]);
            fprintf(ids, "%d\n", i);
        }
        fclose(captions);
        fclose(ids);
        snprintf(name, sizeof name, "%s_ims.npy", split);
        ck_assert(ct_npy_save(in_folder(folder, name), x));
    }
    assert_no_error();
}

static const char tiny_model[] = "[image]\n"
                                 "fc = linear width=12\n"
                                 "gcn = gcn x 2\n"
                                 "norm = l2norm\n"
                                 "attend = policy_attention heads=2 actions=10\n"
                                 "pool = mean + gru\n"
                                 "bn = batchnorm momentum=0.1\n"
                                 "[text]\n"
                                 "embed = words width=8\n"
                                 "attend = policy_attention heads=2 actions=10\n"
                                 "pool = gru width=12\n"
                                 "bn = batchnorm momentum=0.1\n"
                                 "[loss]\n"
                                 "retrieval = hinge margin=0.2 negatives=hardest sum_epochs=1\n"
                                 "discrete_policy = 1\n"
                                 "continuous_policy = 1\n";

/* data/, tiny.ini (run folder: run/, on the device that is tested) in a new folder. */
static inline char *tiny_experiment(void) {
    char *folder = folder_make(), text[4096];
    ck_assert_int_eq(mkdir(in_folder(folder, "data"), 0777), 0);
    write_split(in_folder(folder, "data"), "train", TINY_IMAGES, 1);
    write_split(in_folder(folder, "data"), "dev", 12, 2);
    write_split(in_folder(folder, "data"), "test", 12, 3);
    snprintf(text, sizeof text,
             "[data]\nfolder = %s/data\nmin_count = 1\n"
             "[run]\nfolder = %s/run\nseed = 3\nthreads = 1\n%s"
             "[train]\nepochs = 3\nbatch = 8\nlr = 0.01\nschedule = cosine\nvalidate_every = 0\n%s",
             folder, folder, test_device() == CT_CPU ? "" : "device = cuda\n", tiny_model);
    write_text(in_folder(folder, "tiny.ini"), text);
    return folder;
}

/* Runs a command of the shell; what it prints into `output` if not NULL; returns the exit status,
 * or 128 + the signal that ended it. */
static inline int run_command(const char *command, char output[OUTPUT_SIZE]) {
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    static char ignored[OUTPUT_SIZE];
    char *text = output ? output : ignored;
    size_t used = 0, got;
    while ((got = fread(text + used, 1, OUTPUT_SIZE - 1 - used, pipe)) > 0) used += got;
    text[used] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs `train ARGUMENTS` (CT_TRAIN names the program), stdout and stderr together; as run_command.
 */
static inline int run_train(const char *arguments, char output[OUTPUT_SIZE]) {
    const char *program = getenv("CT_TRAIN");
    ck_assert_ptr_nonnull(program);
    char command[8192];
    snprintf(command, sizeof command, "'%s' %s 2>&1", program, arguments);
    return run_command(command, output);
}

static inline void assert_said(const char *output, const char *text) {
    ck_assert_msg(strstr(output, text) != NULL, "'%s' not in\n%s", text, output);
}

static inline void assert_unsaid(const char *output, const char *text) {
    ck_assert_msg(strstr(output, text) == NULL, "'%s' in\n%s", text, output);
}

/* Runs with `options`; expects status 2 and one line on stderr with every one of the texts. */
static inline void expect_refusal(const char *folder, const char *options,
                                  const char *const *texts) {
    char arguments[2048];
    static char output[OUTPUT_SIZE];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, output);
    ck_assert_msg(status == 2, "%s: status %d, output:\n%s", options, status, output);
    const char *message = strstr(output, "train: ");
    ck_assert_msg(message != NULL, "no message in\n%s", output);
    const char *end = strchr(message, '\n');
    ck_assert_msg(end && end[1] == '\0', "more than one line of message:\n%s", output);
    for (; *texts; texts++) {
        ck_assert_msg(strstr(message, *texts) != NULL, "'%s' not in: %s", *texts, message);
    }
}

#define REFUSED(folder, options, ...) \
    expect_refusal(folder, options, (const char *const[]){__VA_ARGS__, NULL})

static inline void assert_same_file(const char *a, const char *b) {
    size_t size_a = 0, size_b = 0;
    char *text_a = ct_file_read(a, &size_a), *text_b = ct_file_read(b, &size_b);
    assert_no_error();
    ck_assert_msg(size_a == size_b && memcmp(text_a, text_b, size_a) == 0, "%s and %s differ", a,
                  b);
    free(text_a);
    free(text_b);
}

#endif
