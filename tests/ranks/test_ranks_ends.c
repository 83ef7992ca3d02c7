/* SPDX-License-Identifier: Apache-2.0 */
/* How a training of several ranks ends before its end: by signals, a rank that dies or fails, and
 * how it goes on. */
#include "tests/ranks/ranks_program.h"

/* Starts a training without end on two ranks, does `act` (a command of the shell; $job is mpirun,
 * $rank one of the ranks) when it has saved something, and waits for its end. As run_command; 124:
 * it did not end. */
static int disturbed(const char *folder, const char *act, char output[OUTPUT_SIZE]) {
    char command[8192];
    snprintf(command, sizeof command,
             "cd '%s'; '%s' 2 '%s' %s >out 2>&1 & job=$!; "
             "until [ -e run/last.safetensors ]; do sleep 0.1; kill -0 $job || exit 125; done; "
             "rank=$(pgrep -P $job -n); %s; status=124; "
             "for i in $(seq 900); do kill -0 $job 2>/dev/null || break; sleep 0.1; done; "
             "if kill -0 $job 2>/dev/null; then kill -9 $job $rank; else wait $job; status=$?; fi; "
             "cat out; exit $status",
             folder, getenv("CT_RANKS_RUN"), getenv("CT_TRAIN"),
             in_doubles(folder, "run", "--set train.epochs=1000000"), act);
    return run_command(command, output);
}

static void goes_on(int ranks, const char *folder) {
    trains(ranks, in_doubles(folder, "run", "--set train.epochs=1000000 --resume --steps 2"));
}

/* What was said last, of a length that Check can report. */
static const char *end_of(const char *output) {
    enum { MOST = 2000 };
    size_t length = strlen(output);
    return length > MOST ? output + length - MOST : output;
}

static void said_once(const char *output, const char *text) {
    const char *said = strstr(output, text);
    ck_assert_msg(said != NULL, "'%s' not in\n...%s", text, end_of(output));
    ck_assert_msg(!strstr(said + 1, text), "'%s' twice in\n...%s", text, end_of(output));
}

/* mpirun that was told to end hands on no more of what ranks say, and its status is its own. */
START_TEST(a_signal_to_one_rank_or_mpirun_saves_and_ends_all) {
    static const char *const acts[] = {"kill -TERM $rank", "kill -INT $rank", "kill -USR1 $job",
                                       "kill -TERM $job"};
    static char output[OUTPUT_SIZE];
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char *folder = tiny_experiment();
        /* from mpirun's SIGTERM to its SIGKILL; it waits as long for what ended by itself */
        if (i == 3) setenv("OMPI_MCA_odls_base_sigkill_timeout", "5", 1);
        int status = disturbed(folder, acts[i], output);
        unsetenv("OMPI_MCA_odls_base_sigkill_timeout");
        ck_assert_msg(status != 124, "%s: no end:\n...%s", acts[i], end_of(output));
        if (i < 3) {
            said_once(output, "interrupted after step ");
            assert_said(output, "run/last.safetensors (go on with --resume)");
            ck_assert_msg(status == 130, "%s: status %d:\n...%s", acts[i], status, end_of(output));
        }
        goes_on(i % 2 ? 4 : 1, folder);
        folder_remove(folder);
    }
}
END_TEST

START_TEST(a_rank_that_dies_ends_all) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment();
    int status = disturbed(folder, "kill -KILL $rank", output);
    ck_assert_msg(status != 0 && status != 124, "status %d:\n...%s", status, end_of(output));
    assert_said(output, "exited on signal 9 (Killed)"); /* mpirun's sentence */
    goes_on(1, folder);
    goes_on(4, folder);
    folder_remove(folder);
}
END_TEST

/* The captions' first image has a feature that is no number, which one rank finds: the steps before
 * are saved, and it is that rank that says so. */
START_TEST(what_one_rank_cannot_read_ends_all_in_order) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment(), command[1024];
    snprintf(command, sizeof command,
             "cp '%s/data/train_ims.npy' '%s/good' && "
             "printf '\\377\\377\\377\\177' | "
             "dd of='%s/data/train_ims.npy' bs=1 seek=128 conv=notrunc status=none",
             folder, folder, folder);
    ck_assert_int_eq(system(command), 0);
    int status = run_ranks(2, in_doubles(folder, "run", "--set train.batch=4"), output);
    ck_assert_msg(status == 2, "status %d:\n...%s", status, end_of(output));
    said_once(output, "train: rank ");
    assert_said(output, "train_ims.npy: image 0, region 0, feature 0 is nan");
    said_once(output, "saved ");
    snprintf(command, sizeof command, "cp '%s/good' '%s/data/train_ims.npy'", folder, folder);
    ck_assert_int_eq(system(command), 0);
    trains(4, in_doubles(folder, "run", "--set train.batch=4 --resume"));
    folder_remove(folder);
}
END_TEST

START_TEST(what_leaves_the_finite_numbers_is_said_once) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment(), arguments[1024];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini --set train.lr=1e6", folder);
    int status = run_ranks(2, arguments, output);
    ck_assert_msg(status == 2, "status %d:\n...%s", status, end_of(output));
    said_once(output, "train: rank ");
    assert_said(output, "is not finite; computed again: ");
    folder_remove(folder);
}
END_TEST

START_TEST(a_checkpoint_that_cannot_be_written_ends_all) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment(), path[512];
    trains(2, in_doubles(folder, "run", "--steps 2"));
    /* the checkpoint cannot be put in its place where a folder is there */
    snprintf(path, sizeof path, "%s/run/best.safetensors", folder);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    int status = run_ranks(2, in_doubles(folder, "run", "--resume"), output);
    ck_assert_msg(status == 2, "status %d:\n...%s", status, end_of(output));
    said_once(output, "train: rank 0 on ");
    ck_assert_int_eq(rmdir(path), 0);
    trains(1, in_doubles(folder, "run", "--resume"));
    folder_remove(folder);
}
END_TEST

int main(void) {
    if (!can_run_ranks()) return 77;
    const TTest *tests[] = {a_signal_to_one_rank_or_mpirun_saves_and_ends_all,
                            a_rank_that_dies_ends_all, what_one_rank_cannot_read_ends_all_in_order,
                            what_leaves_the_finite_numbers_is_said_once,
                            a_checkpoint_that_cannot_be_written_ends_all};
    return ct_run_suite("ranks ends", tests, sizeof tests / sizeof *tests);
}
