/* SPDX-License-Identifier: Apache-2.0 */
/* The names that real_f32.h and real_f64.h define. */
#undef real
#undef REAL_NAME
#undef REAL_KERNEL
#undef R
#undef R_EXP
#undef R_LOG
#undef R_SQRT
#undef R_TANH
#undef R_SIN
#undef R_COS
#undef R_ERF
#undef R_LOG1P
#undef R_EXPM1
#undef R_POW
#undef R_FABS
#undef R_FLOOR
#undef R_ROUND
#undef R_SIGMOID
#undef R_SOFTPLUS
#undef R_MAX
#undef R_MIN
