#!/usr/bin/env bash
# The quick start: one program over real flights. `make demo` builds first and passes the binary.
set -euo pipefail
varpulis=${1:-varpulis}
cd "$(dirname "$0")/flights"

echo
echo "$ cat worst_routes.vpl"
cat worst_routes.vpl
echo
echo "$ varpulis worst_routes.vpl -i data/flights.csv --format table"
"$varpulis" worst_routes.vpl -i data/flights.csv --format table
