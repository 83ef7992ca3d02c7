/* SPDX-License-Identifier: Apache-2.0 */
/* GRU and LSTM layers: layers and directions around the sequence operations of autograd. */
#include <math.h>
#include <stdio.h>

#include "nn/core/module.h"

typedef struct {
    int64_t in, hidden;
    int layers, directions;
    bool lstm;
    double dropout;
} recurrent_self;

/* States enter and leave as (layers*directions,B,hidden). */
typedef struct {
    ct_tensor *h, *c; /* c: LSTM only */
} recurrent_state;

static ct_tensor *gru_forward(ct_module *gru, ct_tensor *x) {
    return ct_gru(gru, x, NULL, NULL, NULL);
}

static ct_tensor *lstm_forward(ct_module *lstm, ct_tensor *x) {
    return ct_lstm(lstm, x, NULL, NULL, NULL, NULL, NULL);
}

static const ct_module_class gru_class = {"gru", gru_forward};
static const ct_module_class lstm_class = {"lstm", lstm_forward};

/* ---- parameters ------------------------------------------------------------------------- */

enum { NAME_SIZE = 48, MOST_LAYERS = 32, MOST_STATES = 2 * MOST_LAYERS };

/* "weight_ih_l1_reverse" */
static const char *parameter_name(char name[NAME_SIZE], const char *stem, int layer,
                                  int direction) {
    snprintf(name, NAME_SIZE, "%s_l%d%s", stem, layer, direction ? "_reverse" : "");
    return name;
}

static bool add_direction(ct_module *module, const recurrent_self *self, bool bias, int layer,
                          int direction) {
    int64_t gates = (self->lstm ? 4 : 3) * self->hidden;
    int64_t in = layer ? self->directions * self->hidden : self->in;
    double bound = 1 / sqrt((double)self->hidden);
    const struct {
        const char *stem;
        ct_shape shape;
    } parameters[] = {{"weight_ih", CT_SHAPE(gates, in)},
                      {"weight_hh", CT_SHAPE(gates, self->hidden)},
                      {"bias_ih", CT_SHAPE(gates)},
                      {"bias_hh", CT_SHAPE(gates)}};
    for (int i = 0; i < (bias ? 4 : 2); i++) {
        char name[NAME_SIZE];
        parameter_name(name, parameters[i].stem, layer, direction);
        if (!ct_module_uniform(module, name, parameters[i].shape, bound)) return false;
    }
    return true;
}

ct_rnn_options ct_rnn_defaults(void) { return (ct_rnn_options){.layers = 1, .bias = true}; }

static bool check_options(const char *type, const ct_rnn_options *o) {
    return ct_nn_option(type, "layers", o->layers, o->layers >= 1 && o->layers <= MOST_LAYERS,
                        "1 to 32") &&
           ct_nn_option(type, "dropout", o->dropout, o->dropout >= 0 && o->dropout < 1,
                        "0 <= dropout < 1");
}

static ct_module *create(const ct_module_class *class, int64_t in, int64_t hidden,
                         const ct_rnn_options *options) {
    const char *type = class->name;
    ct_rnn_options o = options ? *options : ct_rnn_defaults();
    if (!ct_nn_size(type, "in", in) || !ct_nn_size(type, "hidden", hidden)) return NULL;
    if (!check_options(type, &o)) return NULL;
    recurrent_self self = {.in = in,
                           .hidden = hidden,
                           .layers = o.layers,
                           .directions = o.bidirectional ? 2 : 1,
                           .lstm = class == &lstm_class,
                           .dropout = o.dropout};
    ct_module *module = ct_module_create_as(class, &self, sizeof self);
    bool ok = module != NULL;
    for (int layer = 0; ok && layer < self.layers; layer++) {
        for (int direction = 0; ok && direction < self.directions; direction++) {
            ok = add_direction(module, &self, o.bias, layer, direction);
        }
    }
    return ct_module_if(module, ok);
}

/* ---- forward ---------------------------------------------------------------------------- */

/* One layer, one direction. given and last: (B,hidden). */
static ct_tensor *run_direction(ct_module *module, const recurrent_self *self, int layer,
                                int direction, ct_tensor *x, recurrent_state given,
                                ct_tensor *lengths, recurrent_state *last) {
    static const char *const stems[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    ct_tensor *p[4];
    for (int i = 0; i < 4; i++) {
        char name[NAME_SIZE];
        p[i] = ct_module_own(module, parameter_name(name, stems[i], layer, direction));
    }
    if (self->lstm) {
        return ct_lstm_with(x, given.h, given.c, p[0], p[1], p[2], p[3], lengths, direction == 1,
                            &last->h, &last->c);
    }
    return ct_gru_with(x, given.h, p[0], p[1], p[2], p[3], lengths, direction == 1, &last->h);
}

/* All layers. *last gets stacked states. NULL on error. */
static ct_tensor *run_layers(ct_module *module, const recurrent_self *self, ct_tensor *x,
                             recurrent_state given, ct_tensor *lengths, recurrent_state *last) {
    ct_tensor *h[MOST_STATES], *c[MOST_STATES];
    for (int layer = 0; layer < self->layers; layer++) {
        ct_tensor *y[2];
        for (int direction = 0; direction < self->directions; direction++) {
            int i = layer * self->directions + direction;
            recurrent_state from = {given.h ? ct_select(given.h, 0, i) : NULL,
                                    given.c ? ct_select(given.c, 0, i) : NULL};
            recurrent_state to = {0};
            y[direction] = run_direction(module, self, layer, direction, x, from, lengths, &to);
            if (!y[direction]) return NULL;
            h[i] = to.h;
            c[i] = to.c;
        }
        x = self->directions == 2 ? ct_concat(y, 2, -1) : y[0];
        if (ct_module_training(module) && self->dropout > 0 && layer + 1 < self->layers) {
            x = ct_dropout_with(x, self->dropout, ct_default_rng(), "dropout");
        }
    }
    int count = self->layers * self->directions;
    last->h = ct_stack(h, count, 0);
    if (self->lstm) last->c = ct_stack(c, count, 0);
    return x;
}

static bool check_state(const char *op, const char *what, const recurrent_self *self, int64_t batch,
                        const ct_tensor *state) {
    ct_shape expected = CT_SHAPE(self->layers * self->directions, batch, self->hidden);
    if (!state || ct_shape_equal(state->shape, expected)) return true;
    return ct_fail_bool("%s: %s is %s, expected %s", op, what, ct_tensor_text(state),
                        ct_shape_text(expected));
}

static ct_tensor *run(const ct_module_class *class, ct_module *module, ct_tensor *x,
                      recurrent_state given, ct_tensor *lengths, ct_tensor **h_last,
                      ct_tensor **c_last) {
    const char *type = class->name;
    if (h_last) *h_last = NULL;
    if (c_last) *c_last = NULL;
    bool packed = x && lengths && x->shape.ndim == 2;
    if (!ct_module_is(type, module, class) || !ct_nn_input(type, "x", x, packed ? 2 : 3)) {
        return NULL;
    }
    const recurrent_self *self = ct_module_self(module);
    if (x->shape.dim[x->shape.ndim - 1] != self->in) {
        return ct_fail("%s: x is %s, expected (%s,%lld)", type, ct_tensor_text(x),
                       packed ? "R" : "B,T", (long long)self->in);
    }
    int64_t batch = packed ? ct_count(lengths) : x->shape.dim[0];
    if (!check_state(type, "h0", self, batch, given.h) ||
        !check_state(type, "c0", self, batch, given.c)) {
        return NULL;
    }
    CT_SCOPE {
        recurrent_state last = {0};
        ct_tensor *y = ct_escape(run_layers(module, self, x, given, lengths, &last));
        if (y && h_last) *h_last = ct_escape(last.h);
        if (y && c_last) *c_last = ct_escape(last.c);
        return y;
    }
    return NULL;
}

/* ---- GRU -------------------------------------------------------------------------------- */

ct_module *ct_gru_create(int64_t in, int64_t hidden, const ct_rnn_options *options) {
    return create(&gru_class, in, hidden, options);
}

ct_tensor *ct_gru(ct_module *gru, ct_tensor *x, ct_tensor *h0, ct_tensor *lengths,
                  ct_tensor **h_last) {
    return run(&gru_class, gru, x, (recurrent_state){.h = h0}, lengths, h_last, NULL);
}

/* ---- LSTM ------------------------------------------------------------------------------- */

ct_module *ct_lstm_create(int64_t in, int64_t hidden, const ct_rnn_options *options) {
    return create(&lstm_class, in, hidden, options);
}

ct_tensor *ct_lstm(ct_module *lstm, ct_tensor *x, ct_tensor *h0, ct_tensor *c0, ct_tensor *lengths,
                   ct_tensor **h_last, ct_tensor **c_last) {
    if ((h0 == NULL) != (c0 == NULL)) {
        return ct_ok() ? ct_fail("lstm: h0 and c0: give both or neither") : NULL;
    }
    return run(&lstm_class, lstm, x, (recurrent_state){h0, c0}, lengths, h_last, c_last);
}

/* ---- one step --------------------------------------------------------------------------- */

static ct_tensor *cell_forward(ct_module *cell, ct_tensor *x) { return ct_gru_cell(cell, x, NULL); }

static const ct_module_class cell_class = {"gru_cell", cell_forward};

ct_module *ct_gru_cell_create(int64_t in, int64_t hidden) {
    if (!ct_nn_size("gru_cell", "in", in) || !ct_nn_size("gru_cell", "hidden", hidden)) return NULL;
    ct_module *cell = ct_module_create_as(&cell_class, NULL, 0);
    double bound = 1 / sqrt((double)hidden);
    bool ok = cell && ct_module_uniform(cell, "weight_ih", CT_SHAPE(3 * hidden, in), bound) &&
              ct_module_uniform(cell, "weight_hh", CT_SHAPE(3 * hidden, hidden), bound) &&
              ct_module_uniform(cell, "bias_ih", CT_SHAPE(3 * hidden), bound) &&
              ct_module_uniform(cell, "bias_hh", CT_SHAPE(3 * hidden), bound);
    return ct_module_if(cell, ok);
}

ct_tensor *ct_gru_cell(ct_module *cell, ct_tensor *x, ct_tensor *h) {
    if (!ct_module_is("gru_cell", cell, &cell_class) || !ct_nn_input("gru_cell", "x", x, 2)) {
        return NULL;
    }
    ct_tensor *y = ct_gru_with(ct_unsqueeze(x, 1), h, ct_module_own(cell, "weight_ih"),
                               ct_module_own(cell, "weight_hh"), ct_module_own(cell, "bias_ih"),
                               ct_module_own(cell, "bias_hh"), NULL, false, NULL);
    return ct_squeeze(y, 1);
}
