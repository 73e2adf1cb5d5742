#!/usr/bin/env bash
# Refuses generated code that is not what make gen makes of the protos.
set -euo pipefail
cd "$(dirname "$0")/.."

state() { git status --porcelain -- proto; git diff -- proto; }
before=$(state)
make -s gen
if [ "$before" != "$(state)" ]; then
	echo "make gen changes files: commit what it makes" >&2
	git status --short -- proto >&2
	exit 1
fi
