/* SPDX-License-Identifier: Apache-2.0 */
/* [compat]: where the released code departs from the paper or from itself, one key each. */
#include <string.h>

#include "models/graph/graph.h"
#include "tensor/core/check.h"
#include "tensor/core/nearest.h"

/* Choices are "default|released". `preset` is false where `preset = released` leaves the switch
 * alone. */
typedef struct {
    ct_compat_switch which;
    bool preset;
    ct_option option;
} ct_compat_row;

static const ct_compat_row rows[] = {
    {CT_COMPAT_L2NORM_REGIONS, true, {"l2norm", CT_OPTION_CHOICE, NULL, 0, 0, "features|regions"}},
    /* the released code leaves it out for one data set, by its name */
    {CT_COMPAT_NO_FIRST_L2NORM, false, {"first_l2norm", CT_OPTION_CHOICE, NULL, 0, 0, "keep|skip"}},
    {CT_COMPAT_SECOND_SAMPLE,
     true,
     {"continuous_sample", CT_OPTION_CHOICE, NULL, 0, 0, "applied|second"}},
    {CT_COMPAT_LAST_HEAD,
     true,
     {"image_continuous_heads", CT_OPTION_CHOICE, NULL, 0, 0, "all|last"}},
    {CT_COMPAT_PADDED_STEPS,
     true,
     {"text_policy_steps", CT_OPTION_CHOICE, NULL, 0, 0, "words|padded"}},
    {CT_COMPAT_DECODER_FIXED,
     true,
     {"decoder_parameters", CT_OPTION_CHOICE, NULL, 0, 0, "trained|fixed"}},
    {CT_COMPAT_BATCH_EVAL,
     true,
     {"image_batchnorm_eval", CT_OPTION_CHOICE, NULL, 0, 0, "running|batch"}},
    {CT_COMPAT_PAD_TARGET,
     true,
     {"decoder_targets", CT_OPTION_CHOICE, NULL, 0, 0, "words|words_and_pad"}},
    {CT_COMPAT_COLUMN_MAXIMUM,
     true,
     {"intra_modal_hardest", CT_OPTION_CHOICE, NULL, 0, 0, "row|column"}},
    {CT_COMPAT_COSINE_REWARD,
     true,
     {"reward_measure", CT_OPTION_CHOICE, NULL, 0, 0, "configured|cosine"}},
    {CT_COMPAT_TOKENS, true, {"tokens", CT_OPTION_CHOICE, NULL, 0, 0, "plain|released"}},
    {CT_COMPAT_DROP_UNKNOWN,
     true,
     {"unknown_words", CT_OPTION_CHOICE, NULL, 0, 0, "learned|dropped"}},
    {CT_COMPAT_CLASSES, true, {"classes", CT_OPTION_CHOICE, NULL, 0, 0, "data|released"}},
    {CT_COMPAT_NAN_GRADIENT, true, {"order_gradient", CT_OPTION_CHOICE, NULL, 0, 0, "finite|nan"}},
    {CT_COMPAT_REPORT, true, {"evaluation_report", CT_OPTION_CHOICE, NULL, 0, 0, "right|released"}},
    {CT_COMPAT_RESUME, true, {"resume", CT_OPTION_CHOICE, NULL, 0, 0, "exact|released"}},
    /* what VSRN's program does, not the policy model's */
    {CT_COMPAT_DECODER_TWICE,
     false,
     {"decoder_updates", CT_OPTION_CHOICE, NULL, 0, 0, "once|twice"}},
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool unknown_key(ct_place place) {
    const char *known[ROWS + 1] = {"preset"};
    for (int i = 0; i < ROWS; i++) known[i + 1] = rows[i].option.name;
    ct_fail_at(place, "unknown key%s", ct_did_you_mean(place.key, known, ROWS + 1));
    return false;
}

static bool read_preset(const ct_description *description, ct_compat *compat) {
    static const ct_option preset = {"preset", CT_OPTION_CHOICE, NULL, 0, 0, "none|released"};
    for (int i = 0; i < description->count; i++) {
        const ct_description_entry *entry = &description->entries[i];
        if (strcmp(entry->section, "compat") || strcmp(entry->key, "preset")) continue;
        ct_option_value value;
        if (!ct_option_read(ct_place_of(description, i), "preset", &preset, entry->value, &value))
            return false;
        for (int k = 0; k < ROWS; k++)
            compat->released[rows[k].which] = rows[k].preset && value.number != 0;
    }
    return true;
}

/* `twice` is the entry of decoder_updates. */
static bool check_decoder(const ct_description *description, int twice, const ct_compat *compat) {
    if (!compat->released[CT_COMPAT_DECODER_TWICE] || !compat->released[CT_COMPAT_DECODER_FIXED])
        return true;
    return ct_fail_at(ct_place_of(description, twice),
                      "twice, but decoder_parameters = fixed (as the preset has it) leaves the "
                      "decoder as it is") != NULL;
}

/* Keys of their own win over the preset, wherever they stand. */
bool ct_compat_read(const ct_description *description, ct_compat *compat) {
    *compat = (ct_compat){0};
    if (!read_preset(description, compat)) return false;
    int twice = 0;
    for (int i = 0; i < description->count; i++) {
        const ct_description_entry *entry = &description->entries[i];
        if (strcmp(entry->section, "compat") || !strcmp(entry->key, "preset")) continue;
        ct_place place = ct_place_of(description, i);
        int k = 0;
        while (k < ROWS && strcmp(rows[k].option.name, entry->key)) k++;
        if (k == ROWS) return unknown_key(place);
        ct_option_value value;
        if (!ct_option_read(place, "the value", &rows[k].option, entry->value, &value))
            return false;
        compat->released[rows[k].which] = value.number != 0;
        if (rows[k].which == CT_COMPAT_DECODER_TWICE) twice = i;
    }
    return check_decoder(description, twice, compat);
}

bool ct_compat_released(const ct_description *description, const char *key, bool *released) {
    ct_compat compat;
    if (!ct_description_check(description) || !ct_check_pointer("compat", "the key", key) ||
        !ct_check_pointer("compat", "the answer", released) ||
        !ct_compat_read(description, &compat))
        return false;
    for (int k = 0; k < ROWS; k++) {
        if (strcmp(rows[k].option.name, key)) continue;
        *released = compat.released[rows[k].which];
        return true;
    }
    return ct_fail_bool("compat: there is no key '%s'", key);
}

bool ct_compat_key(int i, const char **key, const char **choices, bool *in_preset) {
    if (i < 0 || i >= ROWS) return false;
    if (!ct_check_pointer("compat_key", "the key", key) ||
        !ct_check_pointer("compat_key", "its values", choices) ||
        !ct_check_pointer("compat_key", "whether the preset has it", in_preset))
        return false;
    *key = rows[i].option.name;
    *choices = rows[i].option.choices;
    *in_preset = rows[i].preset;
    return true;
}
