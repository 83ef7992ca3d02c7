/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution by products, for one type: a template, included by cpu/fused_conv2d.c after
 * real_f32.h or real_f64.h. */

/* Rows `first` to end - 1 of a position of the kernel over a plane of x, one after the other. */
static void REAL_NAME(unfold_rows)(real *out, const real *plane, const conv *c, int64_t k,
                                   int64_t first, int64_t end) {
    int64_t left = k % c->kernel_w * c->dilation - c->before;
    int64_t top = k / c->kernel_w * c->dilation - c->before;
    span inside = span_of(c->columns, left, c->stride, c->width);
    for (int64_t h = first; h < end; h++, out += c->columns) {
        int64_t y = h * c->stride + top;
        if (y < 0 || y >= c->height || inside.first == inside.end) {
            memset(out, 0, (size_t)c->columns * sizeof *out);
            continue;
        }
        const real *in = plane + y * c->width + left;
        for (int64_t w = 0; w < inside.first; w++) out[w] = 0;
        if (c->stride == 1) {
            memcpy(out + inside.first, in + inside.first,
                   (size_t)(inside.end - inside.first) * sizeof *out);
        } else {
            for (int64_t w = inside.first; w < inside.end; w++) out[w] = in[w * c->stride];
        }
        for (int64_t w = inside.end; w < c->columns; w++) out[w] = 0;
    }
}

/* What a task is made of. */
typedef struct {
    int64_t picture, pictures, first, end; /* pictures from `picture` on, rows first to end - 1 */
    int64_t group, channel, channels;      /* output channels from `channel` of all on */
    int64_t columns;                       /* of the product */
} REAL_NAME(piece);

static REAL_NAME(piece) REAL_NAME(piece_of)(const conv *c, const tiling *t, int64_t task) {
    REAL_NAME(piece) p;
    int64_t part = task % t->parts, group = task / t->parts % c->groups;
    int64_t tile = task / t->parts / c->groups;
    p.picture = tile / t->of_picture * t->pictures;
    p.pictures = c->batch - p.picture < t->pictures ? c->batch - p.picture : t->pictures;
    p.first = tile % t->of_picture * t->rows;
    p.end = p.first + t->rows < c->rows ? p.first + t->rows : c->rows;
    p.group = group;
    p.channel = group * t->outputs + t->outputs * part / t->parts;
    p.channels = group * t->outputs + t->outputs * (part + 1) / t->parts - p.channel;
    p.columns = p.pictures * (p.end - p.first) * c->columns;
    return p;
}

/* (inputs, columns) */
static void REAL_NAME(unfold_piece)(real *patches, const real *x, const conv *c, const tiling *t,
                                    const REAL_NAME(piece) * p) {
    int64_t kernel = c->kernel_h * c->kernel_w, of_group = c->in / c->groups;
    int64_t places = (p->end - p->first) * c->columns;
    for (int64_t i = 0; i < t->inputs; i++) {
        for (int64_t k = 0; k < p->pictures; k++) {
            int64_t plane = (p->picture + k) * c->in + p->group * of_group + i / kernel;
            REAL_NAME(unfold_rows)
            (patches + i * p->columns + k * places, x + plane * c->height * c->width, c, i % kernel,
             p->first, p->end);
        }
    }
}

/* Outputs from where the product left them, `from` (channels, pitch), to y; they may be there
 * already. */
static void REAL_NAME(write_piece)(real *y, const real *from, int64_t pitch, const finish *f,
                                   const conv *c, const REAL_NAME(piece) * p) {
    const real *bias = ct_cpu_data_or_null(f->bias), *added = ct_cpu_data_or_null(f->added);
    const real low = f->activation == CT_NO_ACTIVATION ? -R(INFINITY) : R(0);
    const real high = f->activation == CT_RELU6 ? R(6) : R(INFINITY);
    int64_t places = (p->end - p->first) * c->columns;
    for (int64_t k = 0; k < p->pictures; k++) {
        for (int64_t o = 0; o < p->channels; o++) {
            int64_t channel = p->channel + o;
            int64_t at = (((p->picture + k) * c->out + channel) * c->rows + p->first) * c->columns;
            REAL_NAME(write_row)
            (y + at, from + o * pitch + k * places, added ? added + at : NULL, places,
             bias ? bias[channel] : 0, low, high);
        }
    }
}

CT_PART REAL_NAME(conv_tasks)(ct_part part, ct_tensor *y_tensor, const ct_tensor *x_tensor,
                              const ct_tensor *weight, const finish *f, const conv *c,
                              const tiling *t, char *room, atomic_bool *done) {
    real *patches = (real *)room + omp_get_thread_num() * tile_room(c, t);
    const real *x = ct_cpu_data(x_tensor), *matrix = ct_cpu_data(weight);
    real *y = ct_cpu_data(y_tensor);
    int64_t places = c->rows * c->columns;
    for (int64_t task = part.begin; task < part.end; task++) {
        REAL_NAME(piece) p = REAL_NAME(piece_of)(c, t, task);
        const real *from = patches;
        int64_t pitch = p.columns, to_pitch = p.columns;
        if (t->plain) {
            from = x + (p.picture * c->in + p.group * t->inputs) * places + p.first * c->columns;
            pitch = places;
        } else {
            REAL_NAME(unfold_piece)(patches, x, c, t, &p);
        }
        real *to = patches + t->inputs * p.columns;
        if (t->pictures == 1) {
            to = y + (p.picture * c->out + p.channel) * places + p.first * c->columns;
            to_pitch = places;
        }
        if (!REAL_NAME(product)(t, p.channels, p.columns, t->inputs, matrix + p.channel * t->inputs,
                                from, pitch, to, to_pitch)) {
            *done = false;
            return;
        }
        if (t->pictures > 1 || f->bias || f->added || f->activation != CT_NO_ACTIVATION) {
            REAL_NAME(write_piece)(y, to, to_pitch, f, c, &p);
        }
    }
}

/* Either library runs on one thread always (cpu/matmul.c says why). */
static bool REAL_NAME(by_products)(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                                   const finish *f, const conv *c) {
    tiling t = tile(c);
    double product = (double)t.inputs * (double)t.outputs / (double)t.parts *
                     (double)(t.pictures * t.rows * c->columns);
    t.onednn = y->dtype == CT_F32 && product >= ct_onednn_least_product();
    if (!ct_ok()) return false;
    atomic_bool done = true;
    int available = omp_get_max_threads();
    int threads = ct_cpu_threads(ct_count(y) * t.inputs / 16);
    if (threads > t.tasks) threads = (int)t.tasks;
    ct_blas_on_one_thread();
    CT_SCOPE {
        char *room = room_for(y, threads, tile_room(c, &t));
        if (!room) return false;
        if (threads == 1) omp_set_num_threads(1);
        CT_IN_PARTS(threads, t.tasks,
                    REAL_NAME(conv_tasks)(part, y, x, weight, f, c, &t, room, &done));
        omp_set_num_threads(available);
    }
    return done || ct_fail_bool("conv2d: out of memory");
}

/* What BLAS can be told the sizes of; of others unfolded parts are smaller. */
static bool REAL_NAME(has_sizes)(const conv *c) {
    return c->rows * c->columns <= INT32_MAX && c->in / c->groups > 0 &&
           c->in / c->groups * c->kernel_h * c->kernel_w <= INT32_MAX && c->out <= INT32_MAX;
}

bool REAL_KERNEL(conv2d)(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                         const ct_tensor *bias, const ct_tensor *added, ct_activation activation,
                         ct_tensor_conv2d_options options, bool *done) {
    const conv c = conv_of(x, weight, y, options);
    const finish f = {bias, added, activation};
    *done = true;
    if (is_depthwise(&c)) return REAL_NAME(depthwise)(y, x, weight, &f, &c);
    if (y->dtype == CT_F32) {
        if (!by_onednn(y, x, weight, &f, &c, options, done)) return false;
        if (*done) return true;
    }
    *done = REAL_NAME(has_sizes)(&c);
    return !*done || REAL_NAME(by_products)(y, x, weight, &f, &c);
}

bool REAL_KERNEL(conv2d_grad_x)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                                ct_tensor_conv2d_options options, bool *done) {
    const conv c = conv_of(gx, weight, g, options);
    *done = is_depthwise(&c);
    if (*done) return REAL_NAME(depthwise_grad_x)(gx, g, weight, &c);
    if (gx->dtype != CT_F32 || is_long_product(&c)) return true;
    return ct_onednn_conv2d_grad_x(gx, g, weight, options, done);
}

bool REAL_KERNEL(conv2d_grad_weight)(ct_tensor *gweight, const ct_tensor *g, const ct_tensor *x,
                                     ct_tensor_conv2d_options options, bool *done) {
    const conv c = conv_of(x, gweight, g, options);
    *done = is_depthwise(&c);
    if (*done) return REAL_NAME(depthwise_grad_weight)(gweight, g, x, &c);
    if (x->dtype != CT_F32 || is_long_product(&c)) return true;
    return ct_onednn_conv2d_grad_weight(gweight, g, x, options, done);
}
