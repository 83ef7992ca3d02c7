/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients stand one after the other in a flat buffer, in the order in which backward completes
 * them, and pieces of it, buckets, are added up over ranks as soon as they are filled. Sums are
 * made in place, and a parameter's gradient becomes a view of the buffer.
 *
 * Every rank has the same buckets: rank 0's order, told when the first such backward has ended
 * and whenever other parameters than before had a gradient. Which do, on any rank, all know. */
#include "nn/optim/reducer.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/ranks/begun.h"

enum {
    BUCKET_BYTES = 1 << 20,
    APART = 16, /* elements: where a gradient begins, kernels find their alignment */
};

static const char op[] = "optimizer_all_reduce";

typedef struct {
    ct_reducer *reducer;
    ct_optimizer_slot *slot;
    int hook;      /* 0: none */
    bool complete; /* since ct_reducer_begin */
    bool added;    /* its gradient is the sum */
    int place;     /* in the plan; -1: none */
} member;

/* Gradients of one dtype, in one buffer. */
typedef struct {
    member **members;
    int64_t *at; /* where each one's begins */
    bool *there; /* whether it is in the buffer */
    int count, filled;
    int64_t total, bucket; /* elements */
    ct_tensor *buffer;     /* kept */
    ct_begun_sum **sums;
    int begun, ended, buckets;
} flat;

struct ct_reducer {
    ct_optimizer *optimizer;
    member *members; /* as the optimiser's slots */
    int64_t *order;  /* of those completed in this backward: their numbers */
    int completed;
    flat *plan; /* NULL until the order is known */
    bool begun; /* a backward is on its way */
    ct_dtype wire;
    int64_t bucket_bytes;
};

/* ---- a flat buffer ----------------------------------------------------------------------- */

static void flat_destroy(flat *f) {
    if (!f) return;
    free(f->members);
    free(f->at);
    free(f->there);
    free(f->sums);
    ct_release(f->buffer);
    free(f);
}

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static void lay_out(flat *f, int64_t bucket_bytes) {
    const ct_tensor *one = f->members[0]->slot->parameter;
    int64_t size = (int64_t)ct_dtype_size(one->dtype), ranks = ct_ranks();
    for (int i = 0; i < f->count; i++) {
        f->at[i] = f->total;
        f->total = round_up(f->total + ct_count(f->members[i]->slot->parameter), APART);
    }
    f->total = round_up(f->total, ranks); /* each of which adds up as many */
    f->bucket = round_up((bucket_bytes + size - 1) / size, ranks);
    f->buckets = (int)((f->total + f->bucket - 1) / f->bucket);
}

/* Of at least one member, all of one dtype. */
static flat *flat_create(member **members, int count, int64_t bucket_bytes) {
    flat *f = calloc(1, sizeof *f);
    size_t n = (size_t)count;
    if (f) {
        *f = (flat){.members = malloc(n * sizeof *members),
                    .at = malloc(n * sizeof *f->at),
                    .there = calloc(n, sizeof *f->there),
                    .count = count};
    }
    bool ok = f && f->members && f->at && f->there;
    if (ok) {
        memcpy(f->members, members, n * sizeof *members);
        lay_out(f, bucket_bytes);
        f->sums = calloc((size_t)f->buckets + 1, sizeof(ct_begun_sum *));
        ok = f->sums != NULL;
    }
    if (ok) return f;
    flat_destroy(f);
    return ct_fail("%s: out of memory", op);
}

/* Empty again; a new buffer where somebody still looks at the last one's gradients. */
static bool flat_start(flat *f) {
    f->filled = f->begun = f->ended = 0;
    memset(f->there, 0, (size_t)f->count * sizeof *f->there);
    if (ct_is_exclusive(f->buffer)) return true;
    ct_release(f->buffer);
    f->buffer = NULL;
    const ct_tensor *one = f->members[0]->slot->parameter;
    CT_SCOPE { f->buffer = ct_keep(ct_zeros(one->dtype, one->device, CT_SHAPE(f->total))); }
    return f->buffer != NULL;
}

/* Begins the sums of all buckets that are filled. */
static bool begin_filled(flat *f, ct_dtype wire) {
    int64_t until = f->filled == f->count ? f->total : f->at[f->filled];
    bool ok = true;
    while (ok && f->begun < f->buckets) {
        int64_t from = f->begun * f->bucket, to = from + f->bucket;
        if (to > f->total) to = f->total;
        if (to > until) break;
        ok = false;
        CT_SCOPE {
            ct_tensor *bucket = ct_tensor_slice(f->buffer, 0, from, to, 1);
            f->sums[f->begun] = bucket ? ct_sum_begin(bucket, wire) : NULL;
            ok = f->sums[f->begun] != NULL;
        }
        if (ok) f->begun++;
    }
    return ok;
}

static ct_tensor *place_of(const flat *f, int i) {
    const ct_tensor *parameter = f->members[i]->slot->parameter;
    int64_t from = f->at[i], to = from + ct_count(parameter);
    ct_tensor *place = ct_tensor_slice(f->buffer, 0, from, to, 1);
    return place ? ct_tensor_reshape(place, parameter->shape) : NULL;
}

/* Member i's gradient, zeros if it has none, comes into the buffer. */
static bool flat_put(flat *f, int i, const ct_tensor *grad) {
    if (f->there[i]) return true;
    bool ok = false;
    CT_SCOPE {
        ct_tensor *place = place_of(f, i);
        ok = place && (grad ? ct_tensor_copy_to(place, grad) : ct_tensor_fill(place, 0));
    }
    f->there[i] = true;
    while (f->filled < f->count && f->there[f->filled]) f->filled++;
    return ok;
}

/* What is missing comes in, all is added up, and those that had a gradient get their sum. */
static bool flat_end(flat *f, ct_dtype wire) {
    bool ok = true;
    for (int i = 0; ok && i < f->count; i++) {
        ok = flat_put(f, i, ct_grad(f->members[i]->slot->parameter)) && begin_filled(f, wire);
    }
    for (; ok && f->ended < f->begun; f->ended++) ok = ct_sum_end(f->sums[f->ended]);
    for (int i = 0; ok && i < f->count; i++) {
        ct_tensor *parameter = f->members[i]->slot->parameter;
        if (!ct_grad(parameter)) continue;
        CT_SCOPE { ok = ct_set_grad(parameter, place_of(f, i)); }
        f->members[i]->added = true;
    }
    return ok;
}

/* ---- creation ---------------------------------------------------------------------------- */

ct_reducer *ct_reducer_of(ct_optimizer *optimizer) {
    if (optimizer->reducer) return optimizer->reducer;
    size_t n = (size_t)optimizer->count + 1;
    ct_reducer *r = calloc(1, sizeof *r);
    member *members = calloc(n, sizeof *members);
    int64_t *order = calloc(n, sizeof *order);
    if (!r || !members || !order) {
        free(r);
        free(members);
        free(order);
        return ct_fail("%s: out of memory", op);
    }
    for (int i = 0; i < optimizer->count; i++) {
        members[i] = (member){.reducer = r, .slot = &optimizer->slots[i], .place = -1};
    }
    *r = (ct_reducer){.optimizer = optimizer,
                      .members = members,
                      .order = order,
                      .wire = CT_F64,
                      .bucket_bytes = BUCKET_BYTES};
    return optimizer->reducer = r;
}

static void remove_hooks(ct_reducer *r) {
    for (int i = 0; i < r->optimizer->count; i++) {
        member *m = &r->members[i];
        if (m->hook) ct_remove_hook(m->slot->parameter, m->hook);
        m->hook = 0;
    }
}

static void drop_plan(ct_reducer *r) {
    for (int i = 0; i < r->optimizer->count; i++) r->members[i].place = -1;
    flat_destroy(r->plan);
    r->plan = NULL;
}

void ct_reducer_destroy(ct_reducer *r) {
    if (!r) return;
    remove_hooks(r);
    drop_plan(r);
    free(r->members);
    free(r->order);
    free(r);
}

void ct_reducer_set_wire(ct_reducer *r, ct_dtype wire) { r->wire = wire; }

void ct_reducer_set_bucket(ct_reducer *r, int64_t bytes) {
    r->bucket_bytes = bytes;
    if (!r->begun) drop_plan(r);
}

/* ---- while backward runs ----------------------------------------------------------------- */

static void complete(void *context, ct_tensor *parameter, ct_tensor *grad) {
    (void)parameter;
    member *m = context;
    ct_reducer *r = m->reducer;
    if (m->complete) {
        ct_fail("%s: a second backward added to the gradient of '%s', which was on its way", op,
                m->slot->name);
        return;
    }
    m->complete = true;
    r->order[r->completed++] = m - r->members;
    if (m->place >= 0 && flat_put(r->plan, m->place, grad)) begin_filled(r->plan, r->wire);
    if (ct_ok()) ct_sums_go_on();
}

bool ct_reducer_begin(ct_reducer *r) {
    if (r->begun) {
        return ct_fail_bool("%s_begin: the last one was not finished by ct_optimizer_all_reduce",
                            op);
    }
    if (r->plan && !flat_start(r->plan)) return false;
    r->completed = 0;
    for (int i = 0; i < r->optimizer->count; i++) {
        member *m = &r->members[i];
        m->complete = false;
        if (!m->slot->updates || !ct_requires_grad(m->slot->parameter)) continue;
        m->hook = ct_add_hook(m->slot->parameter, complete, m);
        if (!m->hook) break;
    }
    if (!ct_ok()) remove_hooks(r);
    return r->begun = ct_ok();
}

/* ---- afterwards -------------------------------------------------------------------------- */

/* i64 (slots): how many ranks have a gradient of each, by which something is updated. One that
 * others have and this rank has not becomes 0. */
static ct_tensor *agree(ct_reducer *r) {
    int count = r->optimizer->count;
    ct_tensor *having = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(count));
    int64_t *ranks = having ? ct_data(having) : NULL;
    if (!having) return NULL;
    for (int i = 0; i < count; i++) {
        const ct_optimizer_slot *s = r->members[i].slot;
        ranks[i] = s->updates && ct_grad(s->parameter);
    }
    if (!ct_tensor_all_reduce(having)) return NULL;
    for (int i = 0; i < count; i++) {
        ct_tensor *p = r->members[i].slot->parameter;
        if (ranks[i] && !ct_grad(p) && !ct_set_grad(p, ct_zeros(p->dtype, p->device, p->shape))) {
            return NULL;
        }
    }
    return having;
}

/* Those that have a gradient of the dtype and no sum of it yet. */
static int list_remaining(const ct_reducer *r, const int64_t *having, ct_dtype dtype,
                          member **list) {
    int listed = 0;
    for (int i = 0; i < r->optimizer->count; i++) {
        member *m = &r->members[i];
        if (having[i] && !m->added && m->slot->parameter->dtype == dtype) list[listed++] = m;
    }
    return listed;
}

static bool add_remaining(const ct_reducer *r, const int64_t *having, ct_dtype dtype,
                          member **list) {
    int count = list_remaining(r, having, dtype, list);
    if (count == 0) return true;
    flat *f = flat_create(list, count, r->bucket_bytes);
    bool ok = f && flat_start(f) && flat_end(f, r->wire);
    flat_destroy(f);
    return ok;
}

/* Whether the plan has just those members that had a gradient, of its dtype. */
static bool plan_fits(const ct_reducer *r, const int64_t *having) {
    if (!r->plan) return false;
    ct_dtype dtype = r->plan->members[0]->slot->parameter->dtype;
    for (int i = 0; i < r->optimizer->count; i++) {
        const member *m = &r->members[i];
        bool used = having[i] && m->slot->parameter->dtype == dtype;
        if (used != (m->place >= 0)) return false;
    }
    return true;
}

/* Of a member that was not completed by this backward, but has a gradient: behind all others. */
static void order_rest(ct_reducer *r, const int64_t *having) {
    for (int i = r->optimizer->count - 1; i >= 0; i--) {
        if (having[i] && !r->members[i].complete) r->order[r->completed++] = i;
    }
}

/* A new plan in rank 0's order, of the dtype that comes first in it. */
static bool make_plan(ct_reducer *r, const int64_t *having, member **list) {
    drop_plan(r);
    order_rest(r, having);
    int64_t all = r->completed;
    ct_tensor *order = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(all), r->order);
    if (!order || !ct_tensor_broadcast(order, 0)) return false;
    const int64_t *number = ct_data(order);
    int count = 0;
    for (int64_t k = 0; k < all; k++) {
        member *m = &r->members[number[k]];
        if (m->slot->parameter->dtype != r->members[number[0]].slot->parameter->dtype) continue;
        m->place = count;
        list[count++] = m;
    }
    if (count) r->plan = flat_create(list, count, r->bucket_bytes);
    return count == 0 || r->plan;
}

static bool end(ct_reducer *r, member **list) {
    const ct_tensor *agreed = agree(r);
    if (!agreed) return false;
    const int64_t *having = ct_data(agreed);
    for (int i = 0; i < r->optimizer->count; i++) r->members[i].added = false;
    if (r->begun && r->plan && !flat_end(r->plan, r->wire)) return false;
    if (!add_remaining(r, having, CT_F32, list) || !add_remaining(r, having, CT_F64, list)) {
        return false;
    }
    if (r->begun && !plan_fits(r, having) && !make_plan(r, having, list)) return false;
    remove_hooks(r);
    r->begun = false;
    return true;
}

bool ct_reducer_end(ct_reducer *r) {
    member **list = malloc(((size_t)r->optimizer->count + 1) * sizeof *list);
    if (!list) return ct_fail_bool("%s: out of memory", op);
    bool ok = false;
    CT_SCOPE { ok = end(r, list); }
    free(list);
    return ok;
}
