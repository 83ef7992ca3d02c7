/* SPDX-License-Identifier: Apache-2.0 */
/* Around what a program may use: every installed header declares its functions between these two.
 * A function that is declared elsewhere stays within the library (-fvisibility=hidden), and
 * scripts/check-exports compares the two. */
#ifndef CT_CORE_DECLARATIONS_H
#define CT_CORE_DECLARATIONS_H

/* CT_EXPORT_DECLS is set where the library itself is compiled (meson.build). */
#ifdef CT_EXPORT_DECLS
#define CT_BEGIN_EXPORTS_ _Pragma("GCC visibility push(default)")
#define CT_END_EXPORTS_ _Pragma("GCC visibility pop")
#else
#define CT_BEGIN_EXPORTS_
#define CT_END_EXPORTS_
#endif

#ifdef __cplusplus
#define CT_BEGIN_DECLS \
    extern "C" {       \
    CT_BEGIN_EXPORTS_
#define CT_END_DECLS \
    CT_END_EXPORTS_  \
    }
#else
#define CT_BEGIN_DECLS CT_BEGIN_EXPORTS_
#define CT_END_DECLS CT_END_EXPORTS_
#endif

#endif
