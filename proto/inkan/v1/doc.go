// Package inkanpb is Inkan's contract: the gRPC services, the packets of the
// PIN socket and the error catalogue, generated from the .proto files beside
// it, which are the documentation.
//
// It guarantees that released numbers and names keep their meaning (buf
// breaking). A caller in Go should use package client instead.
package inkanpb

// APILevel is that of this contract: see GetVersionResponse. Each release that
// adds a method, or a field to a request, adds one.
//
// 1: the first release.
const APILevel = 1
