#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a folder of its own and builds docs/examples/char_gru.c there with nothing but
# the installed headers and the pkg-config file; its loss must fall to less than half.
set -eu
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

meson install -C "$build" --no-rebuild --destdir "$folder" >/dev/null
pc=$(find "$folder" -name cotangent.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder"
cd "$folder"
# shellcheck disable=SC2046
${CC:-cc} -Wall -Wextra -Werror ${CT_EXAMPLE_CFLAGS:-} "$source/docs/examples/char_gru.c" \
    $(pkg-config --cflags --libs cotangent) -o char_gru
[ "$(wc -l <"$source/docs/examples/char_gru.c")" -le 60 ]
LD_LIBRARY_PATH=$(pkg-config --variable=libdir cotangent | sed "s|^$folder||;s|^|$folder|") \
    ./char_gru "$source/docs/examples/char_gru.c" >out
cat out
awk '/loss/ { for (i = 1; i <= NF; i++) if ($i == "loss") value = $(i + 1);
              if (!first) first = value; last = value }
     END { exit !(first > 0 && last < first / 2) }' out
