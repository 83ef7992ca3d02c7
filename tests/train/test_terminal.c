/* SPDX-License-Identifier: Apache-2.0 */
/* What training prints, on a terminal and elsewhere. */
#include "tests/train/job.h"
#include "tests/train/on_terminal.h"

/* The first line of progress, between the carriage return and the sequence that clears the rest. */
static void first_progress(const char *output, char line[512]) {
    const char *end = strstr(output, "left\033[K");
    ck_assert_msg(end != NULL, "no progress in\n%s", output);
    end += 4;
    const char *begin = end;
    while (begin > output && begin[-1] != '\r') begin--;
    snprintf(line, 512, "%.*s", (int)(end - begin), begin);
}

START_TEST(progress_is_drawn_in_its_place) {
    char *folder = tiny_experiment(), line[512];
    const char *output = on_terminal(folder, 240, "xterm", NULL, "");
    first_progress(output, line);
    static const char *const parts[] = {
        "epoch 1/3  [", "/6  loss ",  "  retrieval ", "  discrete_image ",
        "  reward ",    " pairs/s  ", " MB  "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_said(line, parts[i]);
    assert_said(output, "\r\033[Kepoch  1/3  step "); /* it makes room for a line that stays */
    assert_said(output, "\033[32m  best\033[0m");
    assert_said(output, "results.json\r\n");
    folder_remove(folder);
}
END_TEST

/* Never wider than the terminal, or it could not be drawn over. */
START_TEST(it_fits_its_terminal) {
    char *folder = tiny_experiment(), line[512];
    static const int columns[] = {200, 100, 80, 60, 40, 20, 5};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const char *output = on_terminal(folder, columns[i], "xterm", "1", "--set train.epochs=1");
        int drawn = 0;
        for (const char *at = output; (at = strstr(at, "\033[K")); at += 3) {
            const char *begin = at;
            while (begin > output && begin[-1] != '\r') begin--;
            ck_assert_msg(at - begin < columns[i], "%d columns: %.*s", columns[i],
                          (int)(at - begin), begin);
            drawn += at > begin;
            if (drawn > 1) continue;
            if (columns[i] >= 60 && at > begin) {
                snprintf(line, sizeof line, "%.*s", (int)(at - begin), begin);
                assert_said(line, "epoch 1/1  ");
                assert_said(line, "loss ");
                assert_said(line, " left");
            }
        }
        ck_assert_int_gt(drawn, 0);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(colours_and_drawing_can_be_unwanted) {
    char *folder = tiny_experiment(), line[512];
    const char *output = on_terminal(folder, 100, "xterm", "1", "");
    first_progress(output, line);
    assert_unsaid(output, "\033[32m");
    assert_unsaid(output, "\033[0m");
    assert_said(on_terminal(folder, 100, "xterm", "", ""), "\033[32m  best"); /* empty is not set */
    output = on_terminal(folder, 100, "dumb", NULL, "");
    assert_unsaid(output, "\033");
    assert_said(output, "epoch  3/3  step ");
    assert_unsaid(output, "\repoch");
    folder_remove(folder);
}
END_TEST

START_TEST(plain_lines_elsewhere) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    setenv("TERM", "xterm", 1);
    ck_assert_int_eq(train(folder, "", output), 0);
    assert_said(output, "\nepoch  1/3  step ");
    assert_said(output, "  best  (");
    assert_unsaid(output, "\033");
    assert_unsaid(output, "\r");
    ck_assert_int_eq(train(folder, "--overwrite --set train.epoch=3", output), 2);
    ck_assert_msg(strncmp(output, "train: ", 7) == 0, "%s", output);
    folder_remove(folder);
}
END_TEST

/* The table, and nothing that is said on the way; on a terminal neither. */
START_TEST(quiet_is_the_result_alone) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--quiet", output), 0);
    for (int terminal = 0; terminal < 2; terminal++) {
        const char *text = terminal ? on_terminal(folder, 100, "xterm", NULL, "--quiet") : output;
        while (*text == '\r' || *text == '\n') text++;
        ck_assert_msg(strncmp(text, "best model: epoch ", 18) == 0, "%s", text);
        assert_said(text, "test ");
        assert_said(text, "/run/results.json");
        assert_unsaid(text, "\033");
        assert_unsaid(text, "epoch  ");
    }
    ck_assert_int_eq(train(folder, "--quiet", output), 2); /* errors are said */
    assert_said(output, "already holds a run");
    ck_assert_int_eq(train(folder, "--quiet --verbose", output), 2);
    assert_said(output, "--quiet and --verbose: one of them");
    ck_assert_int_eq(train(folder, "--evaluate test --quiet", output), 2);
    assert_said(output, "--quiet is for training, --sweep, not for --evaluate");
    ck_assert_int_eq(train(folder, "--quiet --sweep run.seed=1..2", output), 0);
    assert_said(output, "\ntest ");
    assert_unsaid(output, "2 runs in");
    assert_unsaid(output, "1/2");
    folder_remove(folder);
}
END_TEST

/* Every line of the log, every file, and where a step's time goes; the bits are the same. */
START_TEST(verbose_says_more) {
    char *folder = tiny_experiment(), name[128];
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--set train.log_every=2", NULL), 0);
    ck_assert_int_eq(shell("cp %s/run/best.safetensors %s/plain", folder, folder), 0);
    ck_assert_int_eq(train(folder, "--overwrite --verbose --set train.log_every=2", output), 0);
    for (int step = 2; step <= 18; step += 2) {
        snprintf(name, sizeof name, "\nstep %d  lr ", step);
        assert_said(output, name);
    }
    static const char *const said[] = {
        "  retrieval ",
        "  discrete_image ",
        "  continuous_text ",
        "  reward ",
        "  gradient ",
        "\nwrote ",
        "run/last.safetensors, ",
        "run/best.safetensors, ",
        "\na step's time by operation, in ms: calls, forward, backward\n",
        "\n  gru "};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) assert_said(output, said[i]);
    assert_same_file(in_folder(folder, "run/best.safetensors"), in_folder(folder, "plain"));
    folder_remove(folder);
}
END_TEST

/* A line of progress for the whole. */
START_TEST(a_sweep_says_how_far_it_is) {
    char *folder = tiny_experiment();
    const char *output = on_terminal(folder, 100, "xterm", NULL, "--sweep run.seed=1..2");
    assert_said(output, "\r0/2 done  [....................]  at work: seed=1\033[K");
    assert_said(output, "\r\033[K1/2  seed=1  test rsum ");
    assert_said(output, "\r1/2 done  [##########..........]  at work: seed=2  ");
    folder_remove(folder);
}
END_TEST

TEST_MAIN("terminal", progress_is_drawn_in_its_place, it_fits_its_terminal,
          colours_and_drawing_can_be_unwanted, plain_lines_elsewhere, quiet_is_the_result_alone,
          verbose_says_more, a_sweep_says_how_far_it_is)
