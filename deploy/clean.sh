#!/usr/bin/env bash
# clean.sh DATA: stops the stack, removes its hosts and then its data. Only a directory that slipway made is removed.
set -euo pipefail
. "$(dirname "$0")/start.sh"

[ -e "$data/stack-id" ] || { echo "No data of slipway in $data."; exit 0; }
"$(dirname "$0")/down.sh" "$data"
[ -x "$here/bin/slipway" ] || { echo "make build first: only slipway can remove its hosts" >&2; exit 1; }
$as_root "$here/bin/slipway" wipe --data "$data"
