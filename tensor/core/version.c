/* SPDX-License-Identifier: Apache-2.0 */
/* Which library this is. */
#include "tensor/core/version.h"

const char *ct_version(void) { return CT_VERSION; }
