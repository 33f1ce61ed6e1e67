package ingest

import "time"

// A shield is the filter in the kernel that drops what cannot be a report, by length
// and first byte. It is up only while junk comes in floods: dropping there is cheap,
// but only what gets here can be counted by reason.
type shield struct {
	up       bool
	since    int64  // start of the second that is being counted, or of the shield
	junk     int    // in that second
	filtered uint64 // by the kernel, when it was last looked at
}

const (
	shieldAt = 2000             // junk datagrams a second that raise it
	shieldIn = 10 * time.Second // how often to see whether it can come down
)

// shieldFrom counts one junk datagram.
func (r *reader) shieldFrom() {
	s := &r.shield
	if s.up {
		return
	}
	if r.now-s.since >= ticks(time.Second) {
		s.since, s.junk = r.now, 0
	}
	if s.junk++; s.junk != shieldAt || !r.socket.shield(true) {
		return
	}
	s.up, s.since = true, r.now
	_, s.filtered = r.socket.drops()
	r.in.log.Warn("junk floods the datagram port; the kernel drops it now", "socket", r.index)
}

// lowerShield takes the shield down when the flood is over.
func (r *reader) lowerShield() {
	s := &r.shield
	if !s.up || r.now-s.since < ticks(shieldIn) {
		return
	}
	_, filtered := r.socket.drops()
	calm := filtered-s.filtered < shieldAt*uint64(shieldIn/time.Second)
	s.since, s.filtered = r.now, filtered
	if calm && r.socket.shield(false) {
		s.up, s.junk = false, 0
		r.in.log.Info("the flood of junk is over", "socket", r.index)
	}
}

// tend does once a second what needs no hurry.
func (r *reader) tend() {
	if r.now-r.lastTend < ticks(time.Second) {
		return
	}
	r.lastTend = r.now
	r.lowerShield()
	r.sweep()
}
