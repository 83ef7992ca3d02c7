/* SPDX-License-Identifier: Apache-2.0 */
/* Capture of the stream, and graphs: what the stream is told is recorded and done, in order, at
 * each launch. A graph's memory is there only from its allocation to its release in a launch. */
#include <map>
#include <memory>
#include <pthread.h>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vector>

#include "graph.h"

/* Addresses of graphs that are gone, by size, to be given out again first: whoever still believes
 * that they are theirs is found out. Never freed, since those at the end of a program are. */
static std::multimap<size_t, void *> &spare = *new std::multimap<size_t, void *>;

static void *take_address(size_t bytes) {
    void *address = nullptr;
    auto found = spare.find(bytes);
    if (found == spare.end()) return posix_memalign(&address, 256, bytes) == 0 ? address : nullptr;
    address = found->second;
    spare.erase(found);
    return address;
}

/* What was recorded: of the graph and of what was made of it, whichever goes last. */
struct recording {
    std::vector<std::function<cudaError_t()>> operations;
    struct reserved {
        size_t bytes;
        bool held;
    };
    std::map<void *, reserved> memory;
    size_t held = 0, most = 0; /* bytes at a time */
    bool has_instance = false;

    ~recording() {
        for (auto &m : memory) {
            if (m.second.held) ct_shim_vanish(m.first); /* nothing if it is not there */
            spare.emplace(m.second.bytes, m.first);
        }
    }
};

struct ct_shim_graph {
    std::shared_ptr<recording> of;
};
struct ct_shim_runnable {
    std::shared_ptr<recording> of;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    std::shared_ptr<recording> now;
    bool is_spoiled;
    pthread_t thread;
} capture;

/* Those that there are. Whoever leaves some behind at the end of a program hears of it. */
template <typename T> struct handles {
    std::set<T *> all;
    const char *name;

    ~handles() {
        if (all.empty()) return;
        fprintf(stderr, "cuda shim: %zu %s left at the end\n", all.size(), name);
        _exit(1);
    }
};
static handles<ct_shim_graph> graphs = {{}, "graphs"};
static handles<ct_shim_runnable> runnables = {{}, "instances of graphs"};

/* ---- capture ---------------------------------------------------------------------------- */

cudaError_t ct_shim_do(std::function<cudaError_t()> operation) {
    pthread_mutex_lock(&lock);
    bool captured = capture.now != nullptr, spoiled = captured && capture.is_spoiled;
    if (captured && !spoiled) capture.now->operations.push_back(std::move(operation));
    pthread_mutex_unlock(&lock);
    if (!captured) return operation();
    return spoiled ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t ct_shim_cannot_record(void) {
    pthread_mutex_lock(&lock);
    bool captured = capture.now != nullptr;
    if (captured) capture.is_spoiled = true;
    pthread_mutex_unlock(&lock);
    return captured ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

/* An address now; memory when it is launched. */
bool ct_shim_record_malloc(void **data, size_t bytes, cudaError_t *status) {
    *data = nullptr;
    if (!capture.now) return false;
    void *address = take_address(bytes);
    *status = address ? ct_shim_do([address, bytes] { return ct_shim_appear(address, bytes); })
                      : cudaErrorMemoryAllocation;
    if (*status != cudaSuccess) {
        if (address) spare.emplace(bytes, address);
        return true;
    }
    ASAN_POISON_MEMORY_REGION(address, bytes);
    recording *r = capture.now.get();
    r->memory[address] = {bytes, true};
    r->held += bytes;
    if (r->held > r->most) r->most = r->held;
    *data = address;
    return true;
}

/* Only of what the graph allocated. */
bool ct_shim_record_free(void *data, cudaError_t *status) {
    if (!capture.now) return false;
    recording *r = capture.now.get();
    auto found = r->memory.find(data);
    if (found == r->memory.end() || !found->second.held) {
        *status = cudaErrorInvalidValue;
        return true;
    }
    *status = ct_shim_do([data] { return ct_shim_vanish(data); });
    if (*status != cudaSuccess) return true;
    found->second.held = false;
    r->held -= found->second.bytes;
    return true;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    if (capture.now) return cudaErrorIllegalState;
    pthread_mutex_lock(&lock);
    capture.now = std::make_shared<recording>();
    capture.is_spoiled = false;
    capture.thread = pthread_self();
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
    *graph = nullptr;
    if (!capture.now) return cudaErrorIllegalState;
    if (!pthread_equal(capture.thread, pthread_self())) return cudaErrorStreamCaptureWrongThread;
    pthread_mutex_lock(&lock);
    std::shared_ptr<recording> ended = std::move(capture.now);
    capture.now = nullptr;
    pthread_mutex_unlock(&lock);
    if (capture.is_spoiled) return cudaErrorStreamCaptureInvalidated;
    *graph = new ct_shim_graph{ended};
    graphs.all.insert(*graph);
    return cudaSuccess;
}

/* ---- graphs ----------------------------------------------------------------------------- */

/* CT_SHIM_GRAPHS=no: of a device whose driver makes none. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *runnable, cudaGraph_t graph, unsigned long long) {
    const char *makes = getenv("CT_SHIM_GRAPHS");
    if (makes && !strcmp(makes, "no")) return cudaErrorNotSupported;
    if (!graphs.all.count(graph)) return cudaErrorInvalidValue;
    if (!graph->of->memory.empty() && graph->of->has_instance) return cudaErrorNotSupported;
    graph->of->has_instance = true;
    *runnable = new ct_shim_runnable{graph->of};
    runnables.all.insert(*runnable);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t runnable, cudaStream_t) {
    cudaError_t status = ct_shim_cannot_record();
    if (status != cudaSuccess) return status;
    if (!runnables.all.count(runnable)) return cudaErrorInvalidValue;
    return ct_shim_reserve_for_graphs(runnable->of->most) ? cudaSuccess : cudaErrorMemoryAllocation;
}

static bool runs_graph;

bool ct_shim_runs_graph(void) { return runs_graph; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t stream) {
    cudaError_t status = cudaGraphUpload(runnable, stream);
    if (status != cudaSuccess) return status;
    runs_graph = true;
    for (const auto &operation : runnable->of->operations) {
        if ((status = operation()) != cudaSuccess) break;
    }
    runs_graph = false;
    return status;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable) {
    if (!runnables.all.erase(runnable)) return cudaErrorInvalidValue;
    runnable->of->has_instance = false;
    delete runnable;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (!graphs.all.erase(graph)) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
}
