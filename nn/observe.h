/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what modules compute on the way to their result. Of the thread that looks.
 *
 *     ct_set_observer(see, &mine);
 *     ... forward passes: see(&mine, module, "weights", value) for each attention in them ...
 *     ct_set_observer(NULL, NULL);
 */
#ifndef CT_NN_OBSERVE_H
#define CT_NN_OBSERVE_H

#include "nn/nn.h"

CT_BEGIN_DECLS

/* Is handed a value, once where a checkpoint computes it twice, by what it is: "weights" of a
 * ct_attention (B,heads,queries,keys), before dropout, and of a policy attention of an image-text
 * model (B,S,heads). The value is the module's own, in its scope: not to be changed, and kept
 * (ct_keep) if it is to be seen later. */
typedef void (*ct_observer)(void *context, const ct_module *module, const char *what,
                            ct_tensor *value);
/* The thread's observer from now on; NULL: none, as at first. */
void ct_set_observer(ct_observer observer, void *context);
/* Hands a value of a module of your own to the thread's observer. Nothing without one, or if the
 * module, `what` or the value is NULL. */
void ct_observed(const ct_module *module, const char *what, ct_tensor *value);
/* Writes a module's dotted place below `root` ("image.attend"; "" for the root itself) into `text`.
 * False and an error if it is not below, or does not fit into `size` bytes. */
bool ct_module_path(const ct_module *root, const ct_module *module, char *text, size_t size);

CT_END_DECLS

#endif
