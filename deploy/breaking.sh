#!/usr/bin/env bash
# Refuses changes of the protos that break clients, against the last commit that has landed.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/bin/tools:$PATH

base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
git cat-file -e "$base:buf.yaml" 2>/dev/null || { echo "no protos before this: nothing to break"; exit 0; }
# An export, not a clone: buf then needs nothing but files.
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" buf.yaml proto | tar -x -C "$old"
buf breaking --against "$old"
