// Package load puts load on a server and measures what comes of it, honestly.
//
//	Plan ──► Pacer ──► sends, each with the moment it was due ──► server
//	                                                             │
//	Result ◄── Summary ◄── Recorder ◄── what arrived, minus due ◄┘
//	       ◄── Counts, Usage of both sides, Env, Warnings
//
// A latency is always counted from the moment a send was due, never from the moment
// it got away: a stall of either side then shows in every send that waited behind it.
// Nothing is corrected afterwards. A result says itself whether it can be quoted, see
// Verdict.
//
// Player is the other half: it plays a trace.Recording to a server so that every fix
// arrives once, whatever the network loses.
package load
