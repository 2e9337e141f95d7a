#!/usr/bin/env bash
# Fuzzes the compiler of formats and lint's places in YAML: each target for $1 seconds (default 10). What it finds is kept in target/fuzz.
# The code has no `unsafe`, so no sanitizer is needed, and stable Rust does.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
version=0.13.1
cache="${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}/cargo-fuzz-$version"
if [ ! -x "$cache/bin/cargo-fuzz" ]; then
  cargo install --quiet --locked --root "$cache" "cargo-fuzz@$version"
fi

# Words of the language, which chance does not find: the operators, and what stands around them.
mkdir -p target/fuzz
{
  awk -F'\t' 'NR > 1 { print "\"%" $1 "\"" }' src/format/operators.tsv
  printf '"%s"\n' '%%' ')%' ':5%' '%REQ(X?Y)%' '{\"operators\":[' '{\"command\":' '\"param\":' '\"max_length\":' DYNAMIC: :FIELD: '.matches(' 'has(' \
    'a: ' '|-' '|2+' '>' '&a ' '*a' '<<: ' '\\\\u00e9' '\\\\\\x0a' '!!str ' '- '
} >target/fuzz/words.dict

for target in text json positions; do
  corpus=target/fuzz/corpus/$target
  mkdir -p "$corpus" "target/fuzz/artifacts/$target"
  "$cache/bin/cargo-fuzz" run --fuzz-dir fuzz --target-dir target/fuzz --sanitizer none "$target" "$corpus" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -dict=target/fuzz/words.dict \
    -artifact_prefix="target/fuzz/artifacts/$target/"
done
