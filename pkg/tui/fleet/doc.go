// Package fleet is what the map knows of devices, apart from how it is drawn.
//
//	client.Watch ── Take ──► Store ── Refresh ──► Frame ──► whoever draws
//	                           │                    │
//	                           ├► Log               └► Order, the list
//	                           └► Trail, Spark, Info
//
// One goroutine feeds a Store; screens copy out of it. Neither waits for the other
// longer than a copy takes, and nobody holds the Store while writing to a terminal. A
// Frame is the Store at one moment, with the state of every device: all panes of one
// picture are drawn out of one Frame.
//
// An index names a device within one Frame only, because the Store uses indices again.
// What outlives a frame, such as a selection, is kept by DeviceID.
package fleet
