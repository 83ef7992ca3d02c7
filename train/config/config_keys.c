/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/io/text_stream.h"
#include "train/config/config_keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) .offset = offsetof(ct_config, field)

const ct_config_key ct_config_keys[] = {
    {"data", "folder", CT_KEY_TEXT, NULL, AT(folder),
     .help = "Folder with {split}_ims.npy, {split}_caps.txt and, for uneven captions, "
             "{split}_ids.txt; not needed with [recorded] file"},
    {"data", "train_split", CT_KEY_TEXT, "train", AT(train_split), .low = 1,
     .help = "Split to train on"},
    {"data", "dev_split", CT_KEY_TEXT, "dev", AT(dev_split), .low = 1, .change = CT_CHANGE_OF_SCORE,
     .help = "Split on which the best model is chosen"},
    {"data", "test_splits", CT_KEY_LIST, "test", AT(test_splits),
     .count_offset = offsetof(ct_config, test_split_count),
     .help = "Splits the best model is evaluated on at the end: a, b, ..."},
    {"data", "vocabulary", CT_KEY_TEXT, "", AT(vocabulary), .change = CT_CHANGE_REFUSED,
     .help = "JSON with word2idx and idx2word; empty: built from the training captions"},
    {"data", "min_count", CT_KEY_WHOLE, "4", AT(min_count), .low = 1, .high = 1e9,
     .change = CT_CHANGE_REFUSED,
     .help = "Occurrences a word needs to be in a vocabulary that is built"},
    {"data", "max_words", CT_KEY_WHOLE, "0", AT(max_words), .low = 0, .high = 1e6,
     .help = "Captions are cut to so many words; 0: they are not"},
    {"data", "pad_words", CT_KEY_WHOLE, "0", AT(pad_words), .low = 0, .least = 3, .high = 1e6,
     .help = "Captions are padded to so many words, <start> and <end> counted, longer ones cut; 0: "
             "to a batch's longest (to 87 if [compat] text_policy_steps = padded)"},
    {"data", "ids", CT_KEY_CHOICE, "rows", AT(ids), .choices = "rows|names",
     .help = "{split}_ids.txt: the image row of each caption, or the data set's own numbers, which "
             "are not read"},
    {"data", "images_repeated", CT_KEY_WHOLE, "1", AT(images_repeated), .low = 1, .high = 1e6,
     .help =
         "How often each image stands, in rows next to each other, in splits with as many image "
         "rows as captions; its rows in {split}_ids.txt are joined too"},
    {"data", "dev_captions", CT_KEY_WHOLE, "5000", AT(dev_captions), .low = 0, .high = 1e12,
     .change = CT_CHANGE_OF_SCORE,
     .help = "At most so many captions of the dev split are used; 0: all"},
    {"data", "shuffle", CT_KEY_FLAG, "yes", AT(shuffle), .change = CT_CHANGE_REFUSED,
     .help = "Draw the order of the training captions anew for each epoch; no: as they stand"},
    {"data", "cache", CT_KEY_TEXT, "", AT(cache), .change = CT_CHANGE_SILENT,
     .help = "Folder where features of pictures are kept that a backbone with finetune=no gives; "
             "empty: cache in the data folder"},
    {"data", "broken_pictures", CT_KEY_CHOICE, "error", AT(broken_pictures),
     .choices = "error|skip", .change = CT_CHANGE_REFUSED,
     .help = "What becomes of files that are no pictures, or not whole ones; skip: they are left "
             "out, with their captions"},
    {"data", "augment_crop", CT_KEY_NUMBER, "1", AT(augment_crop), .low = 0.01, .high = 1,
     .help = "Training sees a random part of each picture, at least so much of its area; 1: as in "
             "evaluation"},
    {"data", "augment_flip", CT_KEY_FLAG, "no", AT(augment_flip),
     .help = "Training exchanges left and right of every other picture, by chance"},
    {"data", "augment_jitter", CT_KEY_NUMBER, "0", AT(augment_jitter), .low = 0, .high = 1,
     .help = "Training changes brightness, contrast and saturation by random factors from 1 - this "
             "to 1 + this"},

    {"run", "folder", CT_KEY_TEXT, "", AT(run_folder), .change = CT_CHANGE_SILENT,
     .help = "Folder for checkpoints and results; empty: runs/NAME for NAME.ini"},
    {"run", "seed", CT_KEY_WHOLE, "1", AT(seed), .low = 0, .high = 9007199254740992.0,
     .change = CT_CHANGE_REFUSED, .help = "Seed of all random numbers"},
    {"run", "threads", CT_KEY_WHOLE, "0", AT(threads), .low = 0, .high = 4096,
     .help = "CPU threads; 0: one a core"},
    {"run", "device", CT_KEY_CHOICE, "cpu", AT(device), .choices = "cpu|cuda|auto",
     .help = "Where to compute; auto: cuda where there is a GPU"},
    {"run", "dtype", CT_KEY_DTYPE, "f32", AT(dtype), .choices = "f32|f64",
     .change = CT_CHANGE_REFUSED, .help = "Numbers to compute with"},
    {"run", "graphs", CT_KEY_FLAG, "yes", AT(graphs), .change = CT_CHANGE_SILENT,
     .help = "Record a step on cuda as a graph and repeat it for the batches of its shape"},
    {"run", "precision", CT_KEY_CHOICE, "fp32", AT(precision), .choices = "fp32|tf32|bf16",
     .help =
         "Matrix products of f32: operands as they are, or rounded to bf16 or, on cuda, tf32 for "
         "the products alone; sums in fp32. bf16 on cpu: with oneDNN, and a processor that has "
         "avx512_bf16 or amx_bf16"},
    {"run", "gradient_wire", CT_KEY_CHOICE, "same", AT(gradient_wire), .choices = "same|f32|bf16",
     .help = "As what gradients go to the other ranks, where several train; same: as they are"},
    {"run", "local_loss", CT_KEY_FLAG, "no", AT(local_loss),
     .help =
         "Each rank ranks its own rows alone against all, where several train: the same but for "
         "rounding, and 2/N of the similarities on each of N"},
    {"run", "tensorboard", CT_KEY_FLAG, "yes", AT(tensorboard), .change = CT_CHANGE_SILENT,
     .help = "Write the numbers of metrics.jsonl to a TensorBoard event file too, with the "
             "configuration"},
    {"run", "histograms", CT_KEY_FLAG, "yes", AT(histograms), .change = CT_CHANGE_SILENT,
     .help =
         "With tensorboard, at each validation: histograms of attention weights and, where steps "
         "are not recorded, of gradients by module"},
    {"run", "names", CT_KEY_CHOICE, "ours", AT(names), .choices = "ours|released",
     .change = CT_CHANGE_SILENT,
     .help =
         "Names of tensors in what --export and --dump-steps write: ours, or the released code's"},

    {"train", "epochs", CT_KEY_WHOLE, "30", AT(epochs), .low = 1, .high = 1e9,
     .help = "Passes over the training captions"},
    {"train", "batch", CT_KEY_WHOLE, "128", AT(batch), .low = 2, .high = 1e6,
     .change = CT_CHANGE_REFUSED, .help = "Image-caption pairs a step"},
    {"train", "optimizer", CT_KEY_CHOICE, "adam", AT(optimizer), .choices = "adam|adamw|sgd",
     .change = CT_CHANGE_REFUSED, .help = "Optimiser"},
    {"train", "lr", CT_KEY_NUMBER, "2e-4", AT(lr), .low = 0, .high = 1e6,
     .help = "Learning rate at the start, after the warm-up"},
    {"train", "lr_factors", CT_KEY_LIST, "", AT(lr_factors),
     .count_offset = offsetof(ct_config, lr_factor_count),
     .help = "Parts that learn faster or slower: NAME:FACTOR, ...; image.attend:0.1"},
    {"train", "weight_decay", CT_KEY_NUMBER, "0", AT(weight_decay), .low = 0, .high = 1e6,
     .help = "L2 penalty (adam, sgd) or decoupled decay (adamw, where the default is 0.01)"},
    {"train", "momentum", CT_KEY_NUMBER, "0.9", AT(momentum), .low = 0, .high = 1,
     .help = "Momentum of sgd"},
    {"train", "clip_norm", CT_KEY_NUMBER, "2", AT(clip_norm), .low = 0, .high = 1e12,
     .help = "Largest norm of the gradient over all parameters; 0: not clipped"},
    {"train", "schedule", CT_KEY_CHOICE, "step", AT(schedule), .choices = "step|cosine|constant",
     .help = "How the learning rate goes on"},
    {"train", "lr_update", CT_KEY_WHOLE, "15", AT(lr_update), .low = 1, .high = 1e9,
     .help = "Epochs between two steps of the learning rate (step)"},
    {"train", "lr_factor", CT_KEY_NUMBER, "0.5", AT(lr_factor), .low = 0, .high = 1,
     .help = "What the learning rate is multiplied by at each (step)"},
    {"train", "warmup_steps", CT_KEY_WHOLE, "0", AT(warmup_steps), .low = 0, .high = 1e12,
     .help = "Steps over which the learning rate first rises from 0"},
    {"train", "checkpoint", CT_KEY_LIST, "", AT(checkpoint),
     .count_offset = offsetof(ct_config, checkpoint_count), .change = CT_CHANGE_SILENT,
     .help =
         "Modules (or decoder) that are run again in backward instead of keeping what it needs: "
         "NAME, ...; gcn, decoder. Less memory, the same bits, more time"},
    {"train", "validate_every", CT_KEY_WHOLE, "500", AT(validate_every), .low = 0, .high = 1e12,
     .help = "Steps between two looks at dev; 0: at the end of every epoch"},
    {"train", "log_every", CT_KEY_WHOLE, "10", AT(log_every), .low = 1, .high = 1e12,
     .help = "Steps between two lines of metrics"},
    {"train", "select", CT_KEY_CHOICE, "r1_r5", AT(select), .choices = "r1_r5|rsum",
     .change = CT_CHANGE_OF_SCORE,
     .help = "Score of the best model on dev: R@1 + R@5 both ways, or all six recalls"},

    {"evaluate", "batch", CT_KEY_WHOLE, "128", AT(evaluate_batch), .low = 1, .high = 1e6,
     .change = CT_CHANGE_SILENT,
     .help =
         "Images embedded at once under [compat] image_batchnorm_eval = batch, where they count "
         "for one another; else 128 are, so that recalls do not depend on it"},
    {"evaluate", "folds", CT_KEY_WHOLE, "1", AT(folds), .low = 1, .high = 1e6,
     .change = CT_CHANGE_OF_SCORE,
     .help = "Parts of a split that are ranked on their own and averaged (COCO 1K: 5)"},

    {"recorded", "file", CT_KEY_TEXT, "", AT(recorded_file),
     .help = "Train on the batches (and the noise) of this safetensors file instead of [data]"},
    {"recorded", "noise", CT_KEY_TEXT, "", AT(recorded_noise),
     .help = "Replay the noise of this safetensors file instead of drawing it"},
    {"recorded", "vocabulary_size", CT_KEY_WHOLE, "0", AT(recorded_vocabulary_size), .low = 0,
     .high = 1e9, .change = CT_CHANGE_REFUSED,
     .help = "Vocabulary of the recorded batches; 0: the file's metadata V"},
    {"recorded", "classes", CT_KEY_WHOLE, "0", AT(recorded_classes), .low = 0, .high = 1e9,
     .change = CT_CHANGE_REFUSED,
     .help = "Classes of their instance loss; 0: the file's num_classes, or as in.idx needs"},
};
const int ct_config_key_count = sizeof ct_config_keys / sizeof *ct_config_keys;
_Static_assert(sizeof ct_config_keys / sizeof *ct_config_keys <= CT_CONFIG_MAX_KEYS,
               "CT_CONFIG_MAX_KEYS is too small");

/* ---- values ------------------------------------------------------------------------------ */

static const char *expected(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *expected(const char *format, ...) {
    static _Thread_local char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

static const char *out_of_memory(void) { return expected("more memory than there is"); }

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *at = choices;; at++) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, text, size) == 0) return true;
        at += size;
        if (!*at) return false;
    }
}

static const char *store_text(char **out, const ct_config_key *key, const char *text) {
    if (strlen(text) < (size_t)key->low) return "a name";
    *out = strdup(text);
    return *out ? NULL : out_of_memory();
}

static const char *store_whole(int64_t *out, const ct_config_key *key, const char *text) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end) return "a whole number";
    if (!errno && key->least > 0 && value != 0 && (double)value < key->least) {
        return expected("0, or a whole number from %.0f to %.0f", key->least, key->high);
    }
    if (errno || (double)value < key->low || (double)value > key->high) {
        return expected("a whole number from %.0f to %.0f", key->low, key->high);
    }
    *out = value;
    return NULL;
}

static const char *store_number(double *out, const ct_config_key *key, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end) return "a number";
    if (!(value >= key->low && value <= key->high)) {
        return expected("a number from %g to %g", key->low, key->high);
    }
    *out = value;
    return NULL;
}

static const char *store_flag(bool *out, const char *text) {
    *out = is_choice("yes|true|1", text);
    return *out || is_choice("no|false|0", text) ? NULL : "yes or no";
}

static const char *store_choice(const ct_config_key *key, const char *text) {
    if (is_choice(key->choices, text)) return NULL;
    char list[128];
    snprintf(list, sizeof list, "%s", key->choices);
    for (char *bar; (bar = strchr(list, '|'));) *bar = ' ';
    return expected("one of: %s", list);
}

static const char *store_list(char ***out, int *count, const char *text) {
    size_t parts = 1;
    for (const char *at = text; *at; at++) parts += *at == ',';
    char **list = calloc(parts + 1, sizeof *list);
    if (!list) return out_of_memory();
    *out = list;
    *count = 0;
    static const char white[] = " \t";
    for (const char *at = text, *end; *text; at = end + 1) {
        at += strspn(at, white);
        end = at + strcspn(at, ",");
        size_t length = (size_t)(end - at);
        while (length && strchr(white, at[length - 1])) length--;
        if (!length) return "names separated by commas";
        list[*count] = strndup(at, length);
        if (!list[*count]) return out_of_memory();
        ++*count;
        if (!*end) break;
    }
    return NULL;
}

const char *ct_config_store(ct_config *config, const ct_config_key *key, const char *text) {
    void *out = (char *)config + key->offset;
    const char *wrong;
    switch (key->type) {
    case CT_KEY_TEXT: return store_text(out, key, text);
    case CT_KEY_CHOICE:
        wrong = store_choice(key, text);
        return wrong ? wrong : store_text(out, key, text);
    case CT_KEY_DTYPE:
        wrong = store_choice(key, text);
        if (!wrong) ct_dtype_from_name(text, out);
        return wrong;
    case CT_KEY_LIST: return store_list(out, (int *)((char *)config + key->count_offset), text);
    case CT_KEY_WHOLE: return store_whole(out, key, text);
    case CT_KEY_NUMBER: return store_number(out, key, text);
    case CT_KEY_FLAG: return store_flag(out, text);
    }
    return "a known type of key";
}

static char *list_value(char *const *list) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    for (int i = 0; out && list[i]; i++) fprintf(out, "%s%s", i ? ", " : "", list[i]);
    return ct_text_stream_close(&stream, out);
}

/* As short as comes back to the same bits. */
static char *number_value(double value) {
    char text[40];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (++digits < 18 && strtod(text, NULL) != value);
    return strdup(text);
}

int ct_config_find_key(const char *section, const char *name) {
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0) return i;
    }
    return -1;
}

char *ct_config_value(const ct_config *config, const ct_config_key *key) {
    const void *at = (const char *)config + key->offset;
    char whole[24];
    switch (key->type) {
    case CT_KEY_TEXT:
    case CT_KEY_CHOICE: return strdup(*(char *const *)at);
    case CT_KEY_DTYPE: return strdup(ct_dtype_name(*(const ct_dtype *)at));
    case CT_KEY_LIST: return list_value(*(char **const *)at);
    case CT_KEY_WHOLE:
        snprintf(whole, sizeof whole, "%lld", (long long)*(const int64_t *)at);
        return strdup(whole);
    case CT_KEY_NUMBER: return number_value(*(const double *)at);
    case CT_KEY_FLAG: return strdup(*(const bool *)at ? "yes" : "no");
    }
    return NULL;
}

void ct_config_clear(ct_config *config, const ct_config_key *key) {
    void *out = (char *)config + key->offset;
    if (key->type == CT_KEY_TEXT || key->type == CT_KEY_CHOICE) {
        free(*(char **)out);
        *(char **)out = NULL;
    } else if (key->type == CT_KEY_LIST) {
        char **list = *(char ***)out;
        for (int i = 0; list && list[i]; i++) free(list[i]);
        free(list);
        *(char ***)out = NULL;
    }
}

/* ---- help -------------------------------------------------------------------------------- */

void ct_config_print_help(void *file) {
    FILE *out = file;
    const char *section = "";
    fprintf(
        out,
        "A configuration is an INI file in UTF-8: [section], key = value, ; comment. A value may\n"
        "stand in double quotes; one with a ' ;' in it must, and an option's with a space:\n"
        "embed = words vectors=\"my folder/glove.txt\".\n"
        "Every key, with its default:\n");
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (strcmp(section, key->section) != 0) fprintf(out, "\n[%s]\n", key->section);
        section = key->section;
        char setting[64];
        snprintf(setting, sizeof setting, "%s = %s", key->name,
                 key->fallback ? key->fallback : "(must be given)");
        fprintf(out, "  %-28s %s", setting, key->help);
        if (key->choices) fprintf(out, " (%s)", key->choices);
        fputc('\n', out);
    }
    fprintf(
        out,
        "\n[image] [text] [loss]\n"
        "  The model: a chain of modules for images, one for captions, the losses. See "
        "docs/model.md.\n"
        "  retrieval = hinge same_image=negative|ignored: captions of one image in one batch "
        "are each\n  other's negatives, as in the published programs, or left out.\n\n[compat]\n"
        "  What is done as the released code does it: the second of each two. See "
        "docs/model.md.\n  %-28s none|released: all of the following\n",
        "preset");
    const char *key, *choices;
    bool in_preset;
    for (int i = 0; ct_compat_key(i, &key, &choices, &in_preset); i++) {
        fprintf(out, "  %-28s %s%s\n", key, choices, in_preset ? "" : " (not in the preset)");
    }
}
