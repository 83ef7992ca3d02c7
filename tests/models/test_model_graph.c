/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptions: what is refused and how it is said, the table, names, switches. */
#include "tests/models/model_fixture.h"
#include "tensor/core/nearest.h"

static const ct_model_sizes sizes = {.regions = 4, .features = 6, .vocabulary = 12, .images = 9};

#define TEXT "[text]\nembed = words width=6\npool = gru\n"
#define LOSS "[loss]\nretrieval = hinge\n"
#define IMAGE "[image]\nfc = linear width=8\npool = mean\n"

/* ---- what is refused ------------------------------------------------------------------------ */

typedef struct {
    const char *text, *message;
} refusal;

static const refusal refusals[] = {
    {"[image]\nfc = liner width=8\npool = mean\n" TEXT LOSS,
     "test.ini:2: [image] fc: unknown module 'liner'; did you mean 'linear'?"},
    {"[image]\nat = policy_attention heds=2\npool = mean\n" TEXT LOSS,
     "test.ini:2: [image] at: unknown option 'heds'; did you mean 'heads'?"},
    {"[image]\nfc = linear zzzzzz=2\npool = mean\n" TEXT LOSS,
     "unknown option 'zzzzzz'; linear takes width, bias"},
    {"[image]\nfc = relu p=1\npool = mean\n" TEXT LOSS, "unknown option 'p'; relu has none"},
    {"[image]\nfc = linear width=-3\npool = mean\n" TEXT LOSS,
     "test.ini:2: [image] fc: width is '-3', expected a whole number from 1"},
    {"[image]\nfc = linear width=8.5\npool = mean\n" TEXT LOSS,
     "width is '8.5', expected a whole number"},
    {"[image]\nfc = linear width=8 width=9\npool = mean\n" TEXT LOSS,
     "option 'width' is given twice"},
    {"[image]\nfc = linear width = 8\npool = mean\n" TEXT LOSS,
     "expected 'option=value' (without spaces), '+' or 'x N' after 'linear', found 'width'"},
    {"[image]\nfc = linear width=8 bias=maybe\npool = mean\n" TEXT LOSS,
     "bias is 'maybe', expected yes or no"},
    {"[image]\nn = l2norm over=region\npool = mean\n" TEXT LOSS,
     "over is 'region', expected features|regions; did you mean 'regions'?"},
    {"[image]\ngcn = gcn x\npool = mean\n" TEXT LOSS, "'x' is followed by a number"},
    {"[image]\ngcn = gcn x 0\npool = mean\n" TEXT LOSS, "the repetition 'x' is '0'"},
    {"[image]\ngcn = gcn x 2 x\npool = mean\n" TEXT LOSS, "nothing may follow 'x 2'"},
    {"[image]\ngcn = gcn + linear x 2\npool = mean\n" TEXT LOSS,
     "a sum ('+') cannot be repeated ('x')"},
    {"[image]\npool = mean +\n" TEXT LOSS, "expected the name of a module after '+'"},
    {"[image]\npool = + mean\n" TEXT LOSS, "expected the name of a module, found +"},
    {"[image]\npool =\n" TEXT LOSS, "test.ini:2: [image] pool: expected the name of a module"},
    {"[image]\npool = gru x 2\n" TEXT LOSS, "a pool ('gru') cannot be repeated"},
    {"[image]\nfc = linear width=8\nfc = relu\npool = mean\n" TEXT LOSS,
     "test.ini:3: [image] fc: a module of this name stands in line 2"},
    {"[image]\nf.c = linear width=8\npool = mean\n" TEXT LOSS,
     "a module's name has letters, digits, '_' and '-' only"},
    {"[image]\nfc = linear width=8\n" TEXT LOSS,
     "test.ini:2: [image] fc: [image] ends without a pool (mean, max, gru, lstm or bigru), so "
     "there is no one vector an image"},
    {"[image]\npool = mean\nfc = linear width=8\ngcn = gcn\n" TEXT LOSS,
     "test.ini:4: [image] gcn: 'gcn' works on a sequence, but 'pool' (line 2) has already made one "
     "vector of it"},
    {"[image]\nfc = linear width=8\npx = pictures\npool = mean\n" TEXT LOSS,
     "test.ini:3: [image] px: 'pictures' stands at the beginning of [image] only"},
    {"[image]\nc = conv2d\npool = mean\n" TEXT LOSS,
     "'conv2d' works on pictures, but is given a sequence: [image] begins with 'pictures' for it"},
    {"[image]\npx = pictures size=16\ngcn = gcn\npool = mean\n" TEXT LOSS,
     "'gcn' works on regions, but is given pictures: put a backbone"},
    {"[image]\npx = pictures size=16\npool = mean\n" TEXT LOSS,
     "'mean' works on regions, but is given pictures"},
    {"[image]\npx = pictures size=16 resize=12\npool = mean\n" TEXT LOSS,
     "resize is 12, expected at least the size, 16"},
    {"[image]\npx = pictures fit=pad resize=300\npool = mean\n" TEXT LOSS,
     "'resize' is of fit=crop"},
    {"[image]\npx = pictures mean=0.5,0.4\npool = mean\n" TEXT LOSS,
     "mean is '0.5,0.4', expected a number from 0 to 1, or three of them"},
    {"[image]\npx = pictures std=0\npool = mean\n" TEXT LOSS, "std is '0', expected a number"},
    {"[image]\npx = pictures size=16\nc = conv2d kernel=9 padding=0\nd = conv2d kernel=9 "
     "padding=0\npool = mean\n" TEXT LOSS,
     "a window of 9 does not fit in pictures of 8, padded by 0"},
    {"[image]\npx = pictures size=16\nc = conv2d width=5 groups=3\npool = mean\n" TEXT LOSS,
     "3 groups do not divide 3 and 5 channels"},
    {"[image]\npx = pictures size=16\np = maxpool2d kernel=2 padding=2\npool = mean\n" TEXT LOSS,
     "padding is 2, expected at most half of the kernel, 2"},
    {"[image]\npx = pictures size=16\nc = conv2d stride=2 + conv2d\npool = mean\n" TEXT LOSS,
     "'conv2d + conv2d' adds pictures of different sizes, 8 and 16"},
    {"[image]\npx = pictures size=64\nnet = efficientnet finetune=maybe\npool = mean\n" TEXT LOSS,
     "finetune is 'maybe', expected no, yes or a whole number"},
    {"[image]\npx = pictures size=64\nnet = efficientnet finetune=no\npool = mean\n" TEXT LOSS,
     "expected weights=FILE.safetensors, or finetune=yes"},
    {"[image]\npx = pictures size=60\nnet = vit\npool = mean\n" TEXT LOSS,
     "test.ini:3: [image] net: vit_tiny: pictures of height 60 and width 60, expected multiples"},
    {"[text]\nembed = words\nc = conv2d\npool = gru\n[image]\npool = mean\n" LOSS, "'conv2d' "},
    {"[image]\npool = mean\nagain = gru\n" TEXT LOSS, "'gru' works on a sequence, but 'pool'"},
    {"[image]\npool = mean + linear width=6\n" TEXT LOSS,
     "'mean + linear' adds one vector to a sequence"},
    {"[image]\npool = mean + gru width=9\n" TEXT LOSS,
     "'mean + gru' adds vectors of different widths, 6 and 9"},
    {"[image]\nat = policy_attention heads=4\npool = mean\n" TEXT LOSS,
     "test.ini:2: [image] at: 4 heads do not divide the width 6"},
    {"[image]\nat = attention heads=4\npool = mean\n" TEXT LOSS,
     "4 heads do not divide the width 6"},
    {"[image]\nenc = transformer\npool = mean\n" TEXT LOSS,
     "test.ini:2: [image] enc: 4 heads do not divide the width 6"},
    {"[image]\nat = policy_attention discrete=none continuous=no\npool = mean\n" TEXT LOSS,
     "leave no policy"},
    {"[image]\na = policy_attention\nb = policy_attention\npool = mean\n" TEXT LOSS,
     "test.ini:3: [image] b: a second policy_attention in [image], after 'a' in line 2"},
    {"[image]\nc = conv1d kernel=4\npool = mean\n" TEXT LOSS,
     "kernel is 4, expected an odd number (or causal=yes)"},
    {"[image]\npool = bigru width=7 merge=concat\n" TEXT LOSS,
     "width is 7, expected an even number for merge=concat"},
    {IMAGE "[text]\nembed = words\nnorm = l2norm over=regions\npool = gru\n" LOSS,
     "test.ini:6: [text] norm: over=regions is for images, before the pool"},
    {"[image]\npool = mean\nnorm = l2norm over=regions\n" TEXT LOSS,
     "test.ini:3: [image] norm: over=regions is for images, before the pool"},
    {IMAGE "[text]\npool = gru\n" LOSS, "[text] begins with 'words', found 'gru'"},
    {IMAGE "[text]\nembed = words\ngcn = gcn\npool = gru\n" LOSS, "'gcn' is for regions"},
    {IMAGE "[text]\nembed = words\nembed2 = words\npool = gru\n" LOSS,
     "'words' stands at the beginning of [text] only"},
    {"[image]\nw = words\npool = mean\n" TEXT LOSS, "'words' stands at the beginning of [text]"},
    {IMAGE "[text]\nembed = words vectors=glove.txt\npool = gru\n" LOSS,
     "'vectors' is given, but no word vectors were loaded"},
    {IMAGE "[text]\nembed = words width=6\npool = mean\n" LOSS,
     "test.ini:6: [text] pool: captions become 6 wide here, but images 8 ([image] pool, line 3)"},
    {TEXT LOSS, "test.ini: no section [image]"},
    {IMAGE LOSS, "test.ini: no section [text]"},
    {IMAGE TEXT, "test.ini: [loss] trains nothing: expected retrieval, instance or decoder"},
    {IMAGE TEXT "[loss]\nretreival = hinge\n",
     "test.ini:8: [loss] retreival: unknown key; did you mean 'retrieval'?"},
    {IMAGE TEXT "[loss]\nretrieval = triplet\n", "unknown loss 'triplet', expected 'hinge'"},
    {IMAGE TEXT "[loss]\nretrieval = hinge + hinge\n", "expected one 'hinge option=value ...'"},
    {IMAGE TEXT "[loss]\nretrieval = hinge\nretrieval = hinge\n", "given twice"},
    {IMAGE TEXT LOSS "measure = cosinus\n",
     "the measure is 'cosinus', expected cosine|order; did you mean 'cosine'?"},
    {IMAGE TEXT LOSS "discrete_policy = 1\n",
     "test.ini:9: [loss] discrete_policy: no policy_attention in [image] or [text] has a discrete "
     "part"},
    {IMAGE TEXT LOSS "discrete_policy = one\n", "the weight is 'one', expected a number"},
    {"[image]\nat = policy_attention\npool = mean\n" TEXT LOSS "discrete_policy = 1\n",
     "[loss] has no 'continuous_policy', but a policy_attention has a continuous part"},
    {IMAGE TEXT LOSS "instance = classifier classes=8\n",
     "test.ini:9: [loss] instance: classes is 8, but the training images are numbered 0 to 8: "
     "expected at least 9"},
    {IMAGE TEXT LOSS "instance = classifier classes=9\n[compat]\nclasses = released\n",
     "test.ini:9: [loss] instance: classes is 9, but the training images are numbered 1 to 9: "
     "expected at least 10"},
    {IMAGE TEXT LOSS "[compat]\npreset = relesed\n",
     "preset is 'relesed', expected none|released; did you mean 'released'?"},
    {IMAGE TEXT LOSS "[compat]\nl2nrm = regions\n",
     "test.ini:10: [compat] l2nrm: unknown key; did you mean 'l2norm'?"},
    {IMAGE TEXT LOSS "[compat]\ndecoder_updates = twice\npreset = released\n",
     "test.ini:10: [compat] decoder_updates: twice, but decoder_parameters = fixed (as the preset "
     "has it) leaves the decoder as it is"},
    {IMAGE TEXT LOSS "[compat]\nl2norm = both\n", "the value is 'both', expected features|regions"},
};

START_TEST(wrong_graphs_are_refused) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        ct_model *model = fixture_model(refusals[i].text, sizes);
        ck_assert_msg(model == NULL, "accepted: %s", refusals[i].text);
        ck_assert_msg(!ct_ok() && strstr(ct_error(), refusals[i].message),
                      "for\n%s\nexpected '%s', got '%s'", refusals[i].text, refusals[i].message,
                      ct_ok() ? "no error" : ct_error());
        ct_error_clear();
    }
}
END_TEST

START_TEST(wrong_sizes_are_refused) {
    ct_model_sizes none = sizes;
    none.features = 0;
    ck_assert_ptr_null(fixture_model(IMAGE TEXT LOSS, none));
    assert_error("model: regions 4, features 0");
    ck_assert_ptr_null(ct_model_create(NULL, sizes));
    assert_error("description is NULL");
    ct_description_entry bad = {NULL, "fc", "linear", 1};
    ck_assert_ptr_null(ct_model_create(&(ct_description){"f.ini", &bad, 1}, sizes));
    assert_error("entry 0 has no section");
}
END_TEST

/* ---- what is accepted ----------------------------------------------------------------------- */

START_TEST(other_sections_are_left_alone) {
    ct_model *model =
        fixture_model("[data]\nfolder = x\n" IMAGE TEXT LOSS "[train]\nlr = 1\n", sizes);
    assert_no_error();
    ck_assert_int_eq(ct_model_width(model), 8);
    ck_assert(ct_model_section("compat") && !ct_model_section("train"));
    ct_model_destroy(model);
}
END_TEST

#define FULL                                                                                  \
    "[image]\nfc = linear width=8\nnorm = l2norm\ngcn = gcn x 2\n"                            \
    "attend = policy_attention actions=5\npool = mean+gru\nbn = batchnorm momentum=0.01\n"    \
    "[text]\nembed = words width=6\nattend = policy_attention actions=5\npool = gru\n"        \
    "bn = batchnorm\n"                                                                        \
    "[loss]\nretrieval = hinge intra_modal=yes\ndiscrete_policy = 1\ncontinuous_policy = 1\n" \
    "instance = classifier hidden=7\ndecoder = convcap width=4 hidden=3 layers=2\n"

typedef struct {
    const char *part, *name, *module;
    ct_shape output;
    int64_t parameters;
} table_row;

START_TEST(table_lists_the_graph) {
    enum { B = 3, T = 5 };
    /* gru: 3H(C+H) + 6H; policy: gru, 2C*HA+HA, 2C*H+H; gcn: 4(D*D+D) + 2D */
    const table_row expected[] = {
        {"image", "fc", "linear", CT_SHAPE(B, 4, 8), 6 * 8 + 8},
        {"image", "norm", "l2norm", CT_SHAPE(B, 4, 8), 0},
        {"image", "gcn.0", "gcn", CT_SHAPE(B, 4, 8), 4 * 72 + 16},
        {"image", "gcn.1", "gcn", CT_SHAPE(B, 4, 8), 4 * 72 + 16},
        {"image", "attend", "policy_attention", CT_SHAPE(B, 4, 8),
         3 * 8 * 16 + 48 + 17 * 10 + 17 * 2},
        {"image", "pool.mean", "mean", CT_SHAPE(B, 8), 0},
        {"image", "pool.gru", "gru", CT_SHAPE(B, 8), 3 * 8 * 16 + 48},
        {"image", "bn", "batchnorm", CT_SHAPE(B, 8), 16},
        {"text", "embed", "words", CT_SHAPE(B, T, 6), 72},
        {"text", "attend", "policy_attention", CT_SHAPE(B, T, 6),
         3 * 6 * 12 + 36 + 13 * 10 + 13 * 2},
        {"text", "pool", "gru", CT_SHAPE(B, 8), 3 * 8 * 14 + 48},
        {"text", "bn", "batchnorm", CT_SHAPE(B, 8), 16},
        {"loss", "retrieval", "hinge", CT_SHAPE(B, B), 0},
        {"loss", "instance", "classifier", CT_SHAPE(2 * B, 9), 9 * 7 + 8 * 9},
        {"loss", "decoder", "convcap", CT_SHAPE(B, T, 12),
         (6 * 4 + 8) + (8 * 4 + 8) + (8 * 4 + 8) + (8 * 8 * 5 + 16) + (8 * 4 * 5 + 16) +
             (4 * 3 + 6) + (3 * 12 + 24)},
    };
    ct_model *model = fixture_model(FULL, sizes);
    assert_no_error();
    int count;
    ct_model_row *rows = ct_model_table(model, B, T, &count);
    ck_assert_int_eq(count, (int)(sizeof expected / sizeof *expected));
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        ck_assert_str_eq(rows[i].part, expected[i].part);
        ck_assert_str_eq(rows[i].name, expected[i].name);
        ck_assert_str_eq(rows[i].module, expected[i].module);
        ck_assert_msg(ct_shape_equal(rows[i].output, expected[i].output), "%s: %s, expected %s",
                      rows[i].name, ct_shape_text(rows[i].output),
                      ct_shape_text(expected[i].output));
        ck_assert_msg(rows[i].parameters == expected[i].parameters, "%s: %lld parameters",
                      rows[i].name, (long long)rows[i].parameters);
        sum += rows[i].parameters;
    }
    ck_assert_int_eq(sum, ct_module_parameter_count(ct_model_module(model)));
    ck_assert_double_eq(rows[0].flops, 2.0 * B * 4 * 6 * 8);
    ck_assert_double_eq(rows[2].flops, 2.0 * B * (4 * 4 * 64 + 2 * 16 * 8));
    ck_assert_double_eq(rows[10].flops, 2.0 * B * T * 3 * 8 * 14);
    ck_assert_double_eq(rows[1].flops / rows[7].flops, 4); /* four regions, one pooled vector */
    free(rows);
    ct_model_destroy(model);
}
END_TEST

START_TEST(width_of_a_pool_follows_the_image) {
    ct_model *model = fixture_model("[image]\nfc = linear width=8\npool = gru\n" TEXT LOSS, sizes);
    assert_no_error();
    ck_assert_int_eq(ct_model_width(model), 8);
    ck_assert_ptr_nonnull(ct_module_tensor(ct_model_module(model), "image.pool.weight_ih_l0"));
    ck_assert_ptr_nonnull(ct_module_tensor(ct_model_module(model), "text.pool.weight_ih_l0"));
    ct_model_destroy(model);
}
END_TEST

/* ---- names ---------------------------------------------------------------------------------- */

START_TEST(released_names) {
    static const char *const names[][2] = {
        {"image.fc.weight", "img_enc.fc.weight"},
        {"image.gcn.0.g.weight", "img_enc.Rs_GCN_1.g.weight"},
        {"image.gcn.1.W.1.running_var", "img_enc.Rs_GCN_2.W.1.running_var"},
        {"image.attend.gru.weight_ih_l0", "img_enc.rl_rnn.weight_ih"},
        {"image.attend.logits.bias", "img_enc.linear_rl_image_mus.bias"},
        {"image.attend.rho.weight", "img_enc.linear_logvars.weight"},
        {"image.pool.gru.bias_hh_l0", "img_enc.img_rnn.bias_hh_l0"},
        {"image.bn.running_mean", "img_enc.bn.running_mean"},
        {"text.embed.weight", "txt_enc.embed.weight"},
        {"text.pool.weight_hh_l0", "txt_enc.rnn.weight_hh_l0"},
        {"text.bn.weight", "txt_enc.bn.weight"},
        {"classifier.hidden.weight", "classifier1.weight"},
        {"classifier.output.bias", "classifier2.bias"},
        {"decoder.words.weight_g", "caption_model.emb_1.weight_g"},
        {"decoder.convs.1.weight_v", "caption_model.convs.1.weight_v"},
        {"decoder.output.bias", "caption_model.classifier_1.bias"},
    };
    ct_model *model = fixture_model(FULL, sizes);
    assert_no_error();
    char out[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_msg(ct_module_tensor(ct_model_module(model), names[i][0]) != NULL,
                      "the model has no '%s'", names[i][0]);
        ck_assert_msg(ct_released_name(model, names[i][0], out, sizeof out), "%s", names[i][0]);
        ck_assert_str_eq(out, names[i][1]);
    }
    ck_assert(!ct_released_name(model, "image.nothing.weight", out, sizeof out));
    ck_assert(!ct_released_name(model, "image.fc.weight", out, 8)); /* does not fit */
    ct_model_destroy(model);
}
END_TEST

START_TEST(nearest_words) {
    static const char *const known[] = {"heads", "actions", "temperature", "scale"};
    ck_assert_str_eq(ct_nearest("heds", known, 4), "heads");
    ck_assert_str_eq(ct_nearest("haeds", known, 4), "heads"); /* a swap is one edit */
    ck_assert_str_eq(ct_nearest("Temprature", known, 4), "temperature");
    ck_assert_str_eq(ct_nearest("action", known, 4), "actions");
    ck_assert_ptr_null(ct_nearest("width", known, 4));
    ck_assert_ptr_null(ct_nearest("", known, 4));
    ck_assert_ptr_null(ct_nearest("heads", known, 0));
    ck_assert_str_eq(ct_did_you_mean("scal", known, 4), "; did you mean 'scale'?");
    ck_assert_str_eq(ct_did_you_mean("width", known, 4), "");
}
END_TEST

START_TEST(word_vector_path) {
    fixture_ini ini;
    char path[32] = "";
    ck_assert(!ct_description_word_vectors(fixture_read(&ini, IMAGE TEXT LOSS), path, 32));
    const char *with = IMAGE "[text]\nembed = words width=6 vectors=a/b.txt\npool = gru\n" LOSS;
    ck_assert(ct_description_word_vectors(fixture_read(&ini, with), path, 32));
    ck_assert_str_eq(path, "a/b.txt");
    assert_no_error();
    ck_assert(!ct_description_word_vectors(fixture_read(&ini, with), path, 4));
    assert_error("too long");
}
END_TEST

/* ---- switches ------------------------------------------------------------------------------- */

static ct_compat compat_of(const char *text) {
    fixture_ini ini;
    ct_compat compat;
    ck_assert(ct_compat_read(fixture_read(&ini, text), &compat));
    return compat;
}

START_TEST(preset_and_single_switches) {
    ct_compat none = compat_of(IMAGE);
    ct_compat all = compat_of("[compat]\npreset = released\n");
    for (int i = 0; i < CT_COMPAT_COUNT; i++) {
        ck_assert(!none.released[i]);
        ck_assert(all.released[i] ==
                  (i != CT_COMPAT_NO_FIRST_L2NORM && i != CT_COMPAT_DECODER_TWICE));
    }
    ct_compat but = compat_of("[compat]\nl2norm = features\npreset = released\n"
                              "first_l2norm = skip\n");
    ck_assert(!but.released[CT_COMPAT_L2NORM_REGIONS]);
    ck_assert(but.released[CT_COMPAT_NO_FIRST_L2NORM]);
    ck_assert(but.released[CT_COMPAT_SECOND_SAMPLE]);
    fixture_ini ini;
    const ct_description *text = fixture_read(&ini, "[compat]\npreset = released\n"
                                                    "tokens = plain\n");
    bool released;
    ck_assert(ct_compat_released(text, "unknown_words", &released) && released);
    ck_assert(ct_compat_released(text, "tokens", &released) && !released);
    ck_assert(!ct_compat_released(text, "token", &released));
    assert_error("there is no key 'token'");
    text = fixture_read(&ini, "[compat]\ntoken = plain\n");
    ck_assert(!ct_compat_released(text, "tokens", &released));
    assert_error("test.ini:2: [compat] token: unknown key; did you mean 'tokens'?");
}
END_TEST

TEST_MAIN("model_graph", wrong_graphs_are_refused, wrong_sizes_are_refused,
          other_sections_are_left_alone, table_lists_the_graph, width_of_a_pool_follows_the_image,
          released_names, nearest_words, word_vector_path, preset_and_single_switches)
