# Run one scenario within a budget and leave its table: for the scripts in scripts/gpu, which source this. Not a command.
#
#   run_scenario NAME SCENARIO METRIC,METRIC [options of toolkit.simulate ...]
#
# BUDGET_S, OUT, RUNS, PYTHON, ACCELERATOR and SETTINGS are those of scripts/gpu_results.sh. Exits 0 when the run is whole, 3 when there is
# more to do; a run that was begun goes on.
run_scenario() {
  local name=$1 scenario=$2 metrics=$3
  shift 3
  local out="${OUT:-docs/results}" run="${RUNS:-runs/gpu}/$name" python="${PYTHON:-python}" ended=0 resume=()
  mkdir -p "$out" "${RUNS:-runs/gpu}"
  if [ ! -e "$run/DONE" ]; then
    [ -e "$run" ] && resume=(--resume)
    # shellcheck disable=SC2086
    timeout --signal=INT --kill-after=3 "$((${BUDGET_S:-600} - 12))" "$python" -m toolkit.simulate "$scenario" --out "$run" --quiet --jobs 1 \
      --set program.accelerator="${ACCELERATOR:-cuda}" "$@" ${SETTINGS:-} "${resume[@]}" 1>&2
    ended=$?
    [ "$ended" = 2 ] && exit 2
  fi
  if [ -e "$run/versions.json" ]; then
    "$python" scripts/run_table.py "$metrics" "$run" > "$out/$name.md.partial" && mv "$out/$name.md.partial" "$out/$name.md"
  fi
  [ -e "$run/DONE" ] || exit 3
}
