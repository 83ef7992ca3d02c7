/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of every channel by itself, and its gradients, for one type: a template, included by
 * cpu/fused_conv2d.c after real_f32.h or real_f64.h. A plane (a channel of a picture) is copied to
 * where it has zeros around it and every position of the kernel is a run of neighbours
 * (`phases`); then no loop has an edge. */

typedef real REAL_NAME(vector)
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

/* out[i] = sum over k of weight[k] in[i + offset[k]] for i below count, a multiple of BLOCK. */
static void REAL_NAME(correlate)(real *out, const real *in, const int64_t *offset,
                                 const real *weight, int taps, int64_t count) {
    typedef REAL_NAME(vector) vector;
    enum { LANES = VECTOR_BYTES / sizeof(real) };
    for (int64_t i = 0; i < count; i += 4 * LANES) {
        vector a = {0}, b = {0}, c = {0}, d = {0};
        for (int k = 0; k < taps; k++) {
            const real *from = in + i + offset[k];
            const real w = weight[k];
            a += w * *(const vector *)from;
            b += w * *(const vector *)(from + LANES);
            c += w * *(const vector *)(from + 2 * LANES);
            d += w * *(const vector *)(from + 3 * LANES);
        }
        *(vector *)(out + i) = a;
        *(vector *)(out + i + LANES) = b;
        *(vector *)(out + i + 2 * LANES) = c;
        *(vector *)(out + i + 3 * LANES) = d;
    }
}

static double REAL_NAME(sum_lanes)(REAL_NAME(vector) v) {
    double sum = 0;
    for (size_t i = 0; i < VECTOR_BYTES / sizeof(real); i++) sum += (double)v[i];
    return sum;
}

/* sum[k] += the sum over i below count of g[i] in[i + offset[k]]; five positions share a reading of
 * g. count is a multiple of BLOCK. */
static void REAL_NAME(dots)(double *sum, const real *g, const real *in, const int64_t *offset,
                            int taps, int64_t count) {
    typedef REAL_NAME(vector) vector;
    enum { LANES = VECTOR_BYTES / sizeof(real), AT_ONCE = 5 };
    for (int first = 0; first < taps; first += AT_ONCE) {
        const real *from[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++) {
            from[k] = in + offset[first + k < taps ? first + k : first];
        }
        vector a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
        for (int64_t i = 0; i < count; i += LANES) {
            const vector v = *(const vector *)(g + i);
            a += v * *(const vector *)(from[0] + i);
            b += v * *(const vector *)(from[1] + i);
            c += v * *(const vector *)(from[2] + i);
            d += v * *(const vector *)(from[3] + i);
            e += v * *(const vector *)(from[4] + i);
        }
        const vector all[AT_ONCE] = {a, b, c, d, e};
        for (int k = 0; k < AT_ONCE && first + k < taps; k++) {
            sum[first + k] += REAL_NAME(sum_lanes)(all[k]);
        }
    }
}

/* A plane of height x width to its phases, from row `top` and column `left` of them on; where it
 * was not written before there are zeros. */
static void REAL_NAME(scatter_plane)(real *to, const real *plane, int64_t height, int64_t width,
                                     phases p, int64_t top, int64_t left) {
    int64_t s = p.stride, block = p.depth * p.pitch;
    for (int64_t y = 0; y < height && (y + top) / s < p.depth; y++) {
        int64_t r = y + top;
        real *row = to + r % s * s * block + r / s * p.pitch;
        for (int64_t phase = 0; phase < s; phase++) {
            /* columns x with (x + left) % s == phase */
            int64_t first = ((phase - left) % s + s) % s, at = (first + left) / s;
            int64_t count = first < width ? (width - 1 - first) / s + 1 : 0;
            if (count > p.pitch - at) count = p.pitch - at;
            real *out = row + phase * block + at;
            const real *in = plane + y * width + first;
            if (s == 1) {
                if (count > 0) memcpy(out, in, (size_t)count * sizeof *out);
            } else {
                for (int64_t i = 0; i < count; i++) out[i] = in[i * s];
            }
        }
    }
}

/* Where each position of the kernel begins among the phases. */
static int REAL_NAME(place_taps)(int64_t *offset, const conv *c, phases p) {
    int taps = 0;
    for (int64_t k = 0; k < c->kernel_h * c->kernel_w; k++) {
        int64_t down = k / c->kernel_w * c->dilation, right = k % c->kernel_w * c->dilation;
        int64_t phase = down % p.stride * p.stride + right % p.stride;
        offset[taps++] = (phase * p.depth + down / p.stride) * p.pitch + right / p.stride;
    }
    return taps;
}

/* ---- y ---------------------------------------------------------------------------------- */

static void REAL_NAME(write_row)(real *y, const real *from, const real *added, int64_t count,
                                 real shift, real low, real high) {
    if (added) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            real v = from[i] + shift + added[i];
            y[i] = R_WITHIN(v, low, high);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            real v = from[i] + shift;
            y[i] = R_WITHIN(v, low, high);
        }
    }
}

/* A task is a plane of y. */
CT_PART REAL_NAME(depthwise_planes)(ct_part part, ct_tensor *y, const ct_tensor *x,
                                    const ct_tensor *weight, const finish *f, const conv *c,
                                    char *room) {
    phases p = phases_of(c);
    real *planes = (real *)room + omp_get_thread_num() * depthwise_room(c);
    real *run = planes + phases_size(p);
    const real *bias = ct_cpu_data_or_null(f->bias), *added = ct_cpu_data_or_null(f->added);
    const real low = f->activation == CT_NO_ACTIVATION ? -R(INFINITY) : R(0);
    const real high = f->activation == CT_RELU6 ? R(6) : R(INFINITY);
    int64_t offset[MOST_TAPS], size = c->rows * c->columns, count = run_of(c->rows, p.pitch);
    int taps = REAL_NAME(place_taps)(offset, c, p);
    memset(planes, 0, (size_t)depthwise_room(c) * sizeof *planes);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        int64_t channel = plane % c->in;
        REAL_NAME(scatter_plane)
        (planes, (const real *)ct_cpu_data(x) + plane * c->height * c->width, c->height, c->width,
         p, p.before, p.before);
        REAL_NAME(correlate)
        (run, planes, offset, (const real *)ct_cpu_data(weight) + channel * taps, taps, count);
        for (int64_t h = 0; h < c->rows; h++) {
            int64_t at = plane * size + h * c->columns;
            REAL_NAME(write_row)
            ((real *)ct_cpu_data(y) + at, run + h * p.pitch, added ? added + at : NULL, c->columns,
             bias ? bias[channel] : 0, low, high);
        }
    }
}

/* ---- the gradient of x ------------------------------------------------------------------ */

/* The positions of the kernel through which phase (row, column) of x reaches outputs, as offsets
 * among the gradients of outputs g. */
static int REAL_NAME(taps_of_phase)(int64_t *offset, real *taps, const real *weight, const conv *c,
                                    phases g, int64_t row, int64_t column) {
    int64_t s = c->stride, count = 0;
    int64_t bottom = (c->kernel_h - 1) * c->dilation / s,
            right = (c->kernel_w - 1) * c->dilation / s;
    for (int64_t k = 0; k < c->kernel_h * c->kernel_w; k++) {
        int64_t r = k / c->kernel_w * c->dilation, q = k % c->kernel_w * c->dilation;
        if (r % s != row || q % s != column) continue;
        offset[count] = (bottom - r / s) * g.pitch + right - q / s;
        taps[count++] = weight[k];
    }
    return (int)count;
}

/* The elements of a plane of gx that are in this phase, from a run. */
static void REAL_NAME(gather_phase)(real *gx, const real *run, const conv *c, int64_t pitch,
                                    int64_t row, int64_t column) {
    int64_t s = c->stride, top = ((row - c->before) % s + s) % s;
    int64_t left = ((column - c->before) % s + s) % s;
    for (int64_t y = top; y < c->height; y += s) {
        const real *from = run + (y + c->before) / s * pitch + (left + c->before) / s;
        real *to = gx + y * c->width;
        for (int64_t x = left; x < c->width; x += s) to[x] = from[(x - left) / s];
    }
}

/* A task is a plane of gx. */
CT_PART REAL_NAME(depthwise_grad_planes)(ct_part part, ct_tensor *gx, const ct_tensor *g,
                                         const ct_tensor *weight, const conv *c, char *room) {
    phases p = grad_phases_of(c);
    real *planes = (real *)room + omp_get_thread_num() * depthwise_room(c);
    real *run = planes + phases_size(p), taps[MOST_TAPS];
    int64_t offset[MOST_TAPS], size = c->kernel_h * c->kernel_w, s = c->stride;
    int64_t bottom = (c->kernel_h - 1) * c->dilation / s;
    int64_t right = (c->kernel_w - 1) * c->dilation / s;
    int64_t count = run_of(p.depth - bottom, p.pitch);
    memset(planes, 0, (size_t)depthwise_room(c) * sizeof *planes);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        const real *from = (const real *)ct_cpu_data(g) + plane * c->rows * c->columns;
        const real *of_channel = (const real *)ct_cpu_data(weight) + plane % c->in * size;
        real *to = (real *)ct_cpu_data(gx) + plane * c->height * c->width;
        REAL_NAME(scatter_plane)(planes, from, c->rows, c->columns, p, bottom, right);
        for (int64_t phase = 0; phase < s * s; phase++) {
            int n = REAL_NAME(taps_of_phase)(offset, taps, of_channel, c, p, phase / s, phase % s);
            REAL_NAME(correlate)(run, planes, offset, taps, n, count);
            REAL_NAME(gather_phase)(to, run, c, p.pitch, phase / s, phase % s);
        }
    }
}

/* ---- the gradient of weights ------------------------------------------------------------ */

/* A task is a channel, over all pictures in their order. */
CT_PART REAL_NAME(depthwise_grad_channels)(ct_part part, ct_tensor *gweight, const ct_tensor *g,
                                           const ct_tensor *x, const conv *c, char *room) {
    phases p = phases_of(c), outputs = {1, 0, c->rows, p.pitch};
    real *planes = (real *)room + omp_get_thread_num() * depthwise_room(c);
    real *run = planes + phases_size(p);
    int64_t offset[MOST_TAPS], count = run_of(c->rows, p.pitch), size = c->rows * c->columns;
    int taps = REAL_NAME(place_taps)(offset, c, p);
    memset(planes, 0, (size_t)depthwise_room(c) * sizeof *planes);
    for (int64_t channel = part.begin; channel < part.end; channel++) {
        double sum[MOST_TAPS] = {0};
        for (int64_t i = 0; i < c->batch; i++) {
            int64_t plane = i * c->in + channel;
            REAL_NAME(scatter_plane)
            (planes, (const real *)ct_cpu_data(x) + plane * c->height * c->width, c->height,
             c->width, p, p.before, p.before);
            REAL_NAME(scatter_plane)
            (run, (const real *)ct_cpu_data(g) + plane * size, c->rows, c->columns, outputs, 0, 0);
            REAL_NAME(dots)(sum, run, planes, offset, taps, count);
        }
        real *to = (real *)ct_cpu_data(gweight) + channel * taps;
        for (int k = 0; k < taps; k++) to[k] = (real)sum[k];
    }
}

/* ---- kernels ---------------------------------------------------------------------------- */

static bool REAL_NAME(depthwise)(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                                 const finish *f, const conv *c) {
    int threads = ct_cpu_threads(ct_count(y) * c->kernel_h * c->kernel_w);
    CT_SCOPE {
        char *room = room_for(y, threads, depthwise_room(c));
        if (!room) return false;
        CT_IN_PARTS(threads, c->batch * c->out,
                    REAL_NAME(depthwise_planes)(part, y, x, weight, f, c, room));
    }
    return true;
}

static bool REAL_NAME(depthwise_grad_x)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                                        const conv *c) {
    int threads = ct_cpu_threads(ct_count(gx) * c->kernel_h * c->kernel_w);
    CT_SCOPE {
        char *room = room_for(gx, threads, depthwise_room(c));
        if (!room) return false;
        CT_IN_PARTS(threads, c->batch * c->in,
                    REAL_NAME(depthwise_grad_planes)(part, gx, g, weight, c, room));
    }
    return true;
}

static bool REAL_NAME(depthwise_grad_weight)(ct_tensor *gweight, const ct_tensor *g,
                                             const ct_tensor *x, const conv *c) {
    int threads = ct_cpu_threads(ct_count(g) * c->kernel_h * c->kernel_w);
    CT_SCOPE {
        char *room = room_for(g, threads, depthwise_room(c));
        if (!room) return false;
        CT_IN_PARTS(threads, c->in,
                    REAL_NAME(depthwise_grad_channels)(part, gweight, g, x, c, room));
    }
    return true;
}
