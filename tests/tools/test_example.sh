#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a folder of its own and builds every program of docs/examples/ there with nothing
# but the installed headers and the pkg-config file. Each has at most 60 lines, and learns: a "loss"
# that it prints falls to less than half, an "accuracy" ends at 0.9 or more.
set -eu
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

meson install -C "$build" --no-rebuild --destdir "$folder" >/dev/null
pc=$(find "$folder" -name cotangent.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder"
libraries=$(pkg-config --variable=libdir cotangent | sed "s|^$folder||;s|^|$folder|")

learns() {
    awk '{ for (i = 1; i < NF; i++) {
               if ($i == "loss") { if (!losses++) first = $(i + 1); last = $(i + 1) }
               if ($i == "accuracy") { rates++; rate = $(i + 1) } } }
         END { exit !(losses + rates > 0 && (!losses || (first > 0 && last < first / 2)) &&
                      (!rates || rate >= 0.9)) }' "$1"
}

cd "$folder"
for program in "$source"/docs/examples/*.c; do
    name=$(basename "$program" .c)
    echo "$name:"
    lines=$(wc -l <"$program")
    [ "$lines" -le 60 ] || { echo "$name.c has $lines lines, expected at most 60"; exit 1; }
    # shellcheck disable=SC2046
    ${CC:-cc} -Wall -Wextra -Werror ${CT_EXAMPLE_CFLAGS:-} "$program" \
        $(pkg-config --cflags --libs cotangent) -lm -o "$name"
    case $name in
    char_gru) set -- "$program" ;; # the text to learn
    mlp_classifier) set -- training.safetensors ;;
    *) set -- ;;
    esac
    LD_LIBRARY_PATH=$libraries "./$name" "$@" >out
    cat out
    learns out || { echo "$name has not learnt"; exit 1; }
done

# Stopped and gone on with, a training ends at the same bits.
LD_LIBRARY_PATH=$libraries ./mlp_classifier parts.safetensors 20 >out
cmp -s training.safetensors parts.safetensors && { echo "20 epochs are all of them"; exit 1; }
LD_LIBRARY_PATH=$libraries ./mlp_classifier parts.safetensors >out
cmp training.safetensors parts.safetensors
