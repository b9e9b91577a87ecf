#!/bin/sh
# Learning without old data on Tiny-ImageNet (200 images a class, 64x64 pixels), 100 + 5 x 20 classes: eTag against LwF, GFR, PASS and FeTrIL
# on one GPU, for at most LIMIT_S seconds (590). Called again with the same folder it goes on where it stopped.
#
#     TOOLKIT_DATA=... scripts/gpu/exemplar_free.sh [OUT]
#
# A ResNet-18 of a quarter of the width, 6 epochs a task, one seed: what fits. It is no row of the published table.
set -eu
cd "$(dirname "$0")/../.."
out="${1:-results/exemplar_free_gpu}"
limit_s="${LIMIT_S:-590}"
python="${PYTHON:-python}"
resume=""
[ ! -d "$out" ] || resume="--resume"

set +e
# shellcheck disable=SC2086
timeout --signal=INT --kill-after=20 "$limit_s" "$python" -m toolkit.simulate scenarios/paper/etag_tiny_imagenet_100_5.yaml \
    --out "$out" $resume --quiet \
    --set name=exemplar_free_gpu --set seeds=1 --set program.accelerator=cuda \
    --set 'program.task.model={name: resnet18, options: {nf: 16}}' \
    --set program.budget.epochs=6 --set program.save_every=100 --set program.learn=true \
    --set 'program.method={type: etag, generator_epochs: 30, distil: 0.1}' \
    --set 'compare={FeTrIL: {program.method: fetril, program.lr: 0.05}, LwF: {program.method: lwf, program.lr: 0.05}, GFR: {program.method: {type: gfr, generator_epochs: 30, distil: 0.1}}, PASS: {program.method: {type: pass_il, distil: 1.0}}, eTag: {}}'
found=$?
set -e
case "$found" in
    0) ;;
    124 | 130 | 137) echo "not whole after $limit_s s; call it again to go on" >&2 ;;
esac
exit "$found"
