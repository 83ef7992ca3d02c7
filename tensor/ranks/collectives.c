/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives on tensors. A sum has two halves, which moves the fewest bytes for large tensors:
 * every rank adds up one part of all ranks' tensors, in the order of ranks, and then gathers the
 * other parts. What is moved at once is bounded, as MPI's counts are ints. */
#include <stdlib.h>
#include <string.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/core/view.h"
#include "tensor/device/backend.h"
#include "tensor/ops/ops.h"
#include "tensor/ranks/ranks.h"
#include "tensor/ranks/transport.h"

enum { MOST_BYTES = 1 << 25 }; /* of all ranks' at once */

bool ct_transport_went_well(const char *op, const char *error) {
    return !error || ct_fail_bool("%s: MPI says: %s", op, error);
}

bool ct_ranks_wait(void) {
    const ct_mpi *mpi = ct_transport();
    return !mpi || ct_transport_went_well("ranks_wait", mpi->wait());
}

bool ct_ranks_agree(bool yes) {
    const ct_mpi *mpi = ct_transport();
    if (!mpi) return yes;
    bool *all = calloc((size_t)mpi->ranks, sizeof *all);
    bool agreed = all ? ct_transport_went_well("ranks_agree", mpi->gather(&yes, all, sizeof yes))
                      : ct_fail_bool("ranks_agree: out of memory");
    for (int r = 0; agreed && r < mpi->ranks; r++) agreed = all[r];
    free(all);
    return agreed;
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* How many bytes of each rank are moved at once, a multiple of 8. */
static int64_t piece_of(const ct_mpi *mpi, int64_t bytes) {
    int64_t most = MOST_BYTES / mpi->ranks / 8 * 8;
    if (most < 8) most = 8;
    return bytes < most ? bytes : most;
}

/* Room for `piece` bytes of each rank, twice. */
static char *room_for(const char *op, const ct_mpi *mpi, int64_t piece) {
    char *room = malloc(2 * (size_t)mpi->ranks * (size_t)piece + 1);
    return room ? room : ct_fail("%s: out of memory", op);
}

/* `bytes` of each rank to all, in order. */
static bool gather_bytes(const char *op, const void *mine, void *all, int64_t bytes) {
    const ct_mpi *mpi = ct_transport();
    int64_t piece = piece_of(mpi, bytes);
    if (piece == bytes) return ct_transport_went_well(op, mpi->gather(mine, all, (int)bytes));
    char *room = room_for(op, mpi, piece);
    bool ok = room != NULL;
    for (int64_t at = 0; ok && at < bytes; at += piece) {
        size_t size = (size_t)(bytes - at < piece ? bytes - at : piece);
        ok = ct_transport_went_well(op, mpi->gather((const char *)mine + at, room, (int)size));
        for (int r = 0; ok && r < mpi->ranks; r++) {
            memcpy((char *)all + r * bytes + at, room + (size_t)r * size, size);
        }
    }
    free(room);
    return ok;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* A block of sums at a time, one rank after the other, so that memory is read in order. */
#define ADD_UP(type, wide)                                                               \
    static void add_up_##type(const type *theirs, int ranks, int64_t count, type *sum) { \
        enum { BLOCK = 512 };                                                            \
        for (int64_t at = 0; at < count; at += BLOCK) {                                  \
            wide block[BLOCK] = {0};                                                     \
            int64_t now = count - at < BLOCK ? count - at : BLOCK;                       \
            for (int64_t r = 0; r < ranks; r++) {                                        \
                const type *own = theirs + r * count + at;                               \
                for (int64_t i = 0; i < now; i++) block[i] += own[i];                    \
            }                                                                            \
            for (int64_t i = 0; i < now; i++) sum[at + i] = (type)block[i];              \
        }                                                                                \
    }
ADD_UP(float, double)
ADD_UP(double, double)
ADD_UP(int64_t, int64_t)

void ct_add_up(ct_dtype dtype, const void *theirs, int64_t count, void *sum) {
    int ranks = ct_ranks();
    if (dtype == CT_F32) add_up_float(theirs, ranks, count, sum);
    else if (dtype == CT_F64) add_up_double(theirs, ranks, count, sum);
    else add_up_int64_t(theirs, ranks, count, sum);
}

/* `mine` has `all` elements, in parts of `count`; beyond its end the last part counts as zeros.
 * Rank k adds up part k of all ranks into `sum`. */
static bool add_parts(const char *op, ct_dtype dtype, const char *mine, int64_t all, int64_t count,
                      char *sum) {
    const ct_mpi *mpi = ct_transport();
    int64_t size = (int64_t)ct_dtype_size(dtype), piece = piece_of(mpi, count * size) / size;
    char *room = room_for(op, mpi, piece * size);
    char *theirs = room ? room + mpi->ranks * piece * size : NULL;
    bool ok = room != NULL;
    for (int64_t at = 0; ok && at < count; at += piece) {
        int64_t now = count - at < piece ? count - at : piece;
        for (int64_t k = 0; k < mpi->ranks; k++) {
            int64_t from = k * count + at, there = all - from < now ? all - from : now;
            if (there < 0) there = 0;
            char *part = room + k * now * size;
            memcpy(part, mine + (there ? from : 0) * size, (size_t)(there * size));
            memset(part + there * size, 0, (size_t)((now - there) * size));
        }
        ok = ct_transport_went_well(op, mpi->exchange(room, theirs, (int)(now * size)));
        if (ok) ct_add_up(dtype, theirs, now, sum + at * size);
    }
    free(room);
    return ok;
}

/* A few elements are sent to all ranks, which all add them up. */
static bool add_few(const char *op, ct_dtype dtype, char *x, int64_t count) {
    const ct_mpi *mpi = ct_transport();
    int64_t bytes = count * (int64_t)ct_dtype_size(dtype);
    char *theirs = room_for(op, mpi, bytes);
    bool ok = theirs && gather_bytes(op, x, theirs, bytes);
    if (ok) ct_add_up(dtype, theirs, count, x);
    free(theirs);
    return ok;
}

static bool add_many(const char *op, ct_dtype dtype, char *x, int64_t count) {
    int64_t size = (int64_t)ct_dtype_size(dtype), ranks = ct_ranks();
    int64_t part = (count + ranks - 1) / ranks;
    char *sum = malloc((size_t)(part * size)), *all = malloc((size_t)(ranks * part * size));
    bool ok = sum && all ? true : ct_fail_bool("%s: out of memory", op);
    ok = ok && add_parts(op, dtype, x, count, part, sum) && gather_bytes(op, sum, all, part * size);
    if (ok) memcpy(x, all, (size_t)(count * size));
    free(sum);
    free(all);
    return ok;
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* The device that moves x, or NULL: the transport between hosts does. */
static const ct_backend *mover_of(const ct_tensor *x) {
    return x->device == CT_CPU ? NULL : ct_backend_of(x->device);
}

static bool can_be_added(const char *op, const ct_tensor *x) {
    if (!ct_check_input(op, x)) return false;
    return x->dtype == CT_F32 || x->dtype == CT_F64 || x->dtype == CT_I64 ||
           ct_fail_bool("%s: expected f32, f64 or i64, got %s", op, ct_tensor_text(x));
}

static bool is_contiguous(const char *op, const ct_tensor *x) {
    return ct_is_contiguous(x) || ct_fail_bool("%s: %s is not contiguous", op, ct_tensor_text(x));
}

bool ct_tensor_all_reduce(ct_tensor *x) {
    static const char op[] = "all_reduce";
    enum { FEW = 4096 }; /* bytes: a message's latency, not its length, is what it takes */
    if (!can_be_added(op, x) || !is_contiguous(op, x)) return false;
    int64_t count = ct_count(x), bytes = count * (int64_t)ct_dtype_size(x->dtype);
    if (!ct_transport() || count == 0) return true;
    ct_mark_written(x);
    const ct_backend *mover = mover_of(x);
    if (mover) return mover->all_reduce(&x, 1);
    return (bytes <= FEW ? add_few : add_many)(op, x->dtype, ct_data(x), count);
}

bool ct_all_reduce_on_device(const char *op, ct_tensor *const *x, int count) {
    for (int i = 0; i < count; i++) {
        if (!can_be_added(op, x[i]) || !is_contiguous(op, x[i])) return false;
        if (x[i]->device == CT_CPU || x[i]->device != x[0]->device) {
            return ct_fail_bool("%s: %s is on %s, another device than the rest", op,
                                ct_tensor_text(x[i]), ct_device_name(x[i]->device));
        }
    }
    for (int i = 0; i < count; i++) ct_mark_written(x[i]);
    return count == 0 || mover_of(x[0])->all_reduce(x, count);
}

/* x's shape with `rows` rows; an error for a scalar. */
static bool with_rows(const char *op, const ct_tensor *x, int64_t rows, ct_shape *shape) {
    *shape = x->shape;
    if (shape->ndim < 1) return ct_fail_bool("%s: %s has no rows", op, ct_tensor_text(x));
    shape->dim[0] = rows;
    return true;
}

ct_tensor *ct_tensor_all_gather(const ct_tensor *x) {
    static const char op[] = "all_gather";
    ct_shape shape;
    if (!ct_check_input(op, x)) return NULL;
    if (!with_rows(op, x, ct_ranks() * (x->shape.ndim ? x->shape.dim[0] : 0), &shape)) return NULL;
    if (!ct_transport()) return ct_tensor_copy(x);
    CT_SCOPE {
        const ct_tensor *dense = ct_tensor_contiguous(x);
        ct_tensor *all = dense ? ct_empty(x->dtype, x->device, shape) : NULL;
        if (!all) return NULL;
        int64_t bytes = ct_count(x) * (int64_t)ct_dtype_size(x->dtype);
        const ct_backend *mover = mover_of(x);
        bool ok = bytes == 0 || (mover ? mover->all_gather(all, dense)
                                       : gather_bytes(op, ct_data(dense), ct_data(all), bytes));
        return ok ? ct_escape(all) : NULL;
    }
    return NULL;
}

ct_tensor *ct_tensor_reduce_scatter(const ct_tensor *x) {
    static const char op[] = "reduce_scatter";
    ct_shape shape;
    if (!can_be_added(op, x)) return NULL;
    int64_t ranks = ct_ranks(), rows = x->shape.ndim ? x->shape.dim[0] : 0;
    if (!with_rows(op, x, rows / ranks, &shape)) return NULL;
    if (rows % ranks) {
        return ct_fail("%s: the rows of %s are no multiple of %lld ranks", op, ct_tensor_text(x),
                       (long long)ranks);
    }
    if (!ct_transport()) return ct_tensor_copy(x);
    CT_SCOPE {
        const ct_tensor *dense = ct_tensor_contiguous(x);
        ct_tensor *sum = dense ? ct_empty(x->dtype, x->device, shape) : NULL;
        if (!sum) return NULL;
        int64_t all = ct_count(x);
        const ct_backend *mover = mover_of(x);
        bool ok = all == 0 ||
                  (mover ? mover->reduce_scatter(sum, dense)
                         : add_parts(op, x->dtype, ct_data(dense), all, all / ranks, ct_data(sum)));
        return ok ? ct_escape(sum) : NULL;
    }
    return NULL;
}

bool ct_tensor_broadcast(ct_tensor *x, int from) {
    static const char op[] = "broadcast";
    if (!ct_check_input(op, x) || !is_contiguous(op, x)) return false;
    if (from < 0 || from >= ct_ranks()) {
        return ct_fail_bool("%s: from rank %d, expected 0 to %d", op, from, ct_ranks() - 1);
    }
    const ct_mpi *mpi = ct_transport();
    int64_t bytes = ct_count(x) * (int64_t)ct_dtype_size(x->dtype);
    bool ok = true;
    if (!mpi || bytes == 0) return true;
    ct_mark_written(x);
    const ct_backend *mover = mover_of(x);
    if (mover) return mover->broadcast(x, from);
    for (int64_t at = 0; ok && at < bytes; at += MOST_BYTES) {
        int64_t now = bytes - at < MOST_BYTES ? bytes - at : MOST_BYTES;
        ok = ct_transport_went_well(op, mpi->broadcast((char *)ct_data(x) + at, (int)now, from));
    }
    return ok;
}
