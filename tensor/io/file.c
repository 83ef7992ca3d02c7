/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, mapping and replacing files. */
#include "tensor/io/file.h"

#include "tensor/core/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Both formats are little-endian and are used in place. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor files need little-endian");

static bool fail_path(const char *path, const char *what) {
    return ct_fail_bool("%s: %s: %s", path, what, strerror(errno));
}

bool ct_shape_bytes(ct_shape shape, ct_dtype dtype, size_t *bytes) {
    /* Zero sizes are left out of the product that must fit, so that strides fit too. */
    int64_t product = (int64_t)ct_dtype_size(dtype);
    bool empty = false;
    for (int i = 0; i < shape.ndim; i++) {
        if (shape.dim[i] < 0) return false;
        if (shape.dim[i] == 0) empty = true;
        else if (__builtin_mul_overflow(product, shape.dim[i], &product)) return false;
    }
    *bytes = empty ? 0 : (size_t)product;
    return true;
}

/* ---- mapping ---------------------------------------------------------------------------- */

/* Not charged against memory (MAP_NORESERVE): the kernel would refuse a writable mapping larger
 * than RAM, and feature files are. */
static bool map_file(const char *path, int fd, ct_mapping *mapping) {
    struct stat status;
    if (fstat(fd, &status) != 0) return fail_path(path, "cannot read");
    if (!S_ISREG(status.st_mode)) return ct_fail_bool("%s: not a regular file", path);
    mapping->bytes = (size_t)status.st_size;
    if (mapping->bytes == 0) return true;
    void *data =
        mmap(NULL, mapping->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (data == MAP_FAILED) return fail_path(path, "cannot map into memory");
    mapping->data = data;
    return true;
}

ct_mapping *ct_mapping_open(const char *path) {
    if (!path) return ct_fail("open: the path is NULL");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* does not wait for a pipe's writer */
    if (fd < 0) {
        fail_path(path, "cannot open");
        return NULL;
    }
    ct_mapping *mapping = calloc(1, sizeof *mapping);
    if (!mapping) {
        ct_fail("%s: out of memory", path);
    } else {
        atomic_init(&mapping->refs, 1);
        if (!map_file(path, fd, mapping)) {
            free(mapping);
            mapping = NULL;
        }
    }
    close(fd);
    return mapping;
}

void ct_mapping_release(void *context) {
    ct_mapping *mapping = context;
    if (!mapping || atomic_fetch_sub(&mapping->refs, 1) != 1) return;
    if (mapping->data) munmap(mapping->data, mapping->bytes);
    free(mapping);
}

ct_tensor *ct_mapping_tensor(ct_mapping *mapping, size_t offset, ct_dtype dtype, ct_shape shape) {
    /* mmap aligns to pages, so the offset decides. */
    if (offset % ct_dtype_size(dtype) != 0) {
        return ct_from_data(dtype, CT_CPU, shape, mapping->data + offset);
    }
    atomic_fetch_add(&mapping->refs, 1);
    return ct_from_memory(dtype, shape, mapping->data + offset, ct_mapping_release, mapping);
}

/* ---- replacing -------------------------------------------------------------------------- */

struct ct_output {
    FILE *stream;
    char *path, *partial;
    bool failed;
};

const char *ct_output_path(const ct_output *output) { return output->path; }

static void output_free(ct_output *output) {
    if (output->stream) fclose(output->stream);
    free(output->path);
    free(output->partial);
    free(output);
}

/* Writing through a symbolic link replaces what it points to. What is there must be a file:
 * renaming over /dev/null would replace the device. */
static char *resolve(const char *path) {
    char *real = realpath(path, NULL);
    if (!real) {
        if (errno != ENOENT) {
            fail_path(path, "cannot write");
            return NULL;
        }
        real = strdup(path);
        return real ? real : ct_fail("%s: out of memory", path);
    }
    struct stat status;
    if (stat(real, &status) == 0 && !S_ISREG(status.st_mode)) {
        free(real);
        return ct_fail("%s: cannot write: it exists and is not a regular file", path);
    }
    return real;
}

int ct_file_is_at(int file, const char *path) {
    struct stat opened, named;
    if (fstat(file, &opened) != 0) return -1;
    if (stat(path, &named) != 0) return errno == ENOENT ? 0 : -1;
    return opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* The fd of the partial file, locked and empty; -1 with an error. A killed run may have left
 * one: it is taken over. If another writer renamed it away before the lock was ours, a new one is
 * made. Some network file systems have no locks: there it goes without. */
static int open_partial(const char *partial) {
    for (;;) {
        int fd = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (fd < 0) break;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            ct_fail("%s: another writer is writing this file", partial);
            close(fd);
            return -1;
        }
        int there = ct_file_is_at(fd, partial);
        if (there == 1 && ftruncate(fd, 0) == 0) return fd;
        if (there != 0) {
            fail_path(partial, "cannot write");
            if (there == 1) unlink(partial); /* before the lock goes */
            close(fd);
            return -1;
        }
        close(fd);
    }
    fail_path(partial, "cannot create");
    return -1;
}

ct_output *ct_output_open(const char *path) {
    if (!path) return ct_fail("write: the path is NULL");
    ct_output *output = calloc(1, sizeof *output);
    if (!output) return ct_fail("%s: out of memory", path);
    output->path = resolve(path);
    if (!output->path) {
        output_free(output);
        return NULL;
    }
    if (asprintf(&output->partial, "%s.partial", output->path) < 0) {
        output->partial = NULL;
        output_free(output);
        return ct_fail("%s: out of memory", path);
    }
    int fd = open_partial(output->partial);
    if (fd < 0) {
        output_free(output);
        return NULL;
    }
    output->stream = fdopen(fd, "wb");
    if (!output->stream) {
        fail_path(path, "cannot write");
        unlink(output->partial);
        close(fd);
        output_free(output);
        return NULL;
    }
    return output;
}

bool ct_output_write(ct_output *output, const void *data, size_t bytes) {
    if (output->failed) return false;
    if (bytes == 0 || fwrite(data, 1, bytes, output->stream) == bytes) return true;
    output->failed = true;
    return fail_path(output->path, "cannot write");
}

bool ct_output_tensor(ct_output *output, const ct_tensor *x) {
    bool written = false;
    CT_SCOPE {
        const ct_tensor *c = ct_tensor_contiguous(x);
        if (c && c->device != CT_CPU) c = ct_tensor_to_device(c, CT_CPU);
        if (!c) break;
        size_t bytes = (size_t)ct_count(c) * ct_dtype_size(c->dtype);
        written = ct_output_write(output, ct_data(c), bytes);
    }
    if (!written) output->failed = true;
    return written;
}

void ct_output_discard(ct_output *output) {
    if (!output) return;
    unlink(output->partial); /* before the lock goes */
    output_free(output);
}

/* Makes a rename in the file's folder last. Some file systems cannot, and say EINVAL. */
static bool sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder) return ct_fail_bool("%s: out of memory", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    bool synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (!synced) fail_path(path, "written, but its folder cannot be synced");
    if (fd >= 0) close(fd);
    return synced;
}

bool ct_output_commit(ct_output *output) {
    if (!output) return false;
    if (!output->failed && (fflush(output->stream) != 0 || fsync(fileno(output->stream)) != 0 ||
                            rename(output->partial, output->path) != 0)) {
        output->failed = true;
        fail_path(output->path, "cannot write");
    }
    if (output->failed) {
        ct_output_discard(output);
        return false;
    }
    bool synced = sync_folder(output->path);
    output_free(output);
    return synced;
}

/* ---- any file --------------------------------------------------------------------------- */

bool ct_file_write(const char *path, const void *data, size_t bytes) {
    if (bytes && !ct_check_pointer("file_write", "data", data)) return false;
    ct_output *output = ct_output_open(path);
    if (!output) return false;
    ct_output_write(output, data, bytes);
    return ct_output_commit(output);
}

/* Grown by doubling: the size of a pipe is not known. */
static char *read_stream(const char *path, FILE *stream, size_t most, size_t *bytes) {
    size_t used = 0, capacity = most < 4096 ? most + 1 : 4096;
    char *text = malloc(capacity);
    while (text) {
        used += fread(text + used, 1, capacity - 1 - used, stream);
        if (used < capacity - 1 || used == most) break;
        capacity = capacity - 1 < most - (capacity - 1) ? capacity * 2 : most + 1;
        char *larger = realloc(text, capacity);
        if (!larger) free(text);
        text = larger;
    }
    if (!text) return ct_fail("%s: out of memory", path);
    if (ferror(stream)) {
        fail_path(path, "cannot read");
        free(text);
        return NULL;
    }
    text[used] = '\0';
    if (bytes) *bytes = used;
    return text;
}

char *ct_file_read(const char *path, size_t *bytes) {
    return ct_file_read_start(path, SIZE_MAX - 1, bytes);
}

char *ct_file_read_start(const char *path, size_t most, size_t *bytes) {
    if (!path) return ct_fail("read: the path is NULL");
    FILE *stream = fopen(path, "rbe");
    if (!stream) {
        fail_path(path, "cannot open");
        return NULL;
    }
    char *text = read_stream(path, stream, most, bytes);
    fclose(stream);
    return text;
}
