/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs of `train` on several ranks, each with a device of its own, which are to be those of
 * one process on the CPU. */
#include "tests/ranks/ranks_program.h"

static const char *on_device(const char *folder, const char *run, const char *more) {
    static char text[1024];
    snprintf(text, sizeof text, "--set run.device=cuda %s", more);
    return in_doubles(folder, run, text);
}

/* Of 1e-9 as test_ranks_train. Steps are recorded from the second of their kind on. */
START_TEST(ranks_with_devices_train_the_model_of_one_process) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    trains(1, in_doubles(folder, "one", ""));
    ck_assert_int_eq(run_ranks(2, on_device(folder, "two", "--set run.graphs=yes"), output), 0);
    ck_assert_msg(strstr(output, "steps repeated a recorded one") != NULL, "%s", output);
    same_state(folder, "two", "one", 1e-9);
    trains(2, on_device(folder, "local", "--set run.local_loss=yes --set run.graphs=no"));
    same_state(folder, "local", "one", 1e-9);
    folder_remove(folder);
}
END_TEST

START_TEST(a_run_goes_on_with_devices_and_without) {
    char *folder = tiny_experiment();
    trains(1, in_doubles(folder, "one", ""));
    trains(2, on_device(folder, "run", "--steps 5"));
    trains(1, in_doubles(folder, "run", "--resume --steps 6"));
    trains(2, on_device(folder, "run", "--resume"));
    same_state(folder, "run", "one", 1e-9);
    folder_remove(folder);
}
END_TEST

START_TEST(ranks_with_devices_evaluate_alike) {
    char *folder = tiny_experiment(), more[512];
    trains(1, in_doubles(folder, "run", ""));
    for (int ranks = 1; ranks <= 2; ranks++) {
        snprintf(more, sizeof more, "--evaluate test --out %s/%d.json", folder, ranks);
        trains(ranks, on_device(folder, "run", more));
    }
    assert_same_file(in_folder(folder, "2.json"), in_folder(folder, "1.json"));
    folder_remove(folder);
}
END_TEST

/* Gradients travel between devices as they are. */
START_TEST(a_shorter_wire_is_refused) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    int status = run_ranks(2, on_device(folder, "run", "--set run.gradient_wire=bf16"), output);
    ck_assert_msg(status == 2 && strstr(output, "gradient_wire"), "status %d:\n%s", status, output);
    folder_remove(folder);
}
END_TEST

int main(void) {
    if (!can_run_ranks()) return 77;
    const TTest *tests[] = {ranks_with_devices_train_the_model_of_one_process,
                            a_run_goes_on_with_devices_and_without,
                            ranks_with_devices_evaluate_alike, a_shorter_wire_is_refused};
    return ct_run_suite("ranks train cuda", tests, sizeof tests / sizeof *tests);
}
