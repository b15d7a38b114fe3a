#!/usr/bin/env bash
# The example, step by step, as you would type it. State goes to demo-state/ and nothing else of yours is touched.
# One task of the list fails by design; this script fails if anything else does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
[ -x "$top/.venv/bin/elsewhere" ] && PATH=$top/.venv/bin:$PATH
export ELSEWHERE_HOME=${ELSEWHERE_HOME:-$top/demo-state}
mkdir -p "$ELSEWHERE_HOME"
chmod 700 "$ELSEWHERE_HOME"
cd "$here"
tasks=$ELSEWHERE_HOME/tasks.jsonl

show() { printf '\n$ %s\n' "$*"; }

# Runs a command that should end with status 1: some task failed.
with_one_failure() {
  show "$@"
  local status=0
  "$@" || status=$?
  if [ "$status" != 1 ]; then
    echo "exit status $status where 1 was expected (one task fails by design)" >&2
    exit 3
  fi
}

show python make_tasks.py "$tasks"
python make_tasks.py "$tasks"

with_one_failure elsewhere run "$tasks" --entry metrics.py:measure

show "elsewhere results @last | python top.py"
elsewhere results @last | python top.py

show elsewhere results @last --failed
elsewhere results @last --failed | tee "$ELSEWHERE_HOME/failed.jsonl"

with_one_failure elsewhere retry @last --failed

others=$(grep -cv '"broken"' "$ELSEWHERE_HOME/failed.jsonl" || true)
if [ "$others" != 0 ]; then
  echo "$others tasks failed that should not have" >&2
  exit 3
fi
printf '\nAll is as it should be: one task failed, by design. What you saw is kept in %s\n' "$ELSEWHERE_HOME"
printf 'Look at it again with: ELSEWHERE_HOME=%s %s explain @last/broken\n' "$ELSEWHERE_HOME" "$(command -v elsewhere)"
