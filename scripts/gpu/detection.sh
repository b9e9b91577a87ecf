#!/usr/bin/env bash
# New steel defects without the old images on NEU-DET (folder neu-det of TOOLKIT_DATA), 3 + 3 classes: GFL on ResNet-50 at 320 pixels, EGOR
# against ERD and fine-tuning. Called by scripts/gpu_results.sh, which says what the variables are.
#
# WEIGHTS may name a file of ResNet-50's ImageNet weights, called as torchvision calls them; without it the backbone begins anew, and learns
# all of itself. One seed; nothing here is a row of a published table.
set -uo pipefail
cd "$(dirname "$0")/../.."
. scripts/gpu_scenario.sh
net="{backbone: resnet50}"
[ -z "${WEIGHTS:-}" ] || net="{backbone: resnet50, weights: $WEIGHTS, freeze_norms: true, freeze_first: true}"
run_scenario detection scenarios/egor_defects.yaml ap_all,ap50_all,ap_base,ap_new,ap_lost \
  --set name=detection_gpu --set seeds=1 --set fabric.device=a100 \
  --set "program.net=$net" --set 'program.data={kind: coco, name: neu-det, side: 320}' \
  --set 'program.base={training: {epochs: 24, batch: 16, lr: 0.0003, flip: true}}' \
  --set 'program.training={epochs: 12, batch: 16, lr: 0.0002, flip: true}' \
  --set 'program.inversion={per_class: 10, side: 160, iterations: 500, lr: 0.1, flip: 0.5, jitter: 20, at_once: 30}' \
  --set 'compare={EGOR: {}, ERD: {program.method: erd}, fine-tune: {program.method: fine_tune}}'
