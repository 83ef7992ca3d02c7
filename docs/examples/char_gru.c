/* SPDX-License-Identifier: Apache-2.0 */
/* A GRU learns a text letter by letter, then writes some of its own:
 *     cc char_gru.c -o char_gru $(pkg-config --cflags --libs cotangent) && ./char_gru [file] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nn/nn.h"
enum { LETTERS = 256, WIDTH = 96, BATCH = 16, WINDOW = 48, ROUNDS = 400, LINE = 200 };
static const char paragraph[] =
    "The sea was calm that night. Far out a small boat was waiting for the tide. On the shore "
    "children counted waves, and every seventh was the largest, as if the sea could count. ";
/* BATCH windows from random places; the target of a letter is the letter after it. */
static void draw_batch(const char *text, ct_tensor **letters, ct_tensor **next) {
    int64_t in[BATCH * WINDOW], out[BATCH * WINDOW];
    for (int row = 0; row < BATCH; row++) {
        const char *start = text + ct_random_below(ct_default_rng(), strlen(text) - WINDOW);
        for (int i = 0; i < WINDOW; i++) {
            in[row * WINDOW + i] = (unsigned char)start[i];
            out[row * WINDOW + i] = (unsigned char)start[i + 1];
        }
    }
    *letters = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH, WINDOW), in);
    *next = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH, WINDOW), out);
}
int main(int argc, char **argv) {
    char *text = argc > 1 ? ct_file_read(argv[1], NULL) : strdup(paragraph);
    if (text && strlen(text) <= WINDOW) ct_fail("char_gru: the text is shorter than a window");
    ct_module *net = ct_module_create("char_lm");
    ct_module *embed = ct_module_add(net, "embed", ct_embedding_create(LETTERS, 32));
    ct_module *rnn = ct_module_add(net, "rnn", ct_gru_create(32, WIDTH, NULL));
    ct_module *head = ct_module_add(net, "head", ct_linear_create(WIDTH, LETTERS, true));
    ct_adam_options options = ct_adam_defaults();
    options.lr = 5e-3;
    ct_optimizer *adam = ct_adam_create(net, &options);
    for (int round = 0; round <= ROUNDS && ct_ok(); round++) CT_SCOPE { /* frees what it made */
            ct_tensor *letters, *next;
            draw_batch(text, &letters, &next);
            ct_tensor *hidden = ct_gru(rnn, ct_embedding(embed, letters), NULL, NULL, NULL);
            ct_tensor *loss = ct_cross_entropy(ct_linear(head, hidden), next, NULL);
            if (round % 50 == 0) printf("round %3d  loss %.4f\n", round, ct_item(loss));
            ct_backward(loss);
            ct_optimizer_step(adam);
        }
    int64_t letter = 'T';
    ct_tensor *state = NULL; /* outlives its step's scope: kept, and adopted by the next */
    for (int i = 0; i < LINE && ct_ok(); i++) CT_SCOPE CT_NO_GRAD {
            putchar((int)letter);
            ct_tensor *input = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(1, 1), &letter);
            ct_tensor *h = ct_gru(rnn, ct_embedding(embed, input), ct_adopt(state), NULL, &state);
            ct_keep(state);
            ct_tensor *logits = ct_linear(head, h);
            letter = (int64_t)ct_item(ct_categorical_sample(logits, ct_default_rng(), "letter"));
        }
    ct_release(state);
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
    free(text);
    puts(ct_ok() ? "" : ct_error()); /* asked once: the first error stays */
    return ct_ok() ? 0 : 1;
}
