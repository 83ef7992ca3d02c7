/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs on a folder of pictures. */
#include <dirent.h>
#include <fcntl.h>
#include <png.h>
#include <sys/file.h>

#include "models/backbones.h"
#include "tests/train/job.h"
#include "tests/train/on_terminal.h"

enum { SIDE = 32 };

/* Colour i % 4, shape i / 4 % 3, some noise of its own, so that no two are the same. */
static void write_picture(const char *path, int i, int seed) {
    static const uint8_t colours[4][3] = {
        {220, 30, 30}, {30, 200, 40}, {40, 60, 230}, {90, 90, 90}};
    uint8_t rgb[SIDE * SIDE * 3];
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int dx = x - SIDE / 2, dy = y - SIDE / 2, shape = i / 4 % 3;
            bool inside = shape == 0   ? abs(dx) < 10 && abs(dy) < 10
                          : shape == 1 ? dx * dx + dy * dy < 100
                                       : abs(dx) + abs(dy) < 6 || abs(dx) < 2;
            for (int c = 0; c < 3; c++) {
                int noise = (i * 131 + seed * 17 + x * 7 + y * 13 + c * 29) % 11;
                rgb[(y * SIDE + x) * 3 + c] = (uint8_t)((inside ? colours[i % 4][c] : 240) + noise);
            }
        }
    }
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_RGB};
    ck_assert(png_image_write_to_file(&image, path, 0, rgb, 0, NULL));
}

/* data/{split}_pictures.txt and the pictures of a tiny experiment's split. */
static void write_pictures(const char *folder, const char *split, int count, int seed) {
    char list[64], name[64];
    snprintf(list, sizeof list, "data/%s_pictures.txt", split);
    FILE *file = fopen(in_folder(folder, list), "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "data/pictures/%s %d.png", split, i);
        write_picture(in_folder(folder, name), i, seed);
        fprintf(file, "pictures/%s %d.png\n", split, i);
    }
    fclose(file);
}

/* A tiny experiment whose images are pictures, and which has no features at all. */
static char *experiment(const char *image) {
    char *folder = tiny_experiment(), command[256], text[4096];
    ck_assert_int_eq(mkdir(in_folder(folder, "data/pictures"), 0777), 0);
    write_pictures(folder, "train", TINY_IMAGES, 1);
    write_pictures(folder, "dev", 12, 2);
    write_pictures(folder, "test", 12, 3);
    snprintf(command, sizeof command, "rm %s/data/*_ims.npy", folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(text, sizeof text,
             "[data]\nfolder = %s/data\nmin_count = 1\n"
             "[run]\nfolder = %s/run\nseed = 3\nthreads = 1\n"
             "[train]\nepochs = 4\nbatch = 8\nlr = 0.01\nschedule = cosine\nvalidate_every = 0\n"
             "[image]\n%s"
             "pool = mean\nbn = batchnorm\n"
             "[text]\nembed = words width=8\npool = gru width=12\nbn = batchnorm\n"
             "[loss]\nretrieval = hinge negatives=sum\n",
             folder, folder, image);
    write_text(in_folder(folder, "tiny.ini"), text);
    return folder;
}

static const char small_network[] = "pixels = pictures size=16 fit=stretch\n"
                                    "conv1 = conv2d width=8 stride=2\n"
                                    "act1 = relu\n"
                                    "pool1 = maxpool2d\n"
                                    "spread = regions\n"
                                    "fc = linear width=12\n";

static const char *output_of(const char *folder, const char *options) {
    char arguments[2048];
    static char output[OUTPUT_SIZE];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    ck_assert_msg(run_train(arguments, output) == 0, "%s: %s", options, output);
    return output;
}

/* ---- trained from scratch ---------------------------------------------------------------- */

START_TEST(trains_from_pictures_alone) {
    char *folder = experiment(small_network);
    assert_said(output_of(folder, "--dry-run"), "24 images of 16 x 16 pixels");
    output_of(folder, "");
    assert_said(output_of(folder, "--evaluate test"), "test");
    /* what is asked for is among the first: a model that learned nothing names one by chance */
    const char *output = output_of(folder, "--query 'a red square' --split test --top 1");
    assert_said(output, "/data/pictures/test ");
    folder_remove(folder);
}
END_TEST

/* By the seed: the same for the same. */
START_TEST(changes_are_drawn_in_training) {
    char *folder = experiment(small_network), options[512];
    for (int run = 0; run < 3; run++) {
        snprintf(options, sizeof options, "--set run.folder=%s/%d --set train.epochs=2 %s", folder,
                 run,
                 run < 2 ? "--set data.augment_crop=0.5 --set data.augment_flip=yes "
                           "--set data.augment_jitter=0.3"
                         : "");
        output_of(folder, options);
    }
    assert_same_file(in_folder(folder, "0/best.safetensors"),
                     in_folder(folder, "1/best.safetensors"));
    size_t size[2];
    char *a = ct_file_read(in_folder(folder, "0/best.safetensors"), &size[0]);
    char *b = ct_file_read(in_folder(folder, "2/best.safetensors"), &size[1]);
    ck_assert(size[0] == size[1] && memcmp(a, b, size[0]) != 0);
    free(a);
    free(b);
    folder_remove(folder);
}
END_TEST

START_TEST(an_interrupted_run_goes_on_to_the_same_bits) {
    char *folder = experiment(small_network), options[512];
    const char *changed = "--set data.augment_crop=0.5 --set data.augment_flip=yes";
    snprintf(options, sizeof options, "%s --set run.folder=%s/whole", changed, folder);
    output_of(folder, options);
    snprintf(options, sizeof options, "%s --steps 8", changed);
    output_of(folder, options);
    snprintf(options, sizeof options, "%s --resume", changed);
    output_of(folder, options);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "whole/best.safetensors"));
    folder_remove(folder);
}
END_TEST

/* ---- files that are none ----------------------------------------------------------------- */

START_TEST(broken_pictures_are_named_or_left_out) {
    char *folder = experiment(small_network);
    write_text(in_folder(folder, "data/pictures/train 5.png"), "<html>not found</html>");
    write_text(in_folder(folder, "data/pictures/test 3.png"), "");
    REFUSED(folder, "", "data/pictures/test 3.png: ");
    const char *output = output_of(folder, "--set data.broken_pictures=skip --set train.epochs=1");
    assert_said(output, "train: 1 of 24 pictures cannot be read and are left out, with 3 captions "
                        "([data] broken_pictures = skip); the first is ");
    assert_said(output, "test: 1 of 12 pictures");
    output = output_of(folder, "--resume --set data.broken_pictures=skip --set train.epochs=2");
    assert_said(output, "train: 1 of 24 pictures");
    ck_assert_int_eq(unlink(in_folder(folder, "data/pictures/dev 0.png")), 0);
    REFUSED(folder, "--overwrite",
            "dev_pictures.txt:1: ", "/data/pictures/dev 0.png: No such file");
    write_text(in_folder(folder, "data/dev_pictures.txt"), "\n");
    REFUSED(folder, "--overwrite", "dev_pictures.txt:1: empty");
    folder_remove(folder);
}
END_TEST

/* A run of features keeps the captions of a picture that a run of pictures leaves out. */
START_TEST(models_of_other_captions_are_not_ranked_together) {
    char *folder = experiment(small_network), options[1024];
    write_text(in_folder(folder, "data/pictures/test 3.png"), "");
    output_of(folder, "--set data.broken_pictures=skip --set train.epochs=1");
    write_split(in_folder(folder, "data"), "train", TINY_IMAGES, 1);
    write_split(in_folder(folder, "data"), "dev", 12, 2);
    write_split(in_folder(folder, "data"), "test", 12, 3);
    snprintf(options, sizeof options,
             "--set run.folder=%s/features --set train.epochs=1 --set image.pixels= "
             "--set image.conv1= --set image.act1= --set image.pool1= --set image.spread=",
             folder);
    output_of(folder, options);
    for (int paired = 0; paired < 2; paired++) {
        const char *way = paired ? "--paired" : "";
        snprintf(options, sizeof options,
                 "--evaluate test %s --weights %s/run --weights %s/features", way, folder, folder);
        REFUSED(folder, options, "test: 11 images with 25 captions for ", "/run, ",
                "12 images with 27 captions for ", "/features");
        snprintf(options, sizeof options,
                 "--evaluate test %s --weights %s/features --weights %s/run", way, folder, folder);
        REFUSED(folder, options, "test: 12 images with 27 captions for ", "/features, ",
                "11 images with 25 captions for ", "/run");
    }
    folder_remove(folder);
}
END_TEST

/* ---- a network that stays as it is -------------------------------------------------------- */

static void write_network(const char *path) {
    CT_SCOPE {
        ct_seed(5);
        ct_module *net = ct_backbone_create("efficientnet_lite0", NULL);
        ck_assert(net && ct_module_save(net, path));
        ct_module_destroy(net);
    }
    assert_no_error();
}

/* A frozen backbone with weights in FOLDER/net.safetensors. */
static char *frozen_experiment(void) {
    char *folder = experiment(""), image[512], text[4096];
    write_network(in_folder(folder, "net.safetensors"));
    char *ini = ct_file_read(in_folder(folder, "tiny.ini"), NULL);
    snprintf(image, sizeof image,
             "[image]\npixels = pictures size=64 fit=stretch\n"
             "backbone = efficientnet weights=%s/net.safetensors\nfc = linear width=12\n",
             folder);
    char *rest = strstr(ini, "[image]\n");
    *rest = '\0';
    snprintf(text, sizeof text, "%s%s%s", ini, image, rest + strlen("[image]\n"));
    write_text(in_folder(folder, "tiny.ini"), text);
    free(ini);
    return folder;
}

static int count_files(const char *folder) {
    DIR *open = opendir(folder);
    int count = 0;
    for (struct dirent *entry; open && (entry = readdir(open));) count += entry->d_name[0] != '.';
    if (open) closedir(open);
    return count;
}

START_TEST(features_of_a_frozen_network_are_computed_once) {
    char *folder = frozen_experiment(), options[512];
    assert_said(output_of(folder, "--dry-run"), "24 images of 64 x 64 pixels");
    ck_assert_int_eq(count_files(in_folder(folder, "data/cache")), 0); /* it writes nothing */
    const char *output = output_of(folder, "--set train.epochs=1");
    assert_said(output, "train: features of 24 pictures computed");
    assert_said(output, "test: features of 12 pictures computed");
    ck_assert_int_eq(count_files(in_folder(folder, "data/cache")), 3);
    assert_said(output_of(folder, "--dry-run --overwrite"),
                "24 images of 4 regions x 1280 features");
    snprintf(options, sizeof options, "--set train.epochs=1 --set run.folder=%s/again", folder);
    output = output_of(folder, options);
    ck_assert_msg(!strstr(output, "computed"), "%s", output);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "again/best.safetensors"));
    /* a run's folder suffices: neither the file of weights nor the cache is needed any more */
    ck_assert_int_eq(unlink(in_folder(folder, "net.safetensors")), 0);
    snprintf(options, sizeof options, "rm -r %s/data/cache", folder);
    ck_assert_int_eq(system(options), 0);
    assert_said(output_of(folder, "--evaluate test"), "test: features of 12 pictures computed");
    output = output_of(folder, "--resume --set train.epochs=2");
    assert_said(output, "train: features of 24 pictures computed");
    /* another picture: other features */
    write_picture(in_folder(folder, "data/pictures/test 4.png"), 9, 9);
    assert_said(output_of(folder, "--evaluate test"), "test: features of 12 pictures computed");
    folder_remove(folder);
}
END_TEST

/* Computed by one process, which the test plays, they are waited for by another. */
START_TEST(features_that_another_computes_are_waited_for) {
    char *folder = frozen_experiment();
    output_of(folder, "--steps 1");
    ck_assert_int_eq(
        shell("cd %s/data/cache/train-* && rm 00000.npy && pwd > ../../../where", folder), 0);
    char *where = ct_file_read(in_folder(folder, "where"), NULL), lock[600];
    snprintf(lock, sizeof lock, "%.*s/lock", (int)strcspn(where, "\n"), where);
    int file = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666); /* else the child has it, too */
    ck_assert(file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0);
    pid_t child = start(folder, "--overwrite --steps 1");
    wait_for(folder, child, "train: features are being computed by another process");
    close(file);
    ck_assert_int_eq(end_of(child), 0);
    assert_printed(folder, "train: features of 24 pictures computed");
    free(where);
    folder_remove(folder);
}
END_TEST

/* How far they are is drawn as progress is: not with --quiet, nor where a terminal cannot. */
START_TEST(computing_features_is_drawn_where_progress_is) {
    char *folder = frozen_experiment(), clear[512];
    static const char options[] = "--set train.epochs=1";
    snprintf(clear, sizeof clear, "rm -r %s/data/cache", folder);
    const char *output = on_terminal(folder, 100, "xterm", NULL, options);
    assert_said(output, "\rtrain: 24 of 24 pictures  [####################]\033[K");
    assert_said(output, "\r\033[Ktrain: features of 24 pictures computed, ");
    ck_assert_int_eq(system(clear), 0);
    output = on_terminal(folder, 100, "dumb", NULL, options);
    assert_said(output, "train: features of 24 pictures computed, ");
    assert_unsaid(output, "\033");
    assert_unsaid(output, " of 24 pictures  ");
    ck_assert_int_eq(system(clear), 0);
    output = on_terminal(folder, 100, "xterm", NULL, "--set train.epochs=1 --quiet");
    assert_unsaid(output, "\033");
    assert_unsaid(output, " pictures");
    folder_remove(folder);
}
END_TEST

START_TEST(a_network_without_its_file_is_refused) {
    char *folder = frozen_experiment();
    ck_assert_int_eq(unlink(in_folder(folder, "net.safetensors")), 0);
    REFUSED(folder, "", "/net.safetensors: cannot open: No such file");
    REFUSED(folder, "--set 'image.backbone=efficientnet finetune=no'",
            "--set image.backbone: ", "expected weights=FILE.safetensors, or finetune=yes");
    REFUSED(folder, "--set 'image.backbone=efficientnet weights=x finetune=99'", "18 blocks");
    folder_remove(folder);
}
END_TEST

/* ---- searching --------------------------------------------------------------------------- */

START_TEST(pictures_of_no_split_are_asked_with_and_searched) {
    char *folder = experiment(small_network), options[1024];
    output_of(folder, "");
    ck_assert_int_eq(mkdir(in_folder(folder, "mine"), 0777), 0);
    write_picture(in_folder(folder, "mine/a.png"), 0, 8);
    write_picture(in_folder(folder, "mine/b.PNG"), 5, 8);
    write_text(in_folder(folder, "mine/notes.txt"), "no picture");
    snprintf(options, sizeof options, "--query-image %s/mine/a.png --top 2", folder);
    const char *output = output_of(folder, options);
    assert_said(output, "captions that fit it\n  1  ");
    assert_said(output, "images like it\n  1  ");
    snprintf(options, sizeof options, "--query 'a red square' --split %s/mine", folder);
    output = output_of(folder, options);
    assert_said(output, "/mine/a.png");
    assert_said(output, "/mine/b.PNG");
    snprintf(options, sizeof options, "--embed %s/mine/b.PNG --out %s/out", folder, folder);
    output_of(folder, options);
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(in_folder(folder, "out/img_embs.npy"));
        ck_assert(x && ct_shape_equal(x->shape, CT_SHAPE(1, 12)));
    }
    char plain[OUTPUT_SIZE]; /* an index of a split and a folder says the same */
    snprintf(options, sizeof options, "--query-image %s/mine/a.png --split test --split %s/mine",
             folder, folder);
    snprintf(plain, sizeof plain, "%s", output_of(folder, options));
    snprintf(options, sizeof options, "--index %s/both --split test --split %s/mine", folder,
             folder);
    assert_said(output_of(folder, options), "/mine, 2 images, 0 captions");
    snprintf(options, sizeof options, "--query-image %s/mine/a.png --in %s/both", folder, folder);
    ck_assert_str_eq(output_of(folder, options), plain);
    assert_said(plain, "/mine/b.PNG\n");
    snprintf(options, sizeof options, "--query-image %s/mine/notes.txt", folder);
    REFUSED(folder, options, "/mine/notes.txt: ");
    snprintf(options, sizeof options, "--query-image %s/mine", folder);
    REFUSED(folder, options, "/mine: a folder, expected a picture");
    folder_remove(folder);
}
END_TEST

START_TEST(a_model_of_features_takes_no_picture) {
    char *folder = tiny_experiment();
    output_of(folder, "--set train.epochs=1");
    REFUSED(folder, "--overwrite --set data.augment_flip=yes",
            "[data] augment_crop, augment_flip and augment_jitter change pictures, but [image]");
    REFUSED(folder, "--query-image x.png", "x.png: this model reads features, not pictures");
    folder_remove(folder);
}
END_TEST

TEST_MAIN("photographs", trains_from_pictures_alone, changes_are_drawn_in_training,
          an_interrupted_run_goes_on_to_the_same_bits, broken_pictures_are_named_or_left_out,
          models_of_other_captions_are_not_ranked_together,
          features_of_a_frozen_network_are_computed_once,
          features_that_another_computes_are_waited_for,
          computing_features_is_drawn_where_progress_is, a_network_without_its_file_is_refused,
          pictures_of_no_split_are_asked_with_and_searched, a_model_of_features_takes_no_picture)
