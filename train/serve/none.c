/* SPDX-License-Identifier: Apache-2.0 */
/* --serve where the build found no libmicrohttpd. */
#include "train/serve/serve.h"

bool ct_serve_command(ct_config *config, const ct_serve_options *options, ct_weights weights) {
    (void)config, (void)options, (void)weights;
    return ct_fail_bool("--serve: this program was built without libmicrohttpd: install "
                        "libmicrohttpd-dev and build again");
}
