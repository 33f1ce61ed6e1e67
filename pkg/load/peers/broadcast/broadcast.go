// Package broadcast measures one stream to many viewers: ours beside other systems, and
// beside a loop that does nothing but write.
//
//	                                    ┌─► viewer: read, Take, ledger ─┐ lost? twice?
//	publisher ──► server ──────────────►├─► viewer                      ├─► Figure
//	U messages at once, F times a       └─► viewer                      ┘ CPU, bytes
//	second, by a plan that does not wait
//
// Everything is the same for all servers: connections, payload, plan, the goroutine a
// connection that reads into a buffer and scans, the books. What differs is a Target:
// how to start the server, how to greet it, how to make its bytes and how to find the
// messages in what it sends.
//
// The plan has one limit: no more than Window bursts are under way. A server that cannot
// keep up is sent less, and the figure says how much of the plan it was sent; latency
// counts from when a burst was due all the same. So what a delivery costs is known of
// slow servers, too, and no server is judged by how it fails.
//
// A delivery is checked: each message carries its number and the run that it belongs
// to, and each viewer keeps a ledger of the numbers.
package broadcast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/peers/codec"
	"tracker/pkg/track"
)

// Payload is the size of a message: its number and the number of the run.
const Payload = 16

// Target is a server that runs and how to speak to it.
type Target interface {
	Name() string
	Facts() Facts
	Process() *load.Process
	Dial(ctx context.Context) (net.Conn, error)
	// View makes the line one that gets every message of the run, and returns when that
	// is so.
	View(ctx context.Context, l *Line) error
	// Publish makes the line one that sends them, so many at once.
	Publish(ctx context.Context, l *Line, updates int) (Mouth, error)
	Close() error
}

// Facts are what is told of a target, so that its figures can be judged.
type Facts struct {
	Version  string   `json:"version,omitempty"`
	Settings []string `json:"settings,omitempty"` // those that decide results
	Promise  string   `json:"promise"`            // what it guarantees
	Confirms bool     `json:"confirms"`           // it tells the publisher what it has taken
}

// Ear finds messages in what a server sends.
type Ear interface {
	// Take hands out the whole messages in b and tells how many bytes are done with.
	Take(b []byte, to codec.Sink) (int, error)
	// Owe is what the server wants back, good until the next Take.
	Owe() []byte
}

// Mouth makes the bytes of a burst: n messages from a number on.
type Mouth interface {
	Append(dst []byte, from uint64, n int, due time.Time) []byte
}

// confirmer is an Ear of a server that says what it has taken from a publisher.
type confirmer interface{ Confirmed() int64 }

// Shape is what is done to a server.
type Shape struct {
	Viewers  int           // 0: 1,000
	Updates  int           // messages of a burst; 0: 1
	Bursts   int           // a second; 0: 20
	Window   int           // bursts under way; 0: 2
	Warmup   time.Duration // counts for nothing
	Duration time.Duration // 0: 4 s
	Drain    time.Duration // how long nothing may come before what is missing is lost; 0: 5 s
}

const (
	mostViewers = 20_000
	mostUpdates = 448 // of a report
	mostBursts  = 50_000
)

// Check fills in what is not said and finds what cannot be done.
func (s *Shape) Check() error {
	s.Viewers, s.Updates, s.Bursts, s.Window = cmp.Or(s.Viewers, 1000), cmp.Or(s.Updates, 1), cmp.Or(s.Bursts, 20), cmp.Or(s.Window, 2)
	s.Duration, s.Drain = cmp.Or(s.Duration, 4*time.Second), cmp.Or(s.Drain, 5*time.Second)
	var errs []error
	within := func(what string, v, most int) {
		if v < 1 || v > most {
			errs = append(errs, fmt.Errorf("%s %d: want 1 to %d: %w", what, v, most, track.ErrInvalid))
		}
	}
	within("viewers", s.Viewers, mostViewers)
	within("updates", s.Updates, mostUpdates)
	within("bursts a second", s.Bursts, mostBursts)
	within("bursts under way", s.Window, 50_000)
	if s.Duration < 0 || s.Warmup < 0 || s.Drain < 0 || s.planned(s.Duration) < 1 {
		errs = append(errs, fmt.Errorf("duration %v, warm-up %v: want time for a burst: %w", s.Duration, s.Warmup, track.ErrInvalid))
	}
	return errors.Join(errs...)
}

// spread is the same number of messages, each for itself and evenly over time. More of
// them may be under way: who gathers for a tick has a tick of them in hand.
func (s Shape) spread() Shape {
	s.Bursts, s.Window, s.Updates = s.Bursts*s.Updates, 2*s.Window*s.Updates, 1
	return s
}

// every is the time between two bursts.
func (s *Shape) every() time.Duration { return time.Second / time.Duration(s.Bursts) }

// planned is how many bursts are due in a time.
func (s *Shape) planned(d time.Duration) int { return int((d + s.every() - 1) / s.every()) }

// Figure is what one measurement of a target found out.
type Figure struct {
	Bursts, Planned int   // sent, and to be sent
	Messages        int64 // of those bursts
	Deliveries      int64 // different messages, over all viewers
	Took            time.Duration
	ServerCPU       time.Duration // if ServerKnown
	ClientCPU       time.Duration
	ServerKnown     bool
	RSS             int64 // of the server with all viewers connected
	Bytes, Reads    int64 // of all viewers
	Latency         *load.Recorder

	Lost, Duplicate, OutOfOrder int64
	Unconfirmed                 int64 // messages whose taking the server did not confirm, if it does that at all
	Faults                      []string
}

// ErrFailed marks a run that not every viewer got every message of, once and in order.
var ErrFailed = errors.New("the deliveries are not right")

// Err wraps ErrFailed unless everything arrived once and in order.
func (f *Figure) Err() error {
	if f.Lost+f.Duplicate+f.OutOfOrder+f.Unconfirmed == 0 {
		return nil
	}
	return fmt.Errorf("%w: of %d deliveries %d were lost, %d came twice, %d out of order, and %d messages were not confirmed: %q", ErrFailed,
		f.Deliveries+f.Lost, f.Lost, f.Duplicate, f.OutOfOrder, f.Unconfirmed, f.Faults)
}

// Rate is deliveries a second.
func (f *Figure) Rate() float64 { return per(float64(f.Deliveries), f.Took.Seconds()) }

// PerCore is deliveries a second of the server's processor time; 0 if that is unknown.
func (f *Figure) PerCore() float64 {
	if !f.ServerKnown {
		return 0
	}
	return per(float64(f.Deliveries), f.ServerCPU.Seconds())
}

func per(n, of float64) float64 {
	if of <= 0 {
		return 0
	}
	return n / of
}

const (
	busyClient = 0.9 // of its processor
	idleServer = 0.8
)

// ClientBound tells whether the client was the limit: it was busy, and the server not.
func (f *Figure) ClientBound() bool {
	took := f.Took.Seconds()
	return per(f.ClientCPU.Seconds(), took) > busyClient && f.ServerKnown && per(f.ServerCPU.Seconds(), took) < idleServer
}
