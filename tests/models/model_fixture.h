/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of models/: a model from the text of a configuration, and recorded cases replayed
 * through it. */
#ifndef CT_MODEL_FIXTURE_H
#define CT_MODEL_FIXTURE_H

#include <stdarg.h>

#include "tests/golden.h"
#include "models/graph/model.h"

/* ---- descriptions from text ----------------------------------------------------------------- */

enum { FIXTURE_ENTRIES = 64 };

typedef struct {
    char text[4096];
    ct_description_entry entry[FIXTURE_ENTRIES];
    ct_description description;
} fixture_ini;

static inline char *fixture_trim(char *s) {
    while (*s == ' ') s++;
    for (char *end = s + strlen(s); end > s && end[-1] == ' ';) *--end = 0;
    return s;
}

/* "[section]\nkey = value\n..." to a description of a file called "test.ini". */
static inline const ct_description *fixture_read(fixture_ini *ini, const char *text) {
    ck_assert_uint_lt(strlen(text), sizeof ini->text);
    strcpy(ini->text, text);
    const char *section = "";
    int count = 0, line = 0;
    for (char *rest = ini->text, *p; (p = strsep(&rest, "\n"));) {
        line++;
        p = fixture_trim(p);
        if (!*p) continue;
        if (*p == '[') {
            section = p + 1;
            *strchr(p, ']') = 0;
            continue;
        }
        char *equals = strchr(p, '=');
        ck_assert_msg(equals != NULL, "no '=' in '%s'", p);
        ck_assert_int_lt(count, FIXTURE_ENTRIES);
        *equals = 0;
        ini->entry[count++] =
            (ct_description_entry){section, fixture_trim(p), fixture_trim(equals + 1), line};
    }
    ini->description = (ct_description){"test.ini", ini->entry, count};
    return &ini->description;
}

/* On the device that is tested. */
static inline ct_model *fixture_model(const char *text, ct_model_sizes sizes) {
    fixture_ini ini;
    ct_model *model = ct_model_create(fixture_read(&ini, text), sizes);
    if (model) ct_module_to_device(ct_model_module(model), test_device());
    return model;
}

/* ---- recorded cases ------------------------------------------------------------------------- */

typedef struct {
    golden g;
    ct_dtype dtype;      /* that it is replayed in */
    const char *encoder; /* "img_enc." if the file's names lack their encoder's, else "" */
} fixture_case;

static inline fixture_case fixture_open(const char *name, ct_dtype dtype, const char *encoder) {
    return (fixture_case){golden_open(name, dtype), dtype, encoder};
}

static inline const char *fixture_text(const fixture_case *c, const char *key) {
    const char *value = ct_safetensors_metadata(c->g.file, key);
    ck_assert_msg(value != NULL, "no metadata '%s'", key);
    return value;
}

static inline int64_t fixture_int(const fixture_case *c, const char *key) {
    return (int64_t)golden_number(&c->g, key);
}

static inline bool fixture_has(const fixture_case *c, const char *format, ...) {
    char name[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return golden_has(&c->g, name);
}

/* A copy, reals in the case's dtype, on the device that is tested. */
static inline ct_tensor *fixture_get(const fixture_case *c, const char *format, ...) {
    char name[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return golden_get(&c->g, name);
}

/* README.md's tolerances, against the recorded f64 values. */
static inline void fixture_check(const fixture_case *c, const ct_tensor *x, const char *format,
                                 ...) {
    char name[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    ck_assert_msg(x != NULL, "%s: nothing computed: %s", name, ct_ok() ? "" : ct_error());
    ct_tensor *expected = golden_stored(&c->g, name);
    ct_tensor *same = ct_tensor_reshape(x, expected->shape);
    bool exact = c->dtype == CT_F64;
    double relative = exact ? 1e-9 : 1e-4, absolute = exact ? 1e-12 : 1e-5;
    /* a bias before a batch norm: its gradient is 0, both sides hold rounding noise */
    if (strstr(name, "grad.param") && strstr(name, ".W.0.bias"))
        relative = 0, absolute = exact ? 1e-12 : 1e-4;
    assert_close(same, expected, relative, absolute, name);
}

/* ---- parameters under the released code's names --------------------------------------------- */

/* The released name of one of the model's, as the case has it. False if the case has none. */
static inline bool fixture_name(const fixture_case *c, const ct_model *model, const char *ours,
                                char *out, size_t size) {
    if (!ct_released_name(model, ours, out, size)) return false;
    size_t cut = strlen(c->encoder);
    if (cut && strncmp(out, c->encoder, cut)) return false;
    memmove(out, out + cut, strlen(out + cut) + 1);
    return fixture_has(c, "param.%s", out) || fixture_has(c, "buffer.%s", out);
}

typedef struct {
    const fixture_case *c;
    const ct_model *model;
    int loaded;
} fixture_loader;

static inline bool fixture_load_one(void *context, const char *name, ct_tensor *tensor,
                                    bool buffer) {
    fixture_loader *loader = context;
    char theirs[128];
    if (!fixture_name(loader->c, loader->model, name, theirs, sizeof theirs)) return true;
    loader->loaded++;
    ct_tensor *value = fixture_get(loader->c, "%s.%s", buffer ? "buffer" : "param", theirs);
    return ct_tensor_copy_to(tensor, ct_tensor_reshape(value, tensor->shape));
}

/* Sets all parameters and buffers of the model that the case has; at least one must fit. */
static inline void fixture_load(const fixture_case *c, ct_model *model, int expected) {
    CT_SCOPE {
        fixture_loader loader = {c, model, 0};
        ct_module_to_dtype(ct_model_module(model), c->dtype);
        ct_module_visit(ct_model_module(model), fixture_load_one, &loader);
        assert_no_error();
        ck_assert_int_eq(loader.loaded, expected);
    }
}

/* ---- recorded noise ------------------------------------------------------------------------- */

/* Recorded as (S, B*H, A), (S, B*H) or (S,B,H); drawn as (B,S,H,A) or (B,S,H). */
static inline bool fixture_replay(void *context, const char *name, ct_tensor *out) {
    const fixture_case *c = context;
    const char *what = name + strlen(c->encoder);
    char theirs[64];
    const char *choice = strstr(what, "choice");
    if (choice) snprintf(theirs, sizeof theirs, "%.*sindex_v", (int)(choice - what), what);
    else snprintf(theirs, sizeof theirs, "%s", what);
    ct_tensor *noise = fixture_get(c, "noise.%s", theirs);
    ct_shape shape = out->shape;
    shape.dim[0] = out->shape.dim[1];
    shape.dim[1] = out->shape.dim[0];
    return ct_tensor_copy_to(out, ct_tensor_transpose(ct_tensor_reshape(noise, shape), 0, 1));
}

static inline ct_rng fixture_rng(const fixture_case *c) {
    ct_rng rng = ct_rng_create(1, 0);
    rng.replay = fixture_replay;
    rng.replay_context = (void *)c;
    return rng;
}

#endif
