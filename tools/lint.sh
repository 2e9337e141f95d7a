#!/usr/bin/env bash
# Formatting, clippy (warnings are errors), and the licences, bans and sources of dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets --quiet -- -D warnings

# cargo-deny is pinned and kept in the tool cache. Advisories need a database that is no package registry: not checked.
version=0.20.2
cache="${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}/cargo-deny-$version"
if [ ! -x "$cache/bin/cargo-deny" ]; then
  cargo install --quiet --locked --root "$cache" "cargo-deny@$version"
fi
echo "cargo deny: licences, bans, sources (advisories are skipped: their database is not in a package registry)"
cargo fetch --locked --quiet
"$cache/bin/cargo-deny" --offline --log-level error check licenses bans sources
