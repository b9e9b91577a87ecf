#!/usr/bin/env bash
# Learning without old data on Tiny-ImageNet (200 images a class, 64x64 pixels), 100 + 5 x 20 classes: eTag against LwF, GFR, PASS and FeTrIL.
# Called by scripts/gpu_results.sh, which says what the variables are.
#
# A ResNet-18 of a quarter of the width, 6 epochs a task, one seed: what fits. It is no row of the published table.
set -uo pipefail
cd "$(dirname "$0")/../.."
. scripts/gpu_scenario.sh
run_scenario exemplar_free scenarios/paper/etag_tiny_imagenet_100_5.yaml incremental,last_accuracy,forgetting \
  --set name=exemplar_free_gpu --set seeds=1 --set 'program.task.model={name: resnet18, options: {nf: 16}}' \
  --set program.budget.epochs=6 --set program.save_every=100 --set program.learn=true \
  --set 'program.method={type: etag, generator_epochs: 30, distil: 0.1}' \
  --set 'compare={FeTrIL: {program.method: fetril, program.lr: 0.05}, LwF: {program.method: lwf, program.lr: 0.05}, GFR: {program.method: {type: gfr, generator_epochs: 30, distil: 0.1}}, PASS: {program.method: {type: pass_il, distil: 1.0}}, eTag: {}}'
