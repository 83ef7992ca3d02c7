#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a program outside the tree is given: every installed header compiles by itself as C and as
# C++, a program in either language links, and library, pkg-config file and `train` tell the same
# version.
set -eu
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

meson install -C "$build" --no-rebuild --destdir "$folder" >/dev/null
pc=$(find "$folder" -name cotangent.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder"
libraries=$(pkg-config --variable=libdir cotangent | sed "s|^$folder||;s|^|$folder|")
cflags=$(pkg-config --cflags cotangent)
libs=$(pkg-config --libs cotangent)
warnings="-Wall -Wextra -Werror ${CT_EXAMPLE_CFLAGS:-}"
languages="c"
! command -v "${CXX:-c++}" >/dev/null || languages="c c++"
compile() { # LANGUAGE ARGUMENTS...
    language=$1 && shift
    compiler=${CC:-cc}
    [ "$language" = c ] || compiler="${CXX:-c++}"
    # shellcheck disable=SC2086
    $compiler $warnings $cflags "$@"
}

cd "$(pkg-config --variable=includedir cotangent | sed "s|^$folder||;s|^|$folder|")/cotangent"
for header in $(find . -name '*.h' | sed 's|^\./||'); do
    for language in $languages; do
        echo "#include \"$header\"" | compile "$language" -fsyntax-only -x "$language" - ||
            { echo "$header does not compile by itself as $language"; exit 1; }
    done
done

cd "$folder"
cat >program.c <<'PROGRAM'
#include <stdio.h>

#include "models/models.h"

int main(void) {
    printf("%s\n", ct_version());
    return ct_ok() ? 0 : 1;
}
PROGRAM
expected=$(pkg-config --modversion cotangent)
for language in $languages; do
    # shellcheck disable=SC2086
    compile "$language" -x "$language" program.c -x none $libs -o program
    version=$(LD_LIBRARY_PATH=$libraries ./program)
    [ "$version" = "$expected" ] ||
        { echo "ct_version() is $version of a $language program, pkg-config says $expected"; exit 1; }
done
version=$("$build/train" --version)
[ "$version" = "cotangent $expected" ] ||
    { echo "train --version is '$version', pkg-config says $expected"; exit 1; }
grep -q "version: '$expected'" "$source/meson.build" ||
    { echo "pkg-config says $expected, meson.build another version"; exit 1; }
