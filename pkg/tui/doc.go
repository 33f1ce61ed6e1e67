// Package tui is the live map in a terminal, and the way to the plain words for where
// there is no such terminal.
//
//	feed ──► fleet.Store ──► fleet.Frame ──► screen ──► canvas ──► tty
//	                                           ▲  │
//	        keys, mouse, size ── Handle ───────┘  └──► chart: the map itself
//
// The feed never waits for the terminal, and the terminal never for the feed: between
// them is the Store, which holds the latest of every device. A frame is drawn when the
// terminal can take one and something changed, out of a copy of what the store holds at
// that moment. Everything that is drawn goes by the store's clock. What the palette is told
// to run runs beside all this, and what it has said so far is read for a frame: see CLI.
//
// The rooms below, from the ground up: canvas (cells, dots, colours) and world (the map
// and its projection) know no devices; look says what things look like and words how
// numbers read; fleet is what is known of devices, overlay what people add; chart draws
// them, past shows another time; tty is the terminal, tell the sentences, snap the
// files, page the small screens; conf is what people may set; qr draws codes for
// enrolment; tuitest is what tests share.
package tui
