/* SPDX-License-Identifier: Apache-2.0 */
/* The library itself, for the files that call it. Internal to tensor/cpu/. */
#ifndef CT_CPU_ONEDNN_LIBRARY_H
#define CT_CPU_ONEDNN_LIBRARY_H

#include <dnnl.h>
#include <stdbool.h>

/* NULL where it is not there or not allowed; with an error where there is no memory to open it. */
dnnl_engine_t ct_onednn_engine(void);

#endif
