package seal

import (
	"fmt"
	"math"
	"sync"
	"time"

	"tracker/pkg/track"
)

// Errors of a Sender that say what the device lacks.
var (
	ErrNoClock = fmt.Errorf("the clock is not set, and without flag c epochs need one: %w", track.ErrUnavailable)
	ErrNoEpoch = fmt.Errorf("no epoch is left; the device needs a new enrolment: %w", track.ErrUnavailable)
)

// TooSoonError: a device without storage must let the current second pass before
// its first datagram, so that two starts in one second cannot share an epoch.
type TooSoonError struct{ Wait time.Duration }

func (e *TooSoonError) Error() string { return fmt.Sprintf("the epoch begins in %v", e.Wait) }

// EpochStore is a device's memory of the epochs that it has used.
type EpochStore interface {
	// Reserve returns an epoch that it has never returned before, in this process or
	// an earlier one, and not below atLeast: see NextEpoch. The epoch is safe against
	// loss of power before Reserve returns. One that an error left in doubt counts as
	// used.
	Reserve(atLeast uint32) (uint32, error)
}

// NextEpoch is the rule of an EpochStore: the highest epoch that it has stored, 0
// for none, goes in; what it has to store next comes out.
func NextEpoch(stored, atLeast uint32) (uint32, error) {
	if stored == math.MaxUint32 {
		return 0, ErrNoEpoch
	}
	return max(stored+1, atLeast), nil
}

// SenderConfig is what a Sender needs to know of its device.
type SenderConfig struct {
	Enrolment Enrolment
	// Epochs is nil on a device without storage; that one needs a clock which never
	// goes back.
	Epochs EpochStore
	// Clock tells the time and whether to trust it: set since power-up from GNSS, NTP
	// or the network, and later than the build of the firmware. Nil is the system's
	// clock, trusted from 2025 on.
	Clock func() (now time.Time, trusted bool)
}

const (
	maxEpochAge = 24 * time.Hour
	windowBits  = 16 // a rotating id lasts 1<<16 seconds

	// clockFloor is 2025-01-01: a system clock before it was never set, and an epoch
	// before it was made without one.
	clockFloor = 1735689600

	clockSlack = 60 // seconds: a clock that is further behind was set back
)

// Sender is the device's side of the promise that no nonce is used twice. It holds
// the state of one enrolment:
//
//	           Reserve(max(clock, server's time))
//	┌──────┐ ────────────────────────────────────► ┌──────┐  Seal: pid, pid+1, pid+2 …
//	│ idle │                                       │ open │ ◄──┐
//	└──────┘ ◄──────────────────────────────────── └──────┘ ───┘
//	           pid 2^24-1 used, or 24 h old, or the server said "epoch old",
//	           or the id rotates
//
// The epoch is on disk before its first datagram exists, and the packet id moves on
// before its datagram does: whatever fails, and wherever the power goes, the next
// try has another id or another key. To send something again, send the identical
// bytes; to say it again, Seal it again.
//
// Methods may be called from any goroutine. Seal holds the lock while the store
// writes, once an epoch.
type Sender struct {
	cfg SenderConfig

	mu         sync.Mutex
	open, past session // past: late acks of the epoch before are still welcome
	last       uint32  // highest epoch of this process
	silent     int64   // without storage: the second of the first try, unix
	hint       time.Time
	hintAt     time.Time // our clock when the server said hint
}

// session is one epoch.
type session struct {
	live  bool
	spent bool   // the server wants no more of it
	head  Header // PID is the next one
	keys  Keys
	began time.Time
	acked Window
}

// NewSender checks the enrolment and does nothing else: the first Seal opens an
// epoch.
func NewSender(cfg SenderConfig) (*Sender, error) {
	if !cfg.Enrolment.Suite.Valid() || cfg.Enrolment.Device == 0 || cfg.Enrolment.Device > track.MaxDeviceID {
		return nil, fmt.Errorf("sender: enrolment without suite or id: %w", track.ErrInvalid)
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock
	}
	return &Sender{cfg: cfg}, nil
}

func systemClock() (time.Time, bool) {
	now := time.Now()
	return now, now.Unix() >= clockFloor
}

// Seal appends the next datagram with this body to dst and returns its header,
// which a later ack repeats. After an error the caller may try again, with the same
// body or another.
func (s *Sender) Seal(dst, body []byte) ([]byte, Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, trusted := s.cfg.Clock()
	if s.ended(now, trusted) {
		if err := s.begin(now, trusted); err != nil {
			return dst, Header{}, fmt.Errorf("open epoch: %w", err)
		}
	}
	h := s.open.head
	s.open.head.PID++ // before anything can fail: an id is used up by the attempt
	pkt, err := Seal(dst, h, &s.open.keys, body)
	if err != nil {
		return dst, Header{}, err
	}
	return pkt, h, nil
}

// ended tells whether the next datagram needs a new epoch.
func (s *Sender) ended(now time.Time, trusted bool) bool {
	o := &s.open
	if !o.live || o.spent || o.head.PID > MaxPID {
		return true
	}
	// Age by the wall, too: a clock that was just set right ends the epoch that was
	// opened while it was wrong.
	if now.Sub(o.began) >= maxEpochAge || now.Round(0).Sub(o.began.Round(0)) >= maxEpochAge {
		return true
	}
	t, known := s.time(now, trusted)
	return s.rotates() && known && windowOf(t) > int64(o.head.Epoch>>windowBits)
}

func (s *Sender) rotates() bool { return s.cfg.Enrolment.Flags&RotatingIDs != 0 }

// windowOf is the window of rotating ids that a time lies in.
func windowOf(t time.Time) int64 { return t.Unix() >> windowBits }

// time is the best that is known of the time: our clock if it is trusted, or the
// server's if that told us that ours is behind.
func (s *Sender) time(now time.Time, trusted bool) (t time.Time, known bool) {
	if trusted {
		t = now
	}
	if !s.hint.IsZero() {
		if server := s.hint.Add(now.Sub(s.hintAt)); !trusted || server.After(t) {
			t = server
		}
	}
	unix := t.Unix()
	return t, unix > 0 && unix <= math.MaxUint32
}

func (s *Sender) begin(now time.Time, trusted bool) error {
	t, known := s.time(now, trusted)
	if s.rotates() && !known {
		return ErrNoClock
	}
	epoch, err := s.reserve(t, known)
	if err != nil {
		return err
	}
	if epoch <= s.last {
		return fmt.Errorf("epoch store returned %d after %d", epoch, s.last)
	}
	s.last = epoch // used up from here on, whatever else goes wrong
	e := &s.cfg.Enrolment
	if epoch < clockFloor && e.Flags&CounterEpochs == 0 {
		return ErrNoClock
	}
	id := e.Device
	if s.rotates() {
		// The server knows the ids of the windows before, now and next. An epoch that
		// ran further ahead of the clock would shout into the void.
		if int64(epoch>>windowBits) > windowOf(t)+1 {
			return fmt.Errorf("stored epoch %d is ahead of the clock: %w", epoch, ErrNoEpoch)
		}
		id = RotatingID(&e.Root, epoch>>windowBits)
	}
	s.past = s.open
	s.open = session{
		live:  true,
		head:  Header{Suite: e.Suite, Device: id, Epoch: epoch},
		keys:  Derive(&e.Root, e.Suite, id, epoch),
		began: now,
	}
	return nil
}

// reserve finds an epoch that nobody has used, not below the time t if that is known.
func (s *Sender) reserve(t time.Time, known bool) (uint32, error) {
	if s.last == math.MaxUint32 {
		return 0, ErrNoEpoch
	}
	if s.cfg.Epochs == nil {
		if !known {
			return 0, ErrNoClock
		}
		return s.fromClock(t)
	}
	atLeast := s.last + 1
	if known {
		atLeast = max(atLeast, uint32(t.Unix()))
	}
	return s.cfg.Epochs.Reserve(atLeast)
}

// fromClock is the epoch of a device without storage: the current second, but not
// the one in which the device started. If it dies before that is over it has sent
// nothing; if after, its next start is silent until a later second.
func (s *Sender) fromClock(t time.Time) (uint32, error) {
	now := t.Unix()
	if s.silent == 0 || s.silent > now+clockSlack {
		s.silent = now
	}
	epoch := max(now, int64(s.last)+1)
	if epoch > now+clockSlack {
		return uint32(epoch), nil // the clock was set back; a server takes nothing lower
	}
	if begins := max(epoch, s.silent+1); now < begins {
		return 0, &TooSoonError{Wait: time.Unix(begins, 0).Sub(t)}
	}
	return uint32(epoch), nil
}

// OpenAck verifies an ack and returns it with the header of the report that it
// answers. An ack for anything but a report of this process's last two epochs, and
// a second ack for one report, is refused with ErrReplay or ErrTooOld; a forged one
// with ErrAuth. Neither means anything: ignore them.
//
// With AckEpochOld the sender has learnt the server's time, and the next Seal opens
// a new epoch from it; the report was not taken and has to be sealed again.
func (s *Sender) OpenAck(pkt []byte) (Header, Ack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var from *session
	h, a, err := OpenAck(pkt, func(h Header) *[32]byte {
		if from = s.waiting(h); from == nil {
			return nil
		}
		return &from.keys.Ack
	})
	if err != nil {
		return Header{}, Ack{}, err
	}
	from.acked.Accept(h.PID)
	if a.Status == AckEpochOld && from == &s.open {
		s.hint = time.Unix(int64(a.Time), 0)
		s.hintAt, _ = s.cfg.Clock()
		s.open.spent = true
	}
	return h, a, nil
}

// waiting finds the epoch in which a report with this header was sent and not yet
// acknowledged.
func (s *Sender) waiting(h Header) *session {
	for _, e := range []*session{&s.open, &s.past} {
		sent := e.live && h.PID < e.head.PID
		if sent && h.Suite == e.head.Suite && h.Device == e.head.Device && h.Epoch == e.head.Epoch && e.acked.Check(h.PID) == nil {
			return e
		}
	}
	return nil
}
