#!/bin/sh
# Builds the example with the distribution's Go and nothing from the network:
#   apt-get install golang-go golang-google-grpc-dev golang-goprotobuf-dev protobuf-compiler
# build.sh PROTO WORK: PROTO holds Rodent's .proto files (/usr/share/rodent), WORK takes generated code and the program.
set -eu
proto=$1 work=$2 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work/generated" "$work/src/rodent"
names=Mproto/local.proto=rodent/local,Mproto/meaning.proto=rodent/meaning
names=$names,Mproto/events/event_messages.proto=rodent/events
names=$names,Mgoogle/protobuf/descriptor.proto=github.com/golang/protobuf/protoc-gen-go/descriptor
for file in proto/local.proto proto/meaning.proto proto/events/event_messages.proto; do
    protoc -I"$proto" --go_out="plugins=grpc,$names:$work/generated" "$file"
done
for package in local meaning events; do mkdir -p "$work/src/rodent/$package"; done
mv "$work/generated/proto/local.pb.go" "$work/src/rodent/local/"
mv "$work/generated/proto/meaning.pb.go" "$work/src/rodent/meaning/"
mv "$work/generated/proto/events/event_messages.pb.go" "$work/src/rodent/events/"
mkdir -p "$work/src/rodent/client"
cp "$here/main.go" "$work/src/rodent/client/"
GO111MODULE=off GOFLAGS= GOPATH="$work:/usr/share/gocode" GOCACHE="$work/cache" go build -o "$work/rodent-client" rodent/client
