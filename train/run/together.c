/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/together.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensor/core/excuse.h"
#include "tensor/ranks/transport.h"
#include "train/data/distinct.h"
#include "train/run/console.h"
#include "train/run/terminal.h"

/* Where a rank runs, as it is sent. */
typedef struct {
    char host[64];
    uint64_t cores; /* a hash of which */
    int32_t count;  /* of them */
    int32_t unused;
} place;
static_assert(sizeof(place) == 80, "no padding is sent");

static place *places; /* of all ranks; NULL: one process is alone */
static bool begun;    /* rank 0 has let the others begin */
static bool failed;   /* of all ranks, as all of them know */
static bool left;
static int speaker;

/* ---- beginning and ending ---------------------------------------------------------------- */

/* `mine` of each rank, in order; an error that has already happened is not in the way. */
static bool gather(const void *mine, void *all, size_t bytes) {
    return ct_transport_went_well("train", ct_transport()->gather(mine, all, (int)bytes));
}

/* What rank 0 comes to, before the others do anything. */
typedef struct {
    int64_t begins, status;
} verdict;

static bool tell(verdict *v) {
    begun = true;
    return ct_transport_went_well("train", ct_transport()->broadcast(v, sizeof *v, 0));
}

static void leave(void) {
    left = true;
    ct_error_clear(); /* said, and known to all: nobody waits for this rank */
    ct_ranks_end();
}

/* However the program ends. */
static void end_with_others(int status, void *context) {
    (void)context;
    if (left) return;
    if (!begun && ct_rank() == 0) {
        verdict ends = {.status = status};
        if (tell(&ends)) leave();
    } else if (failed) {
        leave();
    }
    if (!left) ct_ranks_abort(2);
}

static place own_place(void) {
    place mine = {.count = (int32_t)sysconf(_SC_NPROCESSORS_ONLN)};
    cpu_set_t cores;
    snprintf(mine.host, sizeof mine.host, "%s", ct_rank_host());
    if (sched_getaffinity(0, sizeof cores, &cores) == 0) {
        mine.count = CPU_COUNT(&cores);
        mine.cores = ct_hash_words(0, &cores, sizeof cores);
    }
    return mine;
}

static bool find_places(void) {
    place mine = own_place();
    places = calloc((size_t)ct_ranks(), sizeof *places);
    return places ? gather(&mine, places, sizeof mine) : ct_fail_bool("out of memory");
}

static bool wait_for_first(void) {
    verdict v;
    if (!freopen("/dev/null", "w", stdout)) return ct_fail_bool("/dev/null: %s", strerror(errno));
    if (!tell(&v)) return false;
    if (v.begins) return true;
    leave();
    exit((int)v.status);
}

bool ct_together_begin(void) {
    if (!ct_ranks_start()) return false;
    if (ct_ranks() == 1) return true;
    on_exit(end_with_others, NULL);
    ct_terminal_is_none();
    return find_places() && (ct_rank() == 0 || wait_for_first());
}

void ct_together_end(void) {
    verdict ends = {.begins = false};
    if (ct_ranks() > 1 && (begun || tell(&ends))) leave();
}

/* ---- agreeing ---------------------------------------------------------------------------- */

const char *ct_together_name(void) {
    static char name[96];
    if (places) snprintf(name, sizeof name, "rank %d on %s: ", ct_rank(), ct_rank_host());
    return name;
}

bool ct_together_speaks(void) { return !failed || ct_rank() == speaker; }

static void fail_together(int rank) {
    failed = true;
    speaker = rank;
}

static ct_rank_state worst_of(const int64_t *all, int *rank) {
    *rank = 0;
    for (int r = 1; r < ct_ranks(); r++) {
        if (all[r] > all[*rank]) *rank = r;
    }
    return (ct_rank_state)all[*rank];
}

ct_rank_state ct_together_worst(ct_rank_state here) {
    if (ct_ranks() == 1) return here;
    if (failed) return CT_RANK_FAILED;
    verdict begins = {.begins = true};
    if (!begun && (here >= CT_RANK_FAILED || !tell(&begins))) return CT_RANK_FAILED;
    int64_t mine = here, *all = malloc((size_t)ct_ranks() * sizeof *all);
    ct_rank_state worst = CT_RANK_FAILED;
    if (!all) {
        ct_fail("out of memory");
    } else if (gather(&mine, all, sizeof mine)) {
        int rank;
        worst = worst_of(all, &rank);
        if (worst >= CT_RANK_FAILED) fail_together(rank);
    }
    free(all);
    return worst;
}

bool ct_together_well(bool here) {
    return ct_together_worst(here ? CT_RANK_WELL : CT_RANK_FAILED) == CT_RANK_WELL;
}

static bool spread_tensor(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context;
    (void)name;
    (void)buffer;
    return ct_tensor_broadcast(tensor, 0);
}

bool ct_together_load(ct_module *module, const char *path) {
    bool loaded = ct_rank() > 0 || ct_module_load(module, path, true);
    return ct_together_well(loaded) &&
           (ct_ranks() == 1 || ct_module_visit(module, spread_tensor, NULL));
}

/* ---- what can be shared ------------------------------------------------------------------ */

static bool can_compute(const ct_config *config) {
    return !*config->recorded_file ||
           ct_fail_bool("%s: recorded batches are of one process: start it without mpirun",
                        config->recorded_file);
}

bool ct_together_uses(const ct_config *config, const ct_train_options *options) {
    return ct_ranks() == 1 ||
           (ct_together_well(can_compute(config)) && ct_together_same_run(config, options, ""));
}

bool ct_together_can(const ct_config *config, const ct_train_options *options) {
    int ranks = ct_ranks();
    if (ranks == 1) return true;
    if (config->batch % ranks) {
        return ct_fail_bool("[train] batch = %lld cannot be shared by %d ranks in equal parts",
                            (long long)config->batch, ranks);
    }
    if (!can_compute(config)) return false;
    return !options->dump_folder || ct_fail_bool("--dump-steps is of one process: start it without "
                                                 "mpirun");
}

/* ---- what all have ----------------------------------------------------------------------- */

/* Whether mine, of `count` things, is every rank's; else an error on all that names the first of
 * another. */
static bool same(const uint64_t *mine, const char *const *names, int count) {
    size_t bytes = (size_t)count * sizeof *mine;
    uint64_t *all = malloc((size_t)ct_ranks() * bytes);
    bool well = all ? gather(mine, all, bytes) : ct_fail_bool("out of memory");
    for (int i = 0; well && i < ct_ranks() * count; i++) {
        int rank = i / count, what = i % count;
        if (all[i] == all[what]) continue;
        fail_together(0);
        well = ct_fail_bool("rank %d on %s has %s than rank 0 on %s", rank, places[rank].host,
                            names[what], places[0].host);
    }
    free(all);
    return well;
}

static bool hash_program(uint64_t *hash) {
    static char buffer[1 << 16];
    size_t size;
    FILE *file = fopen("/proc/self/exe", "rb");
    if (!file) return ct_fail_bool("/proc/self/exe: %s", strerror(errno));
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) {
        *hash = ct_hash_words(*hash, buffer, size);
    }
    bool read = !ferror(file) || ct_fail_bool("/proc/self/exe: %s", strerror(errno));
    fclose(file);
    return read;
}

static uint64_t hash_text(const char *text) { return ct_hash_words(0, text, strlen(text)); }

bool ct_together_same_run(const ct_config *config, const ct_train_options *options,
                          const char *data_text) {
    static const char *const names[] = {"another program", "another configuration", "other data"};
    if (ct_ranks() == 1) return true;
    int64_t told[] = {options->mode, options->other_graph, options->steps};
    uint64_t mine[] = {0, ct_hash_words(hash_text(config->text), told, sizeof told),
                       hash_text(data_text)};
    return ct_together_well(hash_program(&mine[0])) && same(mine, names, 3);
}

static bool hash_tensor(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)name;
    (void)buffer;
    uint64_t *hash = context;
    CT_SCOPE {
        const ct_tensor *dense = ct_tensor_contiguous(tensor);
        if (dense && dense->device != CT_CPU) dense = ct_tensor_to_device(dense, CT_CPU);
        if (!dense) return false;
        *hash = ct_hash_words(*hash, ct_data(dense),
                              (size_t)ct_count(dense) * ct_dtype_size(dense->dtype));
    }
    return true;
}

bool ct_together_same_weights(ct_module *module, ct_device device, int64_t step) {
    static const char *const names[] = {
        "another device (of [run] device = auto)", "another position in the training",
        "other weights (of --init, word vectors, or the run that is gone on with)"};
    if (ct_ranks() == 1) return true;
    uint64_t mine[] = {device, (uint64_t)step, 0};
    return ct_together_well(ct_module_visit(module, hash_tensor, &mine[2])) && same(mine, names, 3);
}

/* ---- cores and threads ------------------------------------------------------------------- */

bool ct_together_on_one_host(void) {
    int rank = 0;
    while (places && rank < ct_ranks() && strcmp(places[rank].host, places[0].host) == 0) rank++;
    return places && rank == ct_ranks();
}

/* How many ranks run on the cores of this one. */
static int sharing(int rank) {
    int count = 0;
    for (int r = 0; r < ct_ranks(); r++) {
        count +=
            places[r].cores == places[rank].cores && strcmp(places[r].host, places[rank].host) == 0;
    }
    return count;
}

static int threads_of(const ct_config *config, int rank) {
    if (config->threads) return (int)config->threads;
    int share = places[rank].count / sharing(rank);
    return share > 0 ? share : 1;
}

int ct_together_threads(const ct_config *config) {
    return places ? threads_of(config, ct_rank()) : (int)config->threads;
}

/* The first rank whose cores have more threads than they are. */
static int crowded(const ct_config *config) {
    int rank = 0;
    while (rank < ct_ranks() && threads_of(config, rank) * sharing(rank) <= places[rank].count) {
        rank++;
    }
    return rank < ct_ranks() ? rank : -1;
}

void ct_together_say(const ct_config *config) {
    if (!places) return;
    int ranks = ct_ranks(), threads = threads_of(config, 0), rank = crowded(config);
    long all = sysconf(_SC_NPROCESSORS_ONLN);
    ct_console_line("%d ranks: %lld pairs of a batch and %d thread%s each", ranks,
                    (long long)(config->batch / ranks), threads, threads == 1 ? "" : "s");
    if (rank >= 0) {
        const place *p = &places[rank];
        ct_console_line("WARNING: rank %d on %s: %d of the ranks' threads share %d core%s, which "
                        "mpirun bound them to: lower [run] threads, or mpirun --bind-to none",
                        rank, p->host, threads_of(config, rank) * sharing(rank), (int)p->count,
                        p->count == 1 ? "" : "s");
    } else if (!config->threads && places[0].count == 1 && all > ranks) {
        ct_console_line("each rank is bound to one core of %s's %ld: mpirun --bind-to none, or "
                        "--map-by slot:PE=N, gives it more",
                        places[0].host, all);
    }
}
