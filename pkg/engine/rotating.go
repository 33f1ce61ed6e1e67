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

func windowOf(t time.Time) uint32 { return uint32(t.Unix()) >> 16 }

// rotate makes a credential known by its ids of the windows around now, and by those
// alone. It needs the root, which the caller unwraps.
func (r *registry) rotate(i uint32, root *seal.Root, now time.Time) (collisions int) {
	r.dropAliases(i)
	w := windowOf(now)
	for _, window := range [...]uint32{w - 1, w, w + 1} {
		id := seal.RotatingID(root, window)
		if _, taken := r.alias[id]; taken {
			collisions++
			continue
		}
		r.alias[id] = i
		r.shown[i] = append(r.shown[i], id)
	}
	return collisions
}

func (r *registry) dropAliases(i uint32) {
	for _, id := range r.shown[i] {
		delete(r.alias, id)
	}
	delete(r.shown, i)
}

// resolve finds the credential behind the id that a datagram carries.
func (r *registry) resolve(wire track.DeviceID) (uint32, bool) {
	if i, ok := r.credAt(wire); ok {
		return i, r.creds.at(i).flags&seal.RotatingIDs == 0
	}
	i, ok := r.alias[wire]
	return i, ok
}
