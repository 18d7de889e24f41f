# Sourced by the scripts beside it. Goes to the checkout's root and gives them one function:
#
#     setup EXTRA    a virtual environment .venv with this checkout and its extra EXTRA installed
#
# Nothing outside the checkout is written. A second call is quick: what was installed is remembered
# until pyproject.toml or the pinned versions change.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 2; }

# What runs here starts this program by the hundred: where nothing may keep its byte code, each start compiles all of it.
unset PYTHONDONTWRITEBYTECODE

PINS=requirements/tests.txt
pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet "$@"; }

is_new_enough() { "$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_pip() { "$1" -m pip --version >/dev/null 2>&1; }

# Prints the name of a Python that is new enough. A name may be there and not run, so each is run.
find_python() {
    local python
    for python in python3.13 python3.12 python3.11 python3.14 python3 python; do
        if is_new_enough "$python"; then
            echo "$python"
            return
        fi
    done
    fail "needs Python 3.11 or newer, and found none (looked for python3.13, 3.12, 3.11, 3.14, python3, python)"
}

# Three ways, because distributions split Python up: Debian has venv, pip and virtualenv in packages of their own.
make_environment() {
    local python=$1
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv >/dev/null 2>&1 && has_pip .venv/bin/python && return
    if has_pip "$python" && "$python" -m venv --clear --without-pip .venv >/dev/null 2>&1; then
        "$python" -m pip --python .venv/bin/python install --quiet pip >/dev/null 2>&1 || true
        has_pip .venv/bin/python && return
    fi
    "$python" -m virtualenv --quiet --clear .venv >/dev/null 2>&1 && has_pip .venv/bin/python && return
    virtualenv --quiet --clear --python "$python" .venv >/dev/null 2>&1 && has_pip .venv/bin/python && return
    fail "$python can't make a virtual environment with pip: install its venv and pip" \
        "(Debian, Ubuntu: apt-get install python3-venv python3-pip)"
}

setup() {
    local extra=$1 python stamp wanted
    # Two scripts at once would install over each other: one waits for the other where flock is there.
    exec 9<.
    if command -v flock >/dev/null; then flock 9; fi
    if ! has_pip .venv/bin/python; then
        python=$(find_python)
        make_environment "$python"
    elif ! is_new_enough .venv/bin/python; then
        fail "the Python in .venv is older than 3.11: remove .venv and run this again"
    fi
    stamp=.venv/.installed-$extra
    # The checkout's place is part of it: an environment that was copied along points to the original.
    wanted=$({ pwd -P; cat pyproject.toml "$PINS"; } | .venv/bin/python -c \
        'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "installing bulkmig[$extra] into .venv"
        # The versions that are known to work, each file by its hash; what the index hasn't got, as pyproject.toml has it.
        if [ "$extra" = demo ] || ! pip --require-hashes --requirement "$PINS"; then
            if [ "$extra" != demo ]; then say "the pinned versions can't be had here: installing others"; fi
            pip --editable ".[$extra]"
        else
            pip --no-deps --editable .
        fi
        echo "$wanted" >"$stamp"
    fi
    exec 9<&-
}
