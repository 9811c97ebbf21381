#!/usr/bin/env bash
# Runs every suite, also after one of them failed, and ends with one line about all of them.

set -uo pipefail
cd "$(dirname "$0")/.." || exit

# A test must not find the settings of the dropcron that the person who runs it has. Where uv is holds for everybody.
unset DATABASE_URL
for variable in "${!DROPCRON_@}"; do
    [[ $variable == DROPCRON_TEST_* || $variable == DROPCRON_UV ]] || unset "$variable"
done
export PYTHONDONTWRITEBYTECODE=1
# Its counts are read below.
export NO_COLOR=1

output=$(mktemp)
trap 'rm -f "$output"' EXIT
counts=()
failed=()
left_out=()
skipped=0

main() {
    suite Rust cargo test --locked
    suite shim python3 -m unittest discover -s runner_shim
    suite sample python3 -m unittest discover -s tests/samples
    suite API tools/test_api.sh
    suite page tools/page.sh test
    suite browser tools/page.sh browser
    summary
}

suite() {
    local name=$1
    shift
    echo "== $*"
    "$@" 2>&1 | tee "$output" || failed+=("$name")
    counts+=("$(count 's/^test result:.* \([0-9]*\) passed.*/\1/p; s/^Ran \([0-9]*\) tests\{0,1\} in .*/\1/p;
        s/^ *\([0-9]*\) generated, .*passed.*/\1/p; s/^ *Tests .*[^0-9]\([0-9][0-9]*\) passed.*/\1/p') $name")
    # A Rust test cannot be skipped while it runs: it passes, and says on a line of its own what it did not do.
    skipped=$((skipped + $(count 's/^test result:.* \([0-9]*\) ignored.*/\1/p; s/.*skipped=\([0-9]*\).*/\1/p;
        s/^ *Tests .*[^0-9]\([0-9][0-9]*\) skipped.*/\1/p; s/^\(test .* \.\.\. \)\{0,1\}skipped: .*/1/p')))
    left_out+=("$(sed -n 's/^skipped: \([^;:]*\).*/\1/p' "$output")")
}

# The sum of the numbers that a sed script prints.
count() {
    sed -n "$1" "$output" | awk '{ sum += $1 } END { print sum + 0 }'
}

summary() {
    local ran
    ran=$(IFS=,; echo "${counts[*]}")
    if [[ ${#failed[@]} -gt 0 ]]; then
        echo "make test: FAILED in: ${failed[*]} (after $SECONDS s)"
        exit 1
    fi
    echo "make test: passed: ${ran//,/, } tests, $skipped skipped, in $SECONDS s"
    printf '%s\n' "${left_out[@]}" | sed -n 's/./  left out: &/p'
}

main
