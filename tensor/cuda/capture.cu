/* SPDX-License-Identifier: Apache-2.0 */
/* Recording what the stream is told as a CUDA graph, and running it.
 *
 * Memory that is asked for while recording is the graph's: its address is fixed, what is behind it
 * comes and goes with each run, and may be shared by graphs, which run one after another. It must
 * be given back within. Memory from before cannot be: that waits for the end of the recording.
 */
#include <pthread.h>
#include <stdlib.h>

#include "tensor/cuda/cuda.h"

struct ct_recording {
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    size_t bytes; /* of its tensors, the most at a time */
    bool draws;
};

/* ---- lists of memory -------------------------------------------------------------------- */

/* A recording that failed with memory still held: the graph stays, so that no one else is given
 * these addresses, until all are given back. */
struct failed {
    cudaGraph_t graph;
    size_t held;
};

struct piece {
    void *data;
    size_t bytes;
    failed *of; /* in `lost` */
};

struct pieces {
    piece *at;
    size_t count, room;
};

static bool add(pieces *p, piece added) {
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 256;
        piece *at = static_cast<piece *>(realloc(p->at, room * sizeof *at));
        if (!at) return ct_host->fail_bool("capture: out of memory");
        p->at = at;
        p->room = room;
    }
    p->at[p->count++] = added;
    return true;
}

/* The place of what begins at `data`, or count: the last first, since most is given back soon. */
static size_t find(const pieces &p, const void *data) {
    for (size_t i = p.count; i-- > 0;) {
        if (p.at[i].data == data) return i;
    }
    return p.count;
}

static void take_out(pieces *p, size_t i) { p->at[i] = p->at[--p->count]; }

/* ---- what is recorded now --------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* tensors go on any thread */

static struct {
    bool is_open;
    bool is_spoiled;                    /* something was refused */
    bool draws;                         /* there is a generator */
    uint64_t seed, stream, first, next; /* its offset at the beginning, and as far as was drawn */
    pieces within;                      /* allocated since the beginning and held */
    pieces before;                      /* allocated before, released since */
    size_t held, most;                  /* bytes of those within, now and at most */
} now;

static pieces lost;    /* of recordings that failed */
static int recordings; /* that there are */

bool ct_cuda_has_recordings() { return recordings > 0 || lost.count > 0; }

static uint64_t *draw_base; /* on the device: where the draws of a run begin */

bool ct_cuda_is_recording() { return now.is_open; }

static bool refuse() {
    now.is_spoiled = true;
    return false;
}

bool ct_cuda_may_wait(const char *operation) {
    if (!now.is_open) return true;
    ct_host->fail("%s: not while a capture is recorded: the host would wait for what is not done "
                  "before it is run",
                  operation);
    return refuse();
}

bool ct_cuda_may_take(const char *operation) {
    if (!now.is_open) return true;
    ct_host->fail("%s: not while a capture is recorded: each run would read the host's memory "
                  "again; tensors from host memory are made before",
                  operation);
    return refuse();
}

/* A draw that was made is made again where a checkpoint repeats it; a gap was drawn elsewhere. */
bool ct_cuda_record_draw(uint64_t seed, uint64_t stream, uint64_t counters, uint64_t *offset,
                         const uint64_t **base) {
    *base = nullptr;
    if (!now.is_open) return true;
    if (!now.draws || seed != now.seed || stream != now.stream) {
        ct_host->fail("random: numbers of seed %llu, stream %llu were asked for while a capture is "
                      "recorded that draws from %s",
                      (unsigned long long)seed, (unsigned long long)stream,
                      now.draws ? "another generator" : "none");
        return refuse();
    }
    if (*offset < now.first || *offset > now.next) {
        ct_host->fail("random: the generator of a capture that is recorded drew elsewhere, too, "
                      "which would be the same numbers at each run");
        return refuse();
    }
    uint64_t end = *offset + counters;
    if (end > now.next) now.next = end;
    *offset -= now.first;
    *base = draw_base;
    return true;
}

/* ---- memory ----------------------------------------------------------------------------- */

bool ct_cuda_record_allocation(void *data, size_t bytes) {
    if (!now.is_open) return true;
    pthread_mutex_lock(&lock);
    bool added = add(&now.within, {data, bytes, nullptr});
    now.held += bytes;
    now.most = now.held > now.most ? now.held : now.most;
    pthread_mutex_unlock(&lock);
    return added || refuse();
}

/* Of a failed recording: there is nothing behind the address. */
static void forget(size_t i) {
    failed *of = lost.at[i].of;
    take_out(&lost, i);
    if (--of->held) return;
    if (of->graph) CT_CUDA(cudaGraphDestroy(of->graph));
    free(of);
}

/* Under the lock, so that no recording begins in between. */
void ct_cuda_free(void *data, size_t) {
    pthread_mutex_lock(&lock);
    size_t i = find(lost, data), within = find(now.within, data);
    if (i < lost.count) {
        forget(i);
    } else if (now.is_open && within == now.within.count) {
        add(&now.before, {data, 0, nullptr});
    } else {
        if (now.is_open) {
            now.held -= now.within.at[within].bytes;
            take_out(&now.within, within);
        }
        CT_CUDA(cudaFreeAsync(data, ct_cuda_stream));
    }
    pthread_mutex_unlock(&lock);
}

/* ---- begin and end ---------------------------------------------------------------------- */

/* What needs memory of its own, or waits, is done before. */
static bool prepare() {
    if (!draw_base) draw_base = static_cast<uint64_t *>(ct_cuda_allocate(sizeof *draw_base));
    return draw_base && ct_cuda_open_cublas();
}

bool ct_cuda_capture_begin(const ct_rng *rng) {
    if (!prepare()) return false;
    pthread_mutex_lock(&lock);
    now.is_open = CT_CUDA(cudaStreamBeginCapture(ct_cuda_stream, cudaStreamCaptureModeThreadLocal));
    now.is_spoiled = false;
    now.held = now.most = 0;
    now.draws = rng != nullptr;
    now.seed = rng ? rng->seed : 0;
    now.stream = rng ? rng->stream : 0;
    now.first = now.next = rng ? rng->offset : 0;
    pthread_mutex_unlock(&lock);
    return now.is_open;
}

static bool can_be_repeated(const ct_rng *rng) {
    if (now.is_spoiled) {
        return ct_host->fail_bool("capture_end: something within was refused");
    }
    if (rng && rng->offset != now.next) {
        return ct_host->fail_bool("capture_end: the generator also drew numbers on the host, which "
                                  "would be the same at each run");
    }
    return !now.within.count ||
           ct_host->fail_bool("capture_end: tensors made within are still held (%zu, of %.1f MiB): "
                              "they must be released before the end, and their values copied to "
                              "tensors from before",
                              now.within.count, (double)now.held / (1 << 20));
}

/* What was made within a recording that failed has no memory. */
static void lose(cudaGraph_t graph) {
    if (!now.within.count) {
        if (graph) CT_CUDA(cudaGraphDestroy(graph));
        return;
    }
    failed *of = static_cast<failed *>(calloc(1, sizeof *of));
    if (of) *of = {graph, now.within.count};
    for (size_t i = 0; of && i < now.within.count; i++) {
        piece p = now.within.at[i];
        p.of = of;
        if (!add(&lost, p)) of->held--;
    }
    now.within.count = 0;
}

static ct_recording *make_runnable(cudaGraph_t graph) {
    ct_recording *r = static_cast<ct_recording *>(calloc(1, sizeof *r));
    if (!r) {
        ct_host->fail("capture_end: out of memory");
        return nullptr;
    }
    *r = {graph, nullptr, now.most, now.next != now.first};
    if (CT_CUDA(cudaGraphInstantiate(&r->runnable, graph, 0))) {
        recordings++;
        return r;
    }
    free(r);
    return nullptr;
}

/* Whether a call that gives a graph its memory went well. */
static bool has_memory(cudaError_t status, const char *call, const ct_recording *r) {
    if (status != cudaErrorMemoryAllocation) return ct_cuda_ok(status, call);
    cudaGetLastError();
    ct_cuda_fail_memory(call, r->bytes);
    return false;
}

/* What steps left in the pool that are now run from graphs, whose memory is another, is given back;
 * then the graph takes its own, so that it is now that there is too little. */
static bool take_memory(ct_recording *r) {
    ct_cuda_trim();
    return has_memory(cudaGraphUpload(r->runnable, ct_cuda_stream), "cudaGraphUpload", r);
}

ct_recording *ct_cuda_capture_end(bool keep, const ct_rng *rng) {
    cudaGraph_t graph = nullptr;
    keep = CT_CUDA(cudaStreamEndCapture(ct_cuda_stream, &graph)) && keep && can_be_repeated(rng);
    pthread_mutex_lock(&lock);
    now.is_open = false;
    for (size_t i = 0; i < now.before.count; i++) {
        CT_CUDA(cudaFreeAsync(now.before.at[i].data, ct_cuda_stream));
    }
    now.before.count = 0;
    ct_recording *recording = keep ? make_runnable(graph) : nullptr;
    if (!recording) lose(graph);
    pthread_mutex_unlock(&lock);
    if (!recording || take_memory(recording)) return recording;
    ct_cuda_capture_destroy(recording);
    return nullptr;
}

/* ---- runs ------------------------------------------------------------------------------- */

static __global__ void set_base(uint64_t *base, uint64_t offset) {
    if (threadIdx.x == 0) *base = offset;
}

/* The draws' base comes as a kernel's argument: runs that wait in the stream have each its own. */
bool ct_cuda_capture_run(ct_recording *r, uint64_t offset) {
    ct_cuda_take_device();
    if (r->draws && !CT_LAUNCH(set_base, 1, CT_WARP, 0, draw_base, offset)) return false;
    cudaError_t status = cudaGraphLaunch(r->runnable, ct_cuda_stream);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        ct_cuda_trim();
        status = cudaGraphLaunch(r->runnable, ct_cuda_stream);
    }
    return has_memory(status, "cudaGraphLaunch", r);
}

void ct_cuda_capture_destroy(ct_recording *r) {
    CT_CUDA(cudaGraphExecDestroy(r->runnable)); /* when its last run is finished */
    CT_CUDA(cudaGraphDestroy(r->graph));
    pthread_mutex_lock(&lock);
    recordings--;
    pthread_mutex_unlock(&lock);
    free(r);
}
