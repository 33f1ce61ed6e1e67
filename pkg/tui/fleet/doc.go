// Package fleet is what the map knows of devices, apart from how it is drawn.
//
//	client.Watch ── Take ──► Store ── Refresh ──► Frame ──► whoever draws
//	                           │                    │
//	                           ├► rules ──► Log     └► Order, the list
//	                           └► Trail, Spark, Info
//
// One goroutine feeds a Store; screens copy out of it. Neither waits for the other
// longer than a copy takes, and nobody holds the Store while writing to a terminal. A
// Frame is the Store at one moment, with the state of every device and whether the
// filter means it: all panes of one picture are drawn out of one Frame. It costs as
// much as has changed since the one before.
//
// Every fix, and every second without one, goes through the rules, which write what a
// person may want to know into the Log. What is worth an order of its own, sorting, is
// done beside the frames and not in them.
//
// An index names a device within one Frame only, because the Store uses indices again.
// What outlives a frame, such as a selection, is kept by DeviceID.
//
// For memory, a device is three things: a Point, 40 bytes that frames copy; a device,
// two hundred bytes that nobody looks at unless somebody asks for that device; and a
// chain of blocks of its trail. A hundred thousand of them fit into 60 MB.
package fleet
