/* SPDX-License-Identifier: Apache-2.0 */
/* An LSTM learns to say of every letter of "(())x)((..." how many brackets are open there:
 *     cc lstm_tagger.c -o lstm_tagger $(pkg-config --cflags --libs cotangent) && ./lstm_tagger */
#include <stdio.h>
#include "nn/nn.h"
enum { LETTERS = 3, DEEPEST = 3, BATCH = 32, LONGEST = 24, ROUNDS = 300, NO_TAG = -100 };
typedef struct {
    ct_tensor *letters, *tags, *lengths; /* (BATCH,LONGEST), the same, (BATCH) */
} texts;
/* Texts of 8 to LONGEST letters; behind a text's end there is no tag. */
static texts draw_texts(ct_rng *rng) {
    int64_t letter[BATCH * LONGEST] = {0}, tag[BATCH * LONGEST], length[BATCH];
    for (int b = 0; b < BATCH; b++) {
        length[b] = 8 + (int64_t)ct_random_below(rng, LONGEST - 7);
        int64_t open = 0;
        for (int t = 0; t < LONGEST; t++) {
            int i = b * LONGEST + t;
            tag[i] = NO_TAG;
            if (t >= length[b]) continue;
            letter[i] = (int64_t)ct_random_below(rng, LETTERS); /* "x()" */
            if (letter[i] == 1 && open < DEEPEST) open++;
            if (letter[i] == 2 && open > 0) open--;
            tag[i] = open;
        }
    }
    return (texts){ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH, LONGEST), letter),
                   ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH, LONGEST), tag),
                   ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH), length)};
}
int main(void) {
    ct_module *net = ct_module_create("tagger");
    ct_module *embed = ct_module_add(net, "embed", ct_embedding_create(LETTERS, 8));
    ct_module *lstm = ct_module_add(net, "lstm", ct_lstm_create(8, 32, NULL));
    ct_module *head = ct_module_add(net, "head", ct_linear_create(32, DEEPEST + 1, true));
    ct_adam_options options = ct_adam_defaults();
    options.lr = 0.01;
    ct_optimizer *adam = ct_adam_create(net, &options);
    ct_cross_entropy_options tagged = ct_cross_entropy_defaults();
    tagged.ignore = true;
    tagged.ignore_index = NO_TAG;
    for (int round = 0; round <= ROUNDS && ct_ok(); round++) CT_SCOPE {
            texts x = draw_texts(ct_default_rng());
            ct_tensor *h =
                ct_lstm(lstm, ct_embedding(embed, x.letters), NULL, NULL, x.lengths, NULL, NULL);
            ct_tensor *logits = ct_linear(head, h);
            ct_tensor *loss = ct_cross_entropy(logits, x.tags, &tagged);
            ct_tensor *right =
                ct_tensor_compare(CT_COMPARE_equal, x.tags, ct_tensor_argmax(logits, -1));
            double share = ct_item(ct_sum_all(ct_cast(right, CT_F32))) /
                           ct_item(ct_sum_all(ct_cast(x.lengths, CT_F32)));
            if (round % 50 == 0)
                printf("round %3d  loss %.4f  accuracy %.3f\n", round, ct_item(loss), share);
            ct_backward(loss);
            ct_optimizer_step(adam);
        }
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
    return ct_ok() ? 0 : (fprintf(stderr, "%s\n", ct_error()), 1);
}
