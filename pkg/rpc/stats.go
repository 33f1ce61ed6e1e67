package rpc

import "sync/atomic"

// Fault is something that a peer, or a handler, did wrong.
type Fault uint8

// The faults. docs/rpc.md says how each is answered.
const (
	faultNone Fault = iota
	FaultPreamble
	FaultHandshake
	FaultVersion
	FaultAuth
	FaultSlowHandshake
	FaultTooManyHandshakes
	FaultKind
	FaultFlags
	FaultTooLarge
	FaultID
	FaultControl
	FaultMeta
	FaultMore
	FaultMessage
	FaultMethod
	FaultInflight
	FaultSubs
	FaultCredit
	FaultSlow
	FaultIdle
	FaultPanic
	FaultLate
	FaultTorn
	FaultBody
	faultCount
)

var faultNames = [faultCount]string{
	"", "preamble", "handshake", "version", "auth", "slow_handshake", "too_many_handshakes",
	"kind", "flags", "too_large", "id", "control", "meta", "more", "message", "method",
	"inflight", "subs", "credit", "slow", "idle", "panic", "late", "torn", "body",
}

func (f Fault) String() string { return faultNames[f] }

// Faults lists all there are.
func Faults() []Fault {
	all := make([]Fault, 0, faultCount-1)
	for f := faultNone + 1; f < faultCount; f++ {
		all = append(all, f)
	}
	return all
}

// Stats counts since the server was made; Conns, Inflight and Subs are of this moment.
type Stats struct {
	Conns, Inflight, Subs   int64
	Accepted                uint64 // connections that were welcomed
	Inline, Async, Notifies uint64 // requests by how they ran; Async counts keyed ones and subscriptions too
	Failed                  uint64 // requests answered with an ERR
	Cancels, Deadlines      uint64 // requests that were told to stop
	Overruns                uint64 // inline calls of over a millisecond, of the one in 1024 that is timed
	Events, Skipped         uint64 // updates sent, and updates nobody will get
	Reads, Writes           uint64 // system calls, more or less
	BytesRead, BytesWritten uint64
	faults                  [faultCount]uint64
}

// Fault says how often f happened.
func (s *Stats) Fault(f Fault) uint64 { return s.faults[f] }

type counters struct {
	conns, inflight, subs   atomic.Int64
	accepted                atomic.Uint64
	inline, async, notifies atomic.Uint64
	failed                  atomic.Uint64
	cancels, deadlines      atomic.Uint64
	overruns                atomic.Uint64
	events, skipped         atomic.Uint64
	reads, writes           atomic.Uint64
	bytesRead, bytesWritten atomic.Uint64
	faults                  [faultCount]atomic.Uint64
}

func (c *counters) fault(f Fault) { c.faults[f].Add(1) }

func (c *counters) snapshot() Stats {
	s := Stats{
		Conns: c.conns.Load(), Inflight: c.inflight.Load(), Subs: c.subs.Load(),
		Accepted: c.accepted.Load(),
		Inline:   c.inline.Load(), Async: c.async.Load(), Notifies: c.notifies.Load(),
		Failed: c.failed.Load(), Cancels: c.cancels.Load(), Deadlines: c.deadlines.Load(),
		Overruns: c.overruns.Load(), Events: c.events.Load(), Skipped: c.skipped.Load(),
		Reads: c.reads.Load(), Writes: c.writes.Load(),
		BytesRead: c.bytesRead.Load(), BytesWritten: c.bytesWritten.Load(),
	}
	for i := range c.faults {
		s.faults[i] = c.faults[i].Load()
	}
	return s
}
