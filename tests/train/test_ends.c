/* SPDX-License-Identifier: Apache-2.0 */
/* The ordinary ends of a long job, and who owns a run's folder meanwhile. */
#include "tests/train/job.h"

/* Whatever asks it to stop: the same status, and it goes on where it was. */
START_TEST(every_signal_that_ends_a_job_saves) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        pid_t child = start(folder, "--overwrite --set train.epochs=100000 --set train.schedule="
                                    "constant");
        wait_for(folder, child, "epoch  1");
        ck_assert_int_eq(kill(child, signals[i]), 0);
        ck_assert_msg(end_of(child) == 130, "signal %d", signals[i]);
        assert_printed(folder, "interrupted after step ");
        ck_assert_int_eq(train(folder,
                               "--resume --steps 2 --set train.epochs=100000 "
                               "--set train.schedule=constant",
                               output),
                         0);
        ck_assert_msg(strstr(output, "stopped after step ") != NULL, "%s", output);
    }
    folder_remove(folder);
}
END_TEST

/* The terminal's kernel and its shell both send SIGHUP; the limit of processor time asks every
 * second. */
START_TEST(what_is_asked_again_is_no_second_ctrl_c) {
    char *folder = tiny_experiment();
    pid_t child = start(folder, "--set train.epochs=100000");
    wait_for(folder, child, "epoch  1");
    for (int i = 0; i < 20; i++) kill(child, i % 2 ? SIGHUP : SIGXCPU);
    ck_assert_int_eq(end_of(child), 130);
    folder_remove(folder);
}
END_TEST

/* As nohup starts it. */
START_TEST(a_hangup_that_is_ignored_stays_so) {
    char *folder = tiny_experiment();
    pid_t child = start_with(folder, "--set train.epochs=100000", SIG_IGN);
    wait_for(folder, child, "epoch  1");
    kill(child, SIGHUP);
    wait_for(folder, child, "epoch 30");
    kill(child, SIGTERM);
    ck_assert_int_eq(end_of(child), 130);
    folder_remove(folder);
}
END_TEST

/* Training goes on to the same bits, and says so; commands whose output is the result fail. */
START_TEST(a_reader_that_is_gone_loses_nothing) {
    char *folder = tiny_experiment();
    const char *program = getenv("CT_TRAIN");
    ck_assert_int_eq(train(folder, "", NULL), 0);
    static const char *const sinks[] = {"| true", "> /dev/full", ">&-"};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(shell("rm -rf %s/other; { '%s' %s/tiny.ini --set run.folder=%s/other 2> "
                               "%s/out; echo $? > %s/status; } %s",
                               folder, program, folder, folder, folder, folder, sinks[i]),
                         0);
        ck_assert_int_eq(shell("grep -qx 0 %s/status", folder), 0);
        assert_same_file(in_folder(folder, "run/best.safetensors"),
                         in_folder(folder, "other/best.safetensors"));
        ck_assert_int_eq(access(in_folder(folder, "other/results.json"), R_OK), 0);
        if (i < 2) assert_printed(folder, "train: nothing more can be printed (");
        if (i < 2) assert_printed(folder, "): training goes on");
        static const char *const commands[] = {"--evaluate test", "--dry-run", "--query star",
                                               "--help", "--help-config"};
        for (size_t k = 0; i == 1 && k < sizeof commands / sizeof *commands; k++) {
            ck_assert_int_eq(shell("'%s' %s/tiny.ini %s > /dev/full 2> %s/out", program, folder,
                                   commands[k], folder),
                             2);
            assert_printed(folder, "train: standard output: No space left on device\n");
        }
    }
    folder_remove(folder);
}
END_TEST

/* What leaves its result in a file leaves it, with status 0; what prints it ends as `cat` does. */
START_TEST(so_do_commands_that_write) {
    static const struct {
        const char *options, *file;
    } commands[] = {{"--embed test --out %s/e", "e/cap_embs.npy"},
                    {"--export %s/weights", "weights"},
                    {"--evaluate test --out %s/recalls", "recalls"}};
    char *folder = tiny_experiment(), options[512];
    const char *program = getenv("CT_TRAIN");
    ck_assert_int_eq(train(folder, "", NULL), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(options, sizeof options, commands[i].options, folder);
        ck_assert_int_eq(train(folder, options, NULL), 0);
        const char *file = in_folder(folder, commands[i].file);
        for (int full = 0; full < 2; full++) {
            ck_assert_int_eq(shell("mv %s %s/kept && { '%s' %s/tiny.ini %s 2> %s/out; echo $? > "
                                   "%s/status; } %s",
                                   file, folder, program, folder, options, folder, folder,
                                   full ? "> /dev/full" : "| true"),
                             0);
            ck_assert_int_eq(shell("grep -qx 0 %s/status", folder), 0);
            assert_same_file(file, in_folder(folder, "kept"));
            assert_printed(folder, "): what is asked for is written all the same");
        }
    }
    ck_assert_int_eq(shell("{ '%s' %s/tiny.ini --evaluate test 2> %s/out; echo $? > %s/status; } | "
                           "true",
                           program, folder, folder, folder),
                     0);
    ck_assert_int_eq(shell("grep -qx 141 %s/status && test ! -s %s/out", folder, folder), 0);
    folder_remove(folder);
}
END_TEST

/* One run at a time trains in a folder, but others may look. */
START_TEST(a_folder_has_one_owner) {
    char *folder = tiny_experiment(), owner[64], options[512];
    static char output[OUTPUT_SIZE];
    pid_t child = start(folder, "--set train.epochs=100000");
    wait_for(folder, child, "epoch  1");
    snprintf(owner, sizeof owner, "/run: process %d on ", (int)child);
    REFUSED(folder, "", owner, " is at work there: wait for its end, or take another folder");
    REFUSED(folder, "--overwrite", owner);
    REFUSED(folder, "--resume", owner);
    ck_assert_msg(train(folder, "--evaluate test", output) == 0, "%s", output);
    ck_assert_msg(train(folder, "--query star", output) == 0, "%s", output);
    snprintf(options, sizeof options, "--export %s/weights", folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    ck_assert_msg(train(folder, "--dry-run", output) == 0, "%s", output);
    wait_for(folder, child, "epoch 20"); /* nothing of it was touched */
    kill(child, SIGKILL);
    ck_assert_int_eq(end_of(child), 128 + SIGKILL);
    ck_assert_int_eq(access(in_folder(folder, "run/lock"), F_OK), 0);
    const char *go_on = "--resume --steps 1 --set train.epochs=100000";
    ck_assert_msg(train(folder, go_on, output) == 0, "%s", output);
    ck_assert_int_ne(access(in_folder(folder, "run/lock"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

START_TEST(so_has_a_folder_of_dumped_steps) {
    char *folder = tiny_experiment(), options[512], owner[64];
    snprintf(options, sizeof options, "--set train.epochs=100000 --dump-steps %s/steps", folder);
    pid_t child = start(folder, options);
    wait_for(folder, child, "epoch  1");
    snprintf(owner, sizeof owner, "/steps: process %d on ", (int)child);
    snprintf(options, sizeof options, "--overwrite --set run.folder=%s/other --dump-steps %s/steps",
             folder, folder);
    REFUSED(folder, options, owner);
    ck_assert_int_eq(access(in_folder(folder, "steps/step_000001.safetensors"), F_OK), 0);
    kill(child, SIGTERM);
    ck_assert_int_eq(end_of(child), 130);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("ends", every_signal_that_ends_a_job_saves, what_is_asked_again_is_no_second_ctrl_c,
          a_hangup_that_is_ignored_stays_so, a_reader_that_is_gone_loses_nothing,
          so_do_commands_that_write, a_folder_has_one_owner, so_has_a_folder_of_dumped_steps)
