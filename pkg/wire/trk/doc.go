// Package trk is the services of the tracker in Go, all of it generated from
// pkg/wire/schema/tracker.fbs but this comment.
//
//	a value      XT             plain fields; AppendX writes it as a buffer
//	a buffer     ReadX, VerifyX checked before anybody looks into it
//	a view       X              reads fields from the buffer, copies nothing
//	a service    SServer        what answers; RegisterS gives it to an rpc.Server
//	             SClient        what calls, on anything that is an rpc.Caller
//
// A view is good as long as its buffer: in a server until the method returns, in a
// client as long as the caller likes. Its methods panic on a buffer that was not
// verified. scripts/generate makes the package, docs/services.md says what is in it.
package trk

//go:generate go run ../../rpc/rpcgen -root ../../..
