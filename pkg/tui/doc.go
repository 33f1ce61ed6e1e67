// Package tui is the live map in a terminal, and the plain words for where there is no
// such terminal.
//
//	feed goroutine ── Snapshot, Apply, Left ──► Store ◄── copies ── screen
//	                                                                  │ compose
//	keys, mouse, size ──► Bubble Tea ──► screen (state only)           ▼
//	tick, as often as the terminal can take it ──────────────► one string ──► tty
//
// The feed never waits for the terminal, and the terminal never for the feed: between
// them is the Store, which holds the latest of every device. A frame is composed when
// a tick or a key asks for it, out of a copy of what the store holds at that moment;
// Bubble Tea is handed the finished string as often as it likes to ask.
//
// Below this package are canvas (cells, dots, colours), world (the map itself and its
// projection) and qr (codes for enrolment); they know nothing of devices.
package tui
