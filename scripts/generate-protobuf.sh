#!/bin/sh
# Generates src/coreml/generated and src/onnx/generated from proto/. Needs protoc (Debian: protobuf-compiler, macOS: brew install protobuf);
# the plugin is installed into a temporary folder.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
npm install --silent --no-save --prefix "$tools" @bufbuild/protoc-gen-es@2.17.0
rm -rf src/coreml/generated
mkdir -p src/coreml/generated
protoc --plugin="protoc-gen-es=$tools/node_modules/.bin/protoc-gen-es" \
  --es_out=src/coreml/generated --es_opt=target=ts,import_extension=ts \
  --proto_path=proto proto/mil.proto proto/model.proto

rm -rf src/onnx/generated
mkdir -p src/onnx/generated
protoc --plugin="protoc-gen-es=$tools/node_modules/.bin/protoc-gen-es" \
  --es_out=src/onnx/generated --es_opt=target=ts,import_extension=ts,erasable_syntax=true \
  --proto_path=proto proto/onnx.proto
