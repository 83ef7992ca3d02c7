/* SPDX-License-Identifier: Apache-2.0 */
/* Which library this is. */
#ifndef CT_VERSION_H
#define CT_VERSION_H

#include "tensor/core/declarations.h"

CT_BEGIN_DECLS

/* The library's version, "0.1.0", as `pkg-config --modversion cotangent` says it of the one that is
 * installed. Never NULL, not to be freed. */
const char *ct_version(void);

CT_END_DECLS

#endif
