#!/usr/bin/env bash
# Builds the wheel, installs it into an environment of its own and tests it there; says plainly what it left out.
# Usage: bindings/python/check.sh [PYTHON]    exit code 0: what could be tested passed; 1: something failed.
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-python3}
left_out=()

if ! command -v "$python" > /dev/null || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "left out: the Python package was neither built nor tested, as there is no Python 3.10 or newer"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/env"
py="$work/env/bin/python"
# A place of its own in the target folder, so that a second run builds only what changed.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

"$py" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheels" .
wheel=$(echo "$work"/wheels/*.whl)
echo "built $(basename "$wheel"), $(du -h "$wheel" | cut -f1)"
"$py" -m pip install --quiet "$wheel" pytest

if [ -n "${PALIMPSEST_TORCH:-}" ]; then
    "$py" -m pip install --quiet torch
else
    left_out+=("torch models (set PALIMPSEST_TORCH=1 to install torch for them)")
fi
"$py" -c 'import matplotlib' 2> /dev/null || left_out+=("plots, as matplotlib is not installed")
if [ -z "${PALIMPSEST_PROGRAM:-}" ] && ! command -v palimpsest > /dev/null; then
    left_out+=("the comparison with the command line (set PALIMPSEST_PROGRAM to a palimpsest)")
fi

# From another folder, so that the installed package is tested and not the sources.
cp -r tests "$work/tests"
(cd "$work" && "$py" -m pytest -q -rs tests)

for what in "${left_out[@]:-}"; do
    [ -z "$what" ] || echo "left out: $what"
done
