#!/usr/bin/env bash
# RDD and its rivals on CIFAR-10 with a third of the paper's UNet, in bfloat16: base, halvings to 8 steps, then 4, 2 and 1 by each loss.
# Called by scripts/gpu_results.sh, which says what the variables are.
set -uo pipefail
cd "$(dirname "$0")/../.."
. scripts/gpu_scenario.sh
run_scenario diffusion scenarios/cifar10/rdd_third.yaml clf_fid@8,clf_fid@4,clf_fid@2,clf_fid@1,projected_fid@1,precision@1,recall@1
