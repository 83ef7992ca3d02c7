/* SPDX-License-Identifier: Apache-2.0 */
/* Scopes and references: how long tensors live (see tensor/tensor.h), of any shape and dtype. */
#ifndef CT_CORE_SCOPE_H
#define CT_CORE_SCOPE_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

typedef struct ct_scope ct_scope;
/* What CT_SCOPE is made of. The new scope is the innermost one of this thread until the caller
 * closes it; NULL with an error if memory is short. */
ct_scope *ct_scope_open(void);
/* Drops what belongs to a scope, and to those opened inside it and left open. An error for what is
 * no open scope of this thread. */
void ct_scope_close(ct_scope *scope);

static inline void ct_scope_cleanup(ct_scope **scope) {
    if (*scope) ct_scope_close(*scope);
}
/* A block whose tensors go at its end; break, return and goto out of it close it too. */
#define CT_SCOPE CT_SCOPE_AT_(__LINE__) /* the line: nested ones have names of their own */
#define CT_SCOPE_AT_(line) CT_SCOPE_LINE_(line)
#define CT_SCOPE_LINE_(line) CT_SCOPE_NAMED_(ct_scope_##line, ct_scope_once_##line)
#define CT_SCOPE_NAMED_(here, once)                                                    \
    for (ct_scope * here __attribute__((cleanup(ct_scope_cleanup))) = ct_scope_open(), \
                         *once = here;                                                 \
         once; once = NULL)

/* Adds a reference that the caller owns, and returns x. NULL gives NULL. */
ct_tensor *ct_keep(ct_tensor *x);
/* Drops a reference that the caller owns. NULL is ignored. */
void ct_release(ct_tensor *x);
/* Hands a reference that the caller owns to the innermost scope, and returns x. NULL gives NULL;
 * NULL with an error, and the reference dropped, if there is no scope or no memory. */
ct_tensor *ct_adopt(ct_tensor *x);
/* Lets x stay when the innermost scope closes, in the scope around that one, and returns x: how a
 * function returns a tensor from within a CT_SCOPE of its own. NULL gives NULL; NULL with an error
 * if there is no scope around or no memory. */
ct_tensor *ct_escape(ct_tensor *x);

/* True if the caller's reference is the only one to x and no other tensor shares its storage, so
 * that nobody can see x change. False on memory that the caller provided (ct_from_memory). */
bool ct_is_exclusive(const ct_tensor *x);

CT_END_DECLS

#endif
