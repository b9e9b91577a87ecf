#!/bin/sh
# New steel defects without the old images on NEU-DET (folder neu-det of TOOLKIT_DATA), 3 + 3 classes: GFL on ResNet-50 at 320 pixels, EGOR
# against ERD and fine-tuning, on one GPU, for at most LIMIT_S seconds (590). Called again with the same folder it goes on where it stopped.
#
#     TOOLKIT_DATA=... scripts/gpu/detection.sh [OUT]
#
# WEIGHTS may name a file of ResNet-50's ImageNet weights, called as torchvision calls them; without it the backbone begins anew, and learns
# all of itself. One seed; nothing here is a row of a published table.
set -eu
cd "$(dirname "$0")/../.."
out="${1:-results/detection_gpu}"
limit_s="${LIMIT_S:-590}"
python="${PYTHON:-python}"
resume=""
[ ! -d "$out" ] || resume="--resume"
net="{backbone: resnet50}"
[ -z "${WEIGHTS:-}" ] || net="{backbone: resnet50, weights: $WEIGHTS, freeze_norms: true, freeze_first: true}"

set +e
# shellcheck disable=SC2086
timeout --signal=INT --kill-after=20 "$limit_s" "$python" -m toolkit.simulate scenarios/egor_defects.yaml \
    --out "$out" $resume --quiet --jobs 1 \
    --set name=detection_gpu --set seeds=1 --set program.accelerator=cuda --set fabric.device=a100 \
    --set "program.net=$net" --set 'program.data={kind: coco, name: neu-det, side: 320}' \
    --set 'program.base={training: {epochs: 24, batch: 16, lr: 0.0003, flip: true}}' \
    --set 'program.training={epochs: 12, batch: 16, lr: 0.0002, flip: true}' \
    --set 'program.inversion={per_class: 10, side: 160, iterations: 500, lr: 0.1, flip: 0.5, jitter: 20, at_once: 30}' \
    --set 'compare={EGOR: {}, ERD: {program.method: erd}, fine-tune: {program.method: fine_tune}}'
found=$?
set -e
case "$found" in
    0) ;;
    124 | 130 | 137) echo "not whole after $limit_s s; call it again to go on" >&2 ;;
esac
exit "$found"
