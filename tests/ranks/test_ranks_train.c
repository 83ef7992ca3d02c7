/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs of `train` on several ranks, which are to be those of one. */
#include "tests/ranks/ranks_program.h"

/* Whether a tensor of two runs' best weights has the same bits. */
static bool has_tensor_of(const char *folder, const char *a, const char *b, const char *name) {
    bool same = true;
    CT_SCOPE {
        ct_safetensors *one =
            ct_safetensors_open(in_folder(in_folder(folder, a), "best.safetensors"));
        ct_safetensors *two =
            ct_safetensors_open(in_folder(in_folder(folder, b), "best.safetensors"));
        ct_tensor *x = ct_safetensors_get(one, name), *y = ct_safetensors_get(two, name);
        assert_no_error();
        for (int64_t i = 0; same && i < ct_count(x); i++) same = ct_get(x, i) == ct_get(y, i);
        ct_safetensors_close(one);
        ct_safetensors_close(two);
    }
    return same;
}

/* A number of the last line of metrics.jsonl that has it. */
static double logged(const char *folder, const char *run, const char *key) {
    size_t size;
    char *text = ct_file_read(in_folder(in_folder(folder, run), "metrics.jsonl"), &size),
         wanted[64];
    ck_assert_ptr_nonnull(text);
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++)
        found = at + strlen(wanted);
    ck_assert_msg(found != NULL, "no %s in %s", wanted, text);
    double value = strtod(found, NULL);
    free(text);
    return value;
}

/* 1e-9: 18 steps of some hundred roundings each, of which later ones make more; of what is logged 9
 * digits are written. */
START_TEST(any_number_of_ranks_trains_the_same_model) {
    static const char *const keys[] = {"loss",          "retrieval",       "discrete_image",
                                       "discrete_text", "continuous_text", "grad_norm",
                                       "reward",        "score",           "rsum"};
    static const char *const names[] = {"two", "four"};
    char *folder = tiny_experiment();
    trains(1, in_doubles(folder, "one", ""));
    for (int i = 0; i < 2; i++) {
        trains(2 + 2 * i, in_doubles(folder, names[i], ""));
        same_state(folder, names[i], "one", 1e-9);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            double one = logged(folder, "one", keys[k]), many = logged(folder, names[i], keys[k]);
            ck_assert_msg(fabs(one - many) <= 1e-8 * fabs(one), "%s: %.17g, expected %.17g",
                          keys[k], many, one);
        }
        ck_assert(access(in_folder(in_folder(folder, names[i]), "results.json"), R_OK) == 0);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(as_many_ranks_give_the_same_bits) {
    char *folder = tiny_experiment();
    trains(2, in_doubles(folder, "a", ""));
    trains(2, in_doubles(folder, "b", "--steps 5"));
    trains(2, in_doubles(folder, "b", "--resume"));
    same_state(folder, "b", "a", 0);
    folder_remove(folder);
}
END_TEST

/* Of each rank's own rows the same but for rounding; through f32 nearly: 18 steps of a gradient
 * that is off by 2^-23; through bf16, off by 2^-7, the same losses to a few percent, and other
 * weights. */
START_TEST(ranks_rank_their_own_rows_and_send_shorter_numbers) {
    char *folder = tiny_experiment();
    trains(1, in_doubles(folder, "one", ""));
    trains(2, in_doubles(folder, "local", "--set run.local_loss=yes"));
    same_state(folder, "local", "one", 1e-9);
    trains(2, in_doubles(folder, "f32", "--set run.gradient_wire=f32"));
    same_state(folder, "f32", "one", 1e-5);
    trains(2, in_doubles(folder, "bf16", "--set run.gradient_wire=bf16"));
    trains(2, in_doubles(folder, "two", ""));
    ck_assert(!has_tensor_of(folder, "f32", "two", "image.fc.weight"));
    ck_assert(!has_tensor_of(folder, "bf16", "f32", "image.fc.weight"));
    double one = logged(folder, "one", "loss");
    ck_assert_double_le(fabs(logged(folder, "bf16", "loss") - one), 0.05 * fabs(one));
    folder_remove(folder);
}
END_TEST

START_TEST(a_run_goes_on_with_another_number_of_ranks) {
    char *folder = tiny_experiment();
    trains(1, in_doubles(folder, "one", ""));
    trains(2, in_doubles(folder, "run", "--steps 5"));
    trains(4, in_doubles(folder, "run", "--resume --steps 6"));
    trains(1, in_doubles(folder, "run", "--resume"));
    same_state(folder, "run", "one", 1e-9);
    folder_remove(folder);
}
END_TEST

/* Embeddings and recalls of a split of several parts (embed.c: 128 at once) are those of one. */
START_TEST(ranks_share_evaluation) {
    char *folder = tiny_experiment(), more[1024];
    write_split(in_folder(folder, "data"), "many", 700, 4);
    trains(2, in_doubles(folder, "run", ""));
    for (int ranks = 1; ranks <= 3; ranks++) {
        snprintf(more, sizeof more, "--embed many --out %s/%d", folder, ranks);
        trains(ranks, in_doubles(folder, "run", more));
        snprintf(more, sizeof more, "--evaluate many --bootstrap 10 --out %s/%d/all.json", folder,
                 ranks);
        trains(ranks, in_doubles(folder, "run", more));
    }
    static const char *const files[] = {"img_embs.npy", "cap_embs.npy"};
    CT_SCOPE {
        for (int i = 0; i < 4; i++) {
            const char *one = in_folder(in_folder(folder, "1"), files[i % 2]);
            const char *several = in_folder(in_folder(folder, i / 2 ? "3" : "2"), files[i % 2]);
            assert_close(ct_npy_open(several), ct_npy_open(one), 0, 0, files[i % 2]);
        }
    }
    const char *one = in_folder(in_folder(folder, "1"), "all.json");
    assert_same_file(in_folder(in_folder(folder, "2"), "all.json"), one);
    assert_same_file(in_folder(in_folder(folder, "3"), "all.json"), one);
    folder_remove(folder);
}
END_TEST

/* ---- what is said ------------------------------------------------------------------------- */

START_TEST(rank_0_alone_prints) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    ck_assert_int_eq(run_ranks(2, in_doubles(folder, "run", ""), output), 0);
    const char *said = strstr(output, "2 ranks: 4 pairs of a batch and 1 thread each");
    ck_assert_msg(said && !strstr(said + 1, "2 ranks:"), "%s", output);
    const char *table = strstr(output, "best model: epoch");
    ck_assert_msg(table && !strstr(table + 1, "best model: epoch"), "%s", output);
    assert_unsaid(output, "\r\033"); /* a rank's terminal is mpirun's */
    folder_remove(folder);
}
END_TEST

/* Status 2 and one sentence of rank 0's. */
static void refused(int ranks, const char *arguments, const char *expected) {
    static char output[OUTPUT_SIZE];
    int status = run_ranks(ranks, arguments, output);
    ck_assert_msg(status == 2, "status %d:\n%s", status, output);
    const char *said = strstr(output, "train: rank 0 on ");
    ck_assert_msg(said && strstr(said, expected), "'%s' is not in\n%s", expected, output);
    ck_assert_msg(!strstr(said + 1, "train: rank"), "said twice:\n%s", output);
}

START_TEST(what_ranks_cannot_do_is_one_sentence) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    refused(3, in_doubles(folder, "run", ""),
            "[train] batch = 8 cannot be shared by 3 ranks in equal parts");
    refused(2, in_doubles(folder, "run", "--set loss.nothing=1"),
            "--set loss.nothing: unknown key");
    refused(2, in_doubles(folder, "run", "--dump-steps /tmp"), "--dump-steps");
    refused(2, in_doubles(folder, "run", "--set recorded.file=x"), "recorded batches");
    const char *const alone[] = {
        "--dry-run", "--sweep run.seed=1,2", "--serve", "--query red", "--index x", "--report"};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        refused(2, in_doubles(folder, "run", alone[i]), "start it without mpirun");
    }
    ck_assert_int_eq(run_ranks(2, "--bogus", output), 2);
    ck_assert_int_eq(run_ranks(2, "--help", output), 0);
    const char *help = strstr(output, "Usage:");
    ck_assert_msg(help && !strstr(help + 1, "Usage:"), "%s", output);
    trains(2, in_doubles(folder, "run", "--steps 2"));
    refused(2, in_doubles(folder, "run", ""), "--resume");
    folder_remove(folder);
}
END_TEST

/* As where srun is not told of PMI, or mpirun is another MPI's: each process would take itself for
 * the only one, and all of them the same folder. */
START_TEST(processes_that_do_not_know_each_other_are_refused) {
    static const char *const counts[] = {"SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE",
                                         "PMI_SIZE"};
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        setenv(counts[i], "2", 1);
        int status = run_train(in_doubles(folder, "run", ""), output);
        ck_assert_msg(status == 2, "%s: status %d:\n%s", counts[i], status, output);
        assert_said(output, counts[i]);
        ck_assert(strchr(output, '\n') == output + strlen(output) - 1);
        ck_assert(access(in_folder(folder, "run"), F_OK) != 0);
        setenv(counts[i], "1", 1);
        ck_assert_int_eq(run_train("--version", output), 0);
        unsetenv(counts[i]);
    }
    folder_remove(folder);
}
END_TEST

/* Rank 0 trains in a folder, rank 1 another program, in another folder and with more arguments, as
 * mpirun can start them: -n 1 A : -n 1 B. Rank 1 is named, once. */
static void disagree(const char *folder, const char *program, const char *elsewhere,
                     const char *more, const char *expected) {
    static char output[OUTPUT_SIZE];
    char command[8192];
    const char *run = in_doubles(folder, "run", "--set data.folder=data");
    int used = snprintf(command, sizeof command, "cd '%s' && '%s' 1 '%s' %s : -wdir '%s' -n 1 ",
                        folder, getenv("CT_RANKS_RUN"), getenv("CT_TRAIN"), run, elsewhere);
    snprintf(command + used, sizeof command - (size_t)used, "'%s' %s %s 2>&1", program, run, more);
    int status = run_mpirun(command, output);
    ck_assert_msg(status == 2, "%s: status %d:\n%s", expected, status, output);
    const char *said = strstr(output, "rank 1 on ");
    ck_assert_msg(said && strstr(said, expected), "'%s' is not in\n%s", expected, output);
    ck_assert_msg(!strstr(said + 1, "rank 1 on "), "said twice:\n%s", output);
    ck_assert(access(in_folder(in_folder(folder, "run"), "metrics.jsonl"), F_OK) != 0);
}

/* A copy of the program that is a byte longer, and of the data, of which a feature is another. */
static void make_others(const char *folder) {
    char command[2048];
    snprintf(command, sizeof command,
             "cd '%s' && cp '%s' train && echo >>train && mkdir other && cp -r data other && "
             "printf x | dd of=other/data/train_ims.npy bs=1 seek=200 conv=notrunc status=none",
             folder, getenv("CT_TRAIN"));
    ck_assert_int_eq(system(command), 0);
}

START_TEST(ranks_that_disagree_are_named) {
    char *folder = tiny_experiment();
    const char *train = getenv("CT_TRAIN"), *other = in_folder(folder, "train");
    make_others(folder);
    disagree(folder, other, folder, "", "has another program than rank 0 on ");
    disagree(folder, train, folder, "--set run.seed=4",
             "has another configuration than rank 0 on ");
    disagree(folder, train, folder, "--steps 3", "has another configuration than rank 0 on ");
    disagree(folder, train, in_folder(folder, "other"), "", "has other data than rank 0 on ");
    disagree(folder, train, folder, "--set train.nothing=1", "unknown key 'nothing'");
    disagree(folder, train, "/", "", "data/train_ims.npy");
    folder_remove(folder);
}
END_TEST

int main(void) {
    if (!can_run_ranks()) return 77;
    const TTest *tests[] = {any_number_of_ranks_trains_the_same_model,
                            as_many_ranks_give_the_same_bits,
                            ranks_rank_their_own_rows_and_send_shorter_numbers,
                            a_run_goes_on_with_another_number_of_ranks,
                            ranks_share_evaluation,
                            rank_0_alone_prints,
                            what_ranks_cannot_do_is_one_sentence,
                            processes_that_do_not_know_each_other_are_refused,
                            ranks_that_disagree_are_named};
    return ct_run_suite("ranks train", tests, sizeof tests / sizeof *tests);
}
