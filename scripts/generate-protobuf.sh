#!/bin/sh
# Generates the TypeScript readers and writers of protobuf files from proto/. Run by hand after a change there;
# the results are committed. Needs protoc (Debian: protobuf-compiler); the plug-in is fetched into a temporary folder.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
npm install --silent --no-save --prefix "$tools" @bufbuild/protoc-gen-es@2.13.0

generate() { # generate <proto file> <output folder>
  mkdir -p "$root/$2"
  PATH="$tools/node_modules/.bin:$PATH" protoc -I "$root/proto" \
    --es_out="$root/$2" --es_opt=target=ts,import_extension=ts,erasable_syntax=true "$root/$1"
}

generate proto/onnx.proto src/onnx/generated
