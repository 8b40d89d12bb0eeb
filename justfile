# Each recipe is one line that you can also type: `just` only saves you remembering it. https://just.systems

set positional-arguments

# Lists the recipes
default:
    @just --list

# Servers, weir and a worker, to develop with; Ctrl-C stops them
dev:
    scripts/dev

# All tests, on servers of their own; or those whose names contain a word: just test shop::
test *arguments:
    scripts/test "$@"

# All checks that run nothing; or some: just lint cheap
lint *arguments:
    scripts/lint "$@"

# Lays out Rust and Python, and puts right what can be
fmt:
    scripts/lint --fix

# Measures weir next to what bounds it, in under ten minutes (as root): just bench --help
bench *arguments:
    scripts/bench "$@"

# Breaks a weir of its own under load, and looks for every event (as root): just faults --minutes 5
faults *arguments:
    scripts/faults "$@"

# Attacks a weir of its own, and measures what that costs: just siege --help
siege *arguments:
    scripts/siege "$@"

# Writes openapi.json anew; a test compares it with what weir serves
openapi:
    cargo run --quiet --locked -- openapi >openapi.json.new && mv openapi.json.new openapi.json

# Writes docs/prometheus.md anew; a test compares it with the list of metrics
metrics:
    cargo run --quiet --locked -- metrics >docs/prometheus.md.new && mv docs/prometheus.md.new docs/prometheus.md

# Writes sql/schema/ anew, for the edition of the server that DATABASE_URL names: just schema --check
schema *arguments:
    scripts/schema "$@"

# Opens the documentation of the code, private items included
doc:
    cargo doc --workspace --no-deps --document-private-items --locked --open
