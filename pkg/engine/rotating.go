package engine

import (
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// A credential with the flag p goes by another wire id in every window of 2^16
// seconds. The registry holds the ids of the window before, this one and the next,
// so that a device whose clock is off by hours is still known; the provisioned id
// itself is never on the wire. Two credentials that collide in 48 bits are too rare
// to serve both: the first keeps the id for that window, and it is counted.

type alias struct {
	cred   uint32
	window uint32
}

func windowOf(t time.Time) uint32 { return uint32(t.Unix()) >> 16 }

// addAliases makes a rotating credential known for the windows around now. It needs
// the root, which the caller unwraps.
func (r *registry) addAliases(i uint32, root *seal.Root, now time.Time) (collisions int) {
	w := windowOf(now)
	for _, window := range [...]uint32{w - 1, w, w + 1} {
		id := seal.RotatingID(root, window)
		if a, taken := r.alias[id]; taken && a.cred != i {
			collisions++
			continue
		}
		r.alias[id] = alias{cred: i, window: window}
	}
	return collisions
}

func (r *registry) dropAliases(i uint32) {
	if r.creds.at(i).flags&seal.RotatingIDs == 0 {
		return
	}
	for id, a := range r.alias {
		if a.cred == i {
			delete(r.alias, id)
		}
	}
}

// expireAliases forgets the ids of windows that are over.
func (r *registry) expireAliases(now time.Time) {
	w := windowOf(now)
	for id, a := range r.alias {
		if a.window+1 < w {
			delete(r.alias, id)
		}
	}
}

// resolve finds the credential behind the id that a datagram carries.
func (r *registry) resolve(wire track.DeviceID) (uint32, bool) {
	if i, ok := r.credAt(wire); ok {
		return i, r.creds.at(i).flags&seal.RotatingIDs == 0
	}
	a, ok := r.alias[wire]
	return a.cred, ok
}
