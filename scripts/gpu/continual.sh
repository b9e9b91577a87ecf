#!/usr/bin/env bash
# CLFD, its hosts and E2Net with ResNet-18 on CIFAR-10: one epoch per task first (run continual-1), then twice as many, while there is time.
# Called by scripts/gpu_results.sh, which says what the variables are; MOST_EPOCHS (8) is where it ends, SETTINGS goes to toolkit.simulate.
set -uo pipefail
cd "$(dirname "$0")/../.."
BUDGET_S="${BUDGET_S:-600}" OUT="${OUT:-docs/results}" RUNS="${RUNS:-runs/gpu}" PYTHON="${PYTHON:-python}"
MOST_EPOCHS="${MOST_EPOCHS:-8}"
begun=$SECONDS
mkdir -p "$OUT" "$RUNS"
status=0
runs=()
for ((epochs = 1; epochs <= MOST_EPOCHS; epochs *= 2)); do
  run="$RUNS/continual-$epochs"
  left=$((BUDGET_S - 5 - (SECONDS - begun)))
  if [ ! -e "$run/DONE" ]; then
    [ "$left" -ge 1 ] || { status=3; break; }
    resume=()
    [ -e "$run" ] && resume=(--resume)
    # shellcheck disable=SC2086
    timeout --kill-after=3 "$left" "$PYTHON" -m toolkit.simulate scenarios/cifar10/clfd_resnet18.yaml --out "$run" --quiet \
      --set program.accelerator="${ACCELERATOR:-cuda}" --set program.budget.epochs="$epochs" ${SETTINGS:-} "${resume[@]}" 1>&2
    ended=$?
    if [ "$ended" = 2 ]; then exit 2; fi
    [ -e "$run/DONE" ] || status=3
  fi
  runs+=("$run")
  [ "$status" = 0 ] || break
done
[ ${#runs[@]} = 0 ] || "$PYTHON" scripts/run_table.py class_il,task_il,forgetting "${runs[@]}" > "$OUT/continual.md.partial" && mv "$OUT/continual.md.partial" "$OUT/continual.md"
exit $status
