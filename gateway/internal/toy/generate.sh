#!/bin/sh
# Generates toy.pb.go and toy_grpc.pb.go, in a workspace of buf of their own.
set -eu
root=$(cd ../../.. && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/toy/toy/v1"
cp toy.proto "$tmp/toy/toy/v1/"
cp -r "$root/proto" "$tmp/proto"
cat >"$tmp/buf.yaml" <<'Y'
version: v2
modules: [{path: toy}, {path: proto, excludes: [proto/third_party]}, {path: proto/third_party}]
Y
cat >"$tmp/buf.gen.yaml" <<'Y'
version: v2
inputs: [{directory: ., paths: [toy/toy]}]
plugins:
  - {local: protoc-gen-go, out: out, opt: paths=source_relative}
  - {local: protoc-gen-go-grpc, out: out, opt: paths=source_relative}
Y
(cd "$tmp" && PATH="$root/bin/tools:$PATH" buf generate)
cp "$tmp"/out/toy/v1/*.go .
