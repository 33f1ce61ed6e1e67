package track

import "tracker/pkg/geo"

// Move is what one fix did to the present of its device. live finds it out, hub
// needs it to see who has to be told; 12 bytes, one a fix, in the same order.
type Move struct {
	From  geo.Point // where the device was before this fix, valid with Had
	Had   bool      // the device had a place before
	Fresh bool      // the fix is the present now; false: it was late and changed nothing
}

// Beat folds a heartbeat, a fix without a place, into the present f of its device:
// the place and its time stay, what the device says about itself is replaced, and
// Arrived tells when it was last heard.
func (f *Fix) Beat(beat *Fix) {
	f.Arrived, f.Event = beat.Arrived, beat.Event
	if beat.Has&HasBat != 0 {
		f.Bat, f.Has = beat.Bat, f.Has|HasBat
	}
}
