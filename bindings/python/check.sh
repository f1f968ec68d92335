#!/usr/bin/env bash
# Builds the wheel, installs it into an environment of its own and tests it there; says plainly what it left out.
# Usage: bindings/python/check.sh [PYTHON]    exit code 0: what could be tested passed; 1: something failed.
#   PALIMPSEST_PROGRAM=FILE   a `palimpsest` of the same sources, whose results must be the same to the bit
#   PALIMPSEST_EXTRAS=1       installs torch, matplotlib and nbclient; else what PYTHON has of them is used
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-python3}

nothing() {
    echo "left out: the Python package was neither built nor tested, as $1"
    exit 0
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null || nothing "there is no Python 3.10 or newer"
command -v cargo > /dev/null || nothing "there is no Rust"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv --system-site-packages "$work/env" 2> /dev/null || nothing "this Python makes no environment (no venv)"
py="$work/env/bin/python"
# The wheel is built by the maturin of this environment.
export PATH="$work/env/bin:$PATH"
has() { "$py" -c "import $1" 2> /dev/null; }
"$py" -m pip install --quiet 'maturin>=1.16,<2' pytest || nothing "maturin and pytest cannot be installed"

# A place of its own, so that a second run builds only what changed.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
"$py" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/wheels" .
wheel=$(echo "$work"/wheels/*.whl)
echo "built $(basename "$wheel"), $(du -h "$wheel" | cut -f1)"
"$py" -m pip install --quiet --force-reinstall --no-deps "$wheel"
"$py" -m pip install --quiet "$wheel"
if [ -n "${PALIMPSEST_EXTRAS:-}" ]; then
    "$py" -m pip install --quiet torch matplotlib nbclient ipykernel
fi

left_out=()
has torch || left_out+=("torch models, as torch is not installed")
has matplotlib || left_out+=("plots, as matplotlib is not installed")
if [ -z "${PALIMPSEST_PROGRAM:-}" ] && ! command -v palimpsest > /dev/null; then
    left_out+=("the comparison with the command line; set PALIMPSEST_PROGRAM to a palimpsest")
fi

# From another folder, so that the installed package is tested and not the sources.
cp -r tests examples "$work"
cd "$work"
"$py" -m pytest -q -rs tests
if has matplotlib && has nbclient && has ipykernel; then
    "$py" examples/execute.py examples/mnist.ipynb executed.ipynb
else
    left_out+=("the notebook, as matplotlib, nbclient or ipykernel is not installed; PALIMPSEST_EXTRAS=1 installs them")
fi

for what in ${left_out[@]+"${left_out[@]}"}; do
    echo "left out: $what"
done
