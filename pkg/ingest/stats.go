package ingest

import (
	"iter"
	"reflect"
	"sync/atomic"
)

// counter says what became of a datagram, or what else is worth counting.
type counter uint8

// The counters stand in the order of the fields of Stats.
const (
	fine counter = iota
	badLen
	badVersion
	misrouted
	unknownID
	badSuite
	epochOld
	replay
	tooOld
	kdfBudget
	authFail
	nonceReuse
	rateLimited
	malformed
	timeFuture
	broken
	fixesTaken
	timeSuspect
	sessions
	epochFuture
	cloneSuspected
	acksSent
	acksSuppressed
	acksFailed
	batches
	readErrors
	counters

	outcomes = fixesTaken // those before it are what can become of a datagram
)

// Stats is what the door has counted since it opened. Each datagram that was read
// is counted once among the fields from OK to Broken, under the first question that
// it failed, so that their sum is what came out of the sockets.
type Stats struct {
	OK          uint64 `json:"ok"`           // taken
	BadLen      uint64 `json:"bad_len"`      // not 43..1200 bytes
	BadVersion  uint64 `json:"bad_version"`  // not a report of version 1
	Misrouted   uint64 `json:"misrouted"`    // came before the steering stood; its device's reader never saw it
	UnknownID   uint64 `json:"unknown_id"`   // no device has this id, or not any more
	BadSuite    uint64 `json:"bad_suite"`    // not the suite of the device
	EpochOld    uint64 `json:"epoch_old"`    // session older than the live ones, or refused by the floor
	Replay      uint64 `json:"replay"`       // seen before
	TooOld      uint64 `json:"too_old"`      // so far back that nobody knows whether it was seen
	KDFBudget   uint64 `json:"kdf_budget"`   // would open a session, and too many were asked for
	AuthFail    uint64 `json:"auth_fail"`    // forged or damaged
	NonceReuse  uint64 `json:"nonce_reuse"`  // authentic, under the packet id of another datagram
	RateLimited uint64 `json:"rate_limited"` // authentic, more than the device may send
	Malformed   uint64 `json:"malformed"`    // authentic, not a body
	TimeFuture  uint64 `json:"time_future"`  // authentic, more than a day ahead of our clock
	Broken      uint64 `json:"broken"`       // lost to a bug of ours; the log has the stack

	Fixes          uint64 `json:"fixes"`           // in the datagrams that are OK
	TimeSuspect    uint64 `json:"time_suspect"`    // datagrams of OK that are two minutes ahead or more
	Sessions       uint64 `json:"sessions"`        // epochs opened
	EpochFuture    uint64 `json:"epoch_future"`    // of these, more than an hour ahead
	CloneSuspected uint64 `json:"clone_suspected"` // devices whose two sessions alternated for ten minutes
	Acks           uint64 `json:"acks"`            // answers sent
	AcksSuppressed uint64 `json:"acks_suppressed"` // asked for, kept back by a limit
	AcksFailed     uint64 `json:"acks_failed"`     // refused by the system
	Reads          uint64 `json:"reads"`           // batches
	ReadErrors     uint64 `json:"read_errors"`

	SocketDrops uint64 `json:"socket_drops"` // lost by the kernel because a socket's buffer was full
	Filtered    uint64 `json:"filtered"`     // dropped by the kernel while junk came in floods
	Devices     uint64 `json:"devices"`      // wire ids that the readers know; goes down, too
	Readers     uint64 `json:"readers"`      // sockets that share the port
}

// All yields the numbers by their names.
func (s Stats) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		v := reflect.ValueOf(s)
		for i := range v.NumField() {
			if !yield(v.Type().Field(i).Tag.Get("json"), v.Field(i).Uint()) {
				return
			}
		}
	}
}

// Received is how many datagrams came out of the sockets.
func (s Stats) Received() uint64 {
	sum, v := uint64(0), reflect.ValueOf(s)
	for i := range int(outcomes) {
		sum += v.Field(i).Uint()
	}
	return sum
}

// tally is a reader's own counters, published once a batch; padded, so that no two
// readers write to one cache line.
type tally struct {
	_         [64]byte
	published [counters]atomic.Uint64
	devices   atomic.Uint64
	_         [64]byte
	now       [counters]uint64 // since the last publish; the reader's alone
	_         [64]byte
}

func (t *tally) count(c counter) { t.now[c]++ }

func (t *tally) publish() {
	for c := range t.now {
		if n := t.now[c]; n != 0 {
			t.published[c].Add(n)
			t.now[c] = 0
		}
	}
}

// addTo adds what has been published; any goroutine may ask.
func (t *tally) addTo(s *Stats) {
	v := reflect.ValueOf(s).Elem()
	for c := range t.published {
		f := v.Field(c)
		f.SetUint(f.Uint() + t.published[c].Load())
	}
	s.Devices += t.devices.Load()
}
