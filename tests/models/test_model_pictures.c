/* SPDX-License-Identifier: Apache-2.0 */
/* Models whose images are pictures. */
#include "tests/models/model_small.h"

enum { BATCH = 3 };

#define CAPTIONS "[text]\nembed = words width=6\npool = gru\n"
#define RANKING "[loss]\nretrieval = hinge\n"

/* (B,3,side*side) of values from 0 to 1. */
static ct_tensor *made_up(int64_t side) {
    ct_rng rng = ct_rng_create(7, 1);
    return ct_random_uniform(&rng, "pictures", CT_F64, CT_CPU, CT_SHAPE(BATCH, 3, side * side));
}

/* A network of its own: every module's result has the shape that the table says. */
START_TEST(a_chain_of_convolutions_runs_and_learns) {
    ct_model *model =
        model_of("[image]\npixels = pictures size=16 mean=0.5 std=0.25\n"
                 "conv = conv2d width=4 stride=2\nnorm = batchnorm\nact = relu6\n"
                 "block = residual width=8 stride=2\npool1 = maxpool2d\n"
                 "pool2 = avgpool2d kernel=2 stride=1\n"
                 "spread = regions\nfc = linear width=5\npool = mean\n" CAPTIONS RANKING,
                 CT_F64);
    assert_no_error();
    int count;
    ct_model_row *rows = ct_model_table(model, BATCH, 4, &count);
    static const char *const shapes[] = {"(3,3,16,16)", "(3,4,8,8)", "(3,4,8,8)", "(3,4,8,8)",
                                         "(3,8,4,4)",   "(3,8,2,2)", "(3,8,1,1)", "(3,1,8)",
                                         "(3,1,5)",     "(3,5)"};
    for (int i = 0; i < 10; i++) ck_assert_str_eq(ct_shape_text(rows[i].output), shapes[i]);
    free(rows);
    CT_SCOPE {
        ct_tensor *y = ct_model_embed_images(model, made_up(16), NULL);
        ck_assert_str_eq(ct_tensor_text(y), "f64 (3,5)");
        ck_assert(ct_backward(ct_sum_all(ct_mul(y, y))));
        ct_module *module = ct_module_child(ct_model_module(model), "image");
        ct_tensor *weight = ct_module_tensor(ct_module_child(module, "conv"), "weight");
        ck_assert_ptr_nonnull(ct_grad(weight));
        int64_t regions, features;
        ck_assert(!ct_model_front(model, &regions, &features));
        assert_no_error();
        ck_assert_ptr_null(
            ct_model_embed_images(model, ct_tensor_reshape(made_up(16), CT_SHAPE(-1)), NULL));
        assert_error("model: images are f64 (2304), expected pictures (B,3,256)");
        ck_assert_ptr_null(ct_model_embed_images(model, made_up(15), NULL));
        assert_error("model: images are f64 (3,3,225), expected pictures (B,3,256)");
    }
    ct_model_destroy(model);
}
END_TEST

/* Of mean and std: one number stands for three. */
START_TEST(pictures_are_normalised_by_colour) {
    ct_model *model = fixture_model("[image]\npixels = pictures size=8\nspread = regions\n"
                                    "pool = max\n[text]\nembed = words width=6\n"
                                    "pool = gru width=4\n" RANKING,
                                    sizes);
    ck_assert_ptr_null(model); /* three channels, but captions become otherwise wide */
    assert_error("both must be alike");
    model = model_of("[image]\npixels = pictures size=8 mean=0.1,0.2,0.3 std=0.5,1,2\n"
                     "spread = regions\npool = max\n[text]\nembed = words width=6\n"
                     "pool = gru width=3\n" RANKING,
                     CT_F64);
    assert_no_error();
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(1, 3, 64), 0.6);
        ct_tensor *y = ct_model_embed_images(model, x, NULL);
        static const double expected[] = {(0.6 - 0.1) / 0.5, 0.6 - 0.2, (0.6 - 0.3) / 2};
        /* mean and std are kept in f32 */
        for (int i = 0; i < 3; i++) ck_assert_double_eq_tol(ct_get(y, i), expected[i], 1e-7);
    }
    ct_model_destroy(model);
}
END_TEST

/* What a frozen backbone gives may be given in the pictures' place: the same embeddings. */
START_TEST(a_front_that_stays_as_it_is_may_be_run_apart) {
    ct_model *model =
        model_of("[image]\npixels = pictures size=40\nnet = efficientnet weights=unread\n"
                 "fc = linear width=5\npool = mean\nbn = batchnorm\n" CAPTIONS RANKING,
                 CT_F64);
    assert_no_error();
    int64_t regions = 0, features = 0;
    ck_assert(ct_model_front(model, &regions, &features));
    ck_assert(regions == 4 && features == 1280);
    ck_assert_ptr_nonnull(ct_model_front_module(model, 1));
    ck_assert_ptr_null(ct_model_front_module(model, 2));
    CT_SCOPE {
        ct_tensor *pictures = made_up(40);
        ct_tensor *front = ct_model_run_front(model, pictures);
        ck_assert_str_eq(ct_tensor_text(front), "f64 (3,4,1280)");
        ct_tensor *whole = ct_model_embed_images(model, pictures, NULL);
        ct_tensor *apart = ct_model_embed_images(model, front, NULL);
        assert_close(apart, whole, 1e-12, 1e-12, "embeddings");
        /* and nothing of it is trained */
        ct_module *net = ct_module_child(ct_module_child(ct_model_module(model), "image"), "net");
        ck_assert(ct_backward(ct_sum_all(ct_mul(whole, whole))));
        ck_assert_ptr_null(ct_grad(ct_module_tensor(ct_module_child(net, "_conv_stem"), "weight")));
    }
    ck_assert(!ct_model_load_backbones(model));
    assert_error("unread: cannot open");
    ct_model_destroy(model);
}
END_TEST

/* Of blocks that are trained alone, and drawn from the generator that is given. */
START_TEST(stochastic_depth_is_of_training) {
#define NET "[image]\npixels = pictures size=40\nnet = efficientnet drop_path=0.5 "
#define REST "\nfc = linear width=5\npool = mean\n" CAPTIONS RANKING
    ck_assert_ptr_null(fixture_model(NET "weights=a" REST, sizes));
    assert_error("drop_path is of blocks that are trained: expected finetune=yes or a number of "
                 "blocks");
    ct_model *model = model_of(NET "finetune=yes" REST, CT_F64);
    assert_no_error();
    ct_rng rng = ct_rng_create(3, 0), other = *ct_default_rng();
    CT_SCOPE {
        ct_model_embed_images(model, made_up(40), &rng);
        ck_assert_uint_gt(rng.offset, 0);
        ck_assert_uint_eq(ct_default_rng()->offset, other.offset);
    }
    assert_no_error();
    ct_model_destroy(model);
}
END_TEST

/* Of a model that is in use, which file it began with and what was trained do not matter. */
START_TEST(its_text_is_what_embeddings_are_computed_by) {
    char *text[2];
    static const char *const net[] = {"weights=a.safetensors",
                                      "weights=\"b c\" finetune=2 drop_path=0.2"};
    for (int i = 0; i < 2; i++) {
        char ini[512];
        snprintf(ini, sizeof ini,
                 "[image]\npixels = pictures size=40\nnet = efficientnet %s\n"
                 "fc = linear width=5\npool = mean\n" CAPTIONS RANKING,
                 net[i]);
        ct_model *model = model_of(ini, CT_F32);
        assert_no_error();
        text[i] = ct_model_text(model);
        ct_model_destroy(model);
    }
    ck_assert_str_eq(text[0], text[1]);
    ck_assert(strstr(text[0], "[image] net = efficientnet variant=lite0\n") != NULL);
    for (int i = 0; i < 2; i++) free(text[i]);
}
END_TEST

TEST_MAIN("model_pictures", a_chain_of_convolutions_runs_and_learns,
          pictures_are_normalised_by_colour, a_front_that_stays_as_it_is_may_be_run_apart,
          stochastic_depth_is_of_training, its_text_is_what_embeddings_are_computed_by)
