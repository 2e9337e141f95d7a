#!/usr/bin/env bash
# Runs every test, and ends with the number of tests of each kind. A kind with fewer tests than tests/counts.tsv records
# is a failure: a test that is not run proves nothing. SIGHTLINE_COUNTS=write records the present numbers.
set -euo pipefail
cd "$(dirname "$0")/.."

# Each cell of scenario and fault that held is a line there: fault, scenario, result.
rm -rf target/matrix
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# What a failure says is not to be lost among frames of the runtime.
export RUST_BACKTRACE=0
# The longest, those of e2e, wait for a cluster for more than half of their time.
cores=$(nproc)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((cores + cores / 2))}
cargo test --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?

# "Running tests/e2e/main.rs (…)" or "Running unittests src/lib.rs (…)", then "test result: ok. 12 passed; 0 failed; …"
counts=$(awk '
  /^ *Running / { name = $2 == "unittests" ? "unit" : $2; sub(/^tests\//, "", name); sub(/(\/main)?\.rs$/, "", name) }
  /^ *Doc-tests / { name = "doc" }
  /^test result:/ { passed[name] += $4; failed[name] += $6 }
  END { for (kind in passed) print kind "\t" passed[kind] "\t" failed[kind] }
' "$log" | awk -F'\t' '$2 + $3 > 0' | sort)

if [ "${SIGHTLINE_COUNTS:-}" = write ]; then
  cut -f1,2 <<<"$counts" >tests/counts.tsv
fi
while IFS=$'\t' read -r kind least; do
  now=$(awk -F'\t' -v kind="$kind" '$1 == kind { print $2 }' <<<"$counts")
  if [ "${now:-0}" -lt "$least" ]; then
    echo "error: only ${now:-0} tests of kind $kind passed, tests/counts.tsv records $least" >&2
    status=1
  fi
done <tests/counts.tsv

# The fault matrix. A cell that did not hold has no line, and its test has failed above.
if compgen -G 'target/matrix/*.tsv' >/dev/null; then
  sort -u -k1,1V -t$'\t' -k2 target/matrix/*.tsv | awk -F'\t' '
    { cell[$1, $2] = $3; cells++ }
    !($1 in row) { row[$1]; rows[++r] = $1 }
    !($2 in column) { column[$2]; columns[++c] = $2 }
    END {
      line = "fault"; for (i = 1; i <= c; i++) line = line "\t" columns[i]; print line
      for (j = 1; j <= r; j++) {
        line = rows[j]
        for (i = 1; i <= c; i++) line = line "\t" ((rows[j], columns[i]) in cell ? cell[rows[j], columns[i]] : "-")
        print line
      }
    }' | column -t -s $'\t' | tee target/matrix.txt
  echo "matrix: $(cat target/matrix/*.tsv | wc -l) cells held"
fi

awk -F'\t' '{ line = line sep $1 " " $2; sep = ", "; passed += $2; failed += $3 }
  END { print "kinds: " line; print passed + 0 " passed, " failed + 0 " failed" }' <<<"$counts"
exit "$status"
