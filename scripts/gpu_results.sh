#!/usr/bin/env bash
# Results that need a GPU, in ten minutes at most, without a network: calls every script in scripts/gpu and leaves their tables.
#
#   TOOLKIT_DATA=/data scripts/gpu_results.sh            # tables to docs/results, runs to runs/gpu; call it again to go on
#
# BUDGET_S   seconds in all (default 600)             OUT        folder of the tables (default docs/results)
# RUNS       folder of the runs (default runs/gpu)    PYTHON     interpreter (default python)
# SCRIPTS    folder of the scripts (scripts/gpu)      ACCELERATOR  cuda (default), or cpu to try the scripts out
#
# A script is given BUDGET_S and OUT, takes no longer, writes $OUT/<its name>.md with what it has so far, and exits 0 when it has
# everything, 3 when there is more to do. Each gets an equal share of the time that is left; what one leaves goes to the others.
set -uo pipefail
cd "$(dirname "$0")/.."
export BUDGET_S="${BUDGET_S:-600}" OUT="${OUT:-docs/results}" RUNS="${RUNS:-runs/gpu}" PYTHON="${PYTHON:-python}"
export ACCELERATOR="${ACCELERATOR:-cuda}"
begun=$SECONDS total=$BUDGET_S
mkdir -p "$OUT" "$RUNS"
if [ "$ACCELERATOR" = cuda ] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "error: torch finds no GPU here, and these results need one; ACCELERATOR=cpu tries the scripts out" >&2
  exit 2
fi
shopt -s nullglob
scripts=("${SCRIPTS:-scripts/gpu}"/*.sh)
unfinished=0
for place in "${!scripts[@]}"; do
  script=${scripts[$place]}
  left=$((total - (SECONDS - begun)))
  BUDGET_S=$((left / (${#scripts[@]} - place)))
  name=$(basename "$script" .sh)
  if [ "$BUDGET_S" -lt 1 ]; then
    echo "$name: no time left"
    unfinished=1
    continue
  fi
  echo "$name: at most $BUDGET_S s"
  timeout --kill-after=5 $((BUDGET_S + 2)) bash "$script"
  status=$?
  case $status in
    0) echo "$name: done" ;;
    3 | 124 | 137) echo "$name: more to do; call this again" && unfinished=1 ;;
    *) echo "$name: failed (exit status $status)" >&2 && exit "$status" ;;
  esac
done
[ "$unfinished" = 0 ] || exit 3
