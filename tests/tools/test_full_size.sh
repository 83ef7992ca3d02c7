#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Published configurations on folders of the published files and sizes: COCO's features are 33 GB. The
# graph is printed, steps are taken, and what is resident stays far below that.
#
#     test_full_size.sh TRAIN STEP SOURCE

set -eu
train=$1
step=$2
source=$3
python=/usr/bin/python3
"$python" -c 'import numpy' 2>/dev/null || { echo "no numpy for $python"; exit 77; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

# check NAME TEXT FILE: FILE has TEXT
check() {
    grep -q -- "$2" "$3" || { echo "$1: no '$2' in:"; cat "$3"; exit 1; }
}

# full_size DATA LIKE IMAGES WORDS
full_size() {
    "$python" "$source/data/make_synthetic.py" --like "$2" --as-published --fill 16 \
        --glove 5000 300 "$folder/$1" > "$folder/made"
    set -- "$@" --set "data.folder=$folder/$1" --set "data.vocabulary=$folder/$1/vocabulary.json" \
        --set "text.embed=words vectors=$folder/$1/glove.txt" --set train.batch=4 \
        --set run.threads=2
    data=$1 images=$3 words=$4
    shift 4
    "$train" "$source/configs/${data}_policy.ini" --dry-run "$@" > "$folder/out" 2>&1 ||
        { cat "$folder/out"; exit 1; }
    check "$data" "^train: $images images of 36 regions x 2048 features, .* vocabulary $words\$" "$folder/out"
    check "$data" "^loss of the first batch: [0-9]" "$folder/out"
    "$step" "$source/configs/${data}_vsrn.ini" --steps 1 --warm-up 1 "$@" > "$folder/out" 2>&1 ||
        { cat "$folder/out"; exit 1; }
    check "$data" "memory: [0-3]\.[0-9]* GB resident at most" "$folder/out"
    rm -rf "${folder:?}/$data"
}

full_size f30k flickr30k 29000 8481
full_size coco coco 113287 11755
