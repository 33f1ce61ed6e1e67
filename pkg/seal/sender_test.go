package seal

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// clock is a device's clock that a test sets. Its times have no monotonic part, so
// what a test sets is all that counts.
type clock struct {
	at      time.Time
	trusted bool
}

func (c *clock) now() (time.Time, bool) { return c.at, c.trusted }

func (c *clock) set(unix int64)              { c.at = time.Unix(unix, 0) }
func (c *clock) advance(d time.Duration)     { c.at = c.at.Add(d) }
func clockAt(unix int64, trusted bool) clock { return clock{time.Unix(unix, 0), trusted} }

// flash is an EpochStore that survives the process.
type flash struct{ stored uint32 }

func (f *flash) Reserve(atLeast uint32) (uint32, error) {
	epoch, err := NextEpoch(f.stored, atLeast)
	if err == nil {
		f.stored = epoch
	}
	return epoch, err
}

const testNow = int64(1780000000) // after clockFloor

func testEnrolment(flags EnrolFlags) Enrolment {
	return Enrolment{Host: "t.example.org", Device: testDevice, Root: *testRoot(), Suite: ChaCha20Poly1305, Flags: flags}
}

func newTestSender(t testing.TB, flags EnrolFlags, store EpochStore, c *clock) *Sender {
	t.Helper()
	s, err := NewSender(SenderConfig{Enrolment: testEnrolment(flags), Epochs: store, Clock: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sendOne(t testing.TB, s *Sender) ([]byte, Header) {
	t.Helper()
	pkt, h, err := s.Seal(nil, fullBody)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseHeader(pkt); err != nil || got != h {
		t.Fatalf("the datagram says %+v, %v, the sender %+v", got, err, h)
	}
	return pkt, h
}

func TestSenderCountsFromZeroInEachEpoch(t *testing.T) {
	c, f := clockAt(testNow, true), &flash{}
	s := newTestSender(t, 0, f, &c)
	for pid := range uint32(5) {
		if _, h := sendOne(t, s); h.Epoch != uint32(testNow) || h.PID != pid {
			t.Errorf("got epoch %d pid %d, want %d %d", h.Epoch, h.PID, testNow, pid)
		}
	}
	s = newTestSender(t, 0, f, &c) // a restart within the same second
	if _, h := sendOne(t, s); h.Epoch != uint32(testNow)+1 || h.PID != 0 {
		t.Errorf("after a restart: got epoch %d pid %d, want %d 0", h.Epoch, h.PID, testNow+1)
	}
}

func TestSenderOpensANewEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		flags EnrolFlags
		until func(*Sender, *clock)
		want  bool
	}{
		"not after a day less a second": {0, func(_ *Sender, c *clock) { c.advance(24*time.Hour - time.Second) }, false},
		"after a day":                   {0, func(_ *Sender, c *clock) { c.advance(24 * time.Hour) }, true},
		"not at the last packet id":     {0, func(s *Sender, _ *clock) { s.open.head.PID = MaxPID }, false},
		"after the last packet id":      {0, func(s *Sender, _ *clock) { s.open.head.PID = MaxPID + 1 }, true},
		"when the id rotates":           {RotatingIDs, func(_ *Sender, c *clock) { c.set(testNow | 0xffff + 1) }, true},
		"not before":                    {RotatingIDs, func(_ *Sender, c *clock) { c.set(testNow | 0xffff) }, false},
		"when a clock from 1970 is set": {CounterEpochs, func(_ *Sender, c *clock) { *c = clockAt(testNow+86400, true) }, true},
	} {
		clk := clockAt(testNow, true)
		s := newTestSender(t, c.flags, &flash{}, &clk)
		_, first := sendOne(t, s)
		c.until(s, &clk)
		pkt, second := sendOne(t, s)
		if got := second.Epoch > first.Epoch && second.PID == 0; got != c.want {
			t.Errorf("%s: from %+v to %+v", name, first, second)
		}
		k := Derive(testRoot(), second.Suite, second.Device, second.Epoch)
		var o Opener
		if _, err := o.Open(nil, second.Suite, &k.Up, pkt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSenderCannotSendWithout(t *testing.T) {
	broken := storeFunc(func(uint32) (uint32, error) { return 0, errors.New("flash is worn out") })
	stuck := storeFunc(func(uint32) (uint32, error) { return uint32(testNow), nil })
	for name, c := range map[string]struct {
		flags EnrolFlags
		store EpochStore
		clock clock
		sends int // that succeed before
		want  error
	}{
		"clock nor storage":             {0, nil, clockAt(0, false), 0, ErrNoClock},
		"clock, storage new":            {0, &flash{}, clockAt(0, false), 0, ErrNoClock},
		"clock, ids rotate":             {RotatingIDs, &flash{uint32(testNow)}, clockAt(testNow, false), 0, ErrNoClock},
		"an epoch left":                 {0, &flash{math.MaxUint32}, clockAt(testNow, true), 0, ErrNoEpoch},
		"a stored epoch near the clock": {RotatingIDs, &flash{uint32(testNow + 3<<16)}, clockAt(testNow, true), 0, ErrNoEpoch},
		"its store":                     {0, broken, clockAt(testNow, true), 0, nil},
		"a store that moves on":         {0, stuck, clockAt(testNow, true), 1, nil},
	} {
		s := newTestSender(t, c.flags, c.store, &c.clock)
		for range c.sends {
			sendOne(t, s)
			c.clock.advance(25 * time.Hour)
		}
		pkt, _, err := s.Seal([]byte("kept"), fullBody)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || string(pkt) != "kept" {
			t.Errorf("without %s: got %q, %v, want %v", name, pkt, err, c.want)
		}
	}
}

type storeFunc func(uint32) (uint32, error)

func (f storeFunc) Reserve(atLeast uint32) (uint32, error) { return f(atLeast) }

func TestSenderCountsEpochsWithoutAClock(t *testing.T) {
	c, f := clockAt(0, false), &flash{}
	for boot := range uint32(5) {
		s := newTestSender(t, CounterEpochs, f, &c)
		if _, h := sendOne(t, s); h.Epoch != boot+1 {
			t.Errorf("boot %d: got epoch %d, want %d", boot, h.Epoch, boot+1)
		}
	}
}

func TestSenderWithoutStorageLetsTheSecondPass(t *testing.T) {
	c := clock{time.Unix(testNow, 250e6), true}
	s := newTestSender(t, 0, nil, &c)
	var wait *TooSoonError
	if _, _, err := s.Seal(nil, fullBody); !errors.As(err, &wait) || wait.Wait != 750*time.Millisecond {
		t.Fatalf("in the second of the start: got %v, want a wait of 750ms", err)
	}
	c.advance(wait.Wait)
	_, first := sendOne(t, s)
	if first.Epoch != uint32(testNow)+1 {
		t.Errorf("got epoch %d, want %d", first.Epoch, testNow+1)
	}
	s = newTestSender(t, 0, nil, &c) // dies and starts again at once
	if _, _, err := s.Seal(nil, fullBody); !errors.As(err, &wait) {
		t.Fatalf("again in one second: got %v, want TooSoonError", err)
	}
	c.advance(wait.Wait)
	if _, second := sendOne(t, s); second.Epoch <= first.Epoch {
		t.Errorf("got epoch %d after %d", second.Epoch, first.Epoch)
	}
}

// Without storage a clock must not go back; if it was wrong and is set right, the
// sender still goes on, and upwards.
func TestSenderWithoutStorageSurvivesACorrectedClock(t *testing.T) {
	c := clockAt(testNow+1e6, true)
	s := newTestSender(t, 0, nil, &c)
	s.Seal(nil, fullBody)
	c.set(testNow) // before anything was sent
	if _, _, err := s.Seal(nil, fullBody); !errors.As(err, new(*TooSoonError)) {
		t.Errorf("in the second in which it was set: got %v, want TooSoonError", err)
	}
	c.set(testNow + 1)
	_, first := sendOne(t, s)
	if first.Epoch != uint32(testNow)+1 {
		t.Errorf("got epoch %d, want %d", first.Epoch, testNow+1)
	}
	c.set(testNow + 86401)
	_, second := sendOne(t, s)
	c.set(testNow + 1000) // after; and the epoch is used up
	s.SkipTo(MaxPID + 1)
	_, third := sendOne(t, s)
	if second.Epoch != uint32(testNow)+86401 || third.Epoch != second.Epoch+1 {
		t.Errorf("got epochs %d and %d, want %d and one more", second.Epoch, third.Epoch, testNow+86401)
	}
}

func TestSenderUsesUpAnIDPerAttempt(t *testing.T) {
	c := clockAt(testNow, true)
	s := newTestSender(t, 0, &flash{}, &c)
	sendOne(t, s)
	if _, _, err := s.Seal(nil, make([]byte, MaxBody+1)); err == nil {
		t.Fatal("a body that is too long was sealed")
	}
	if _, h := sendOne(t, s); h.PID != 2 {
		t.Errorf("after a failed attempt: got pid %d, want 2", h.PID)
	}
}

func TestSenderTakesItsAcksOnce(t *testing.T) {
	c := clockAt(testNow, true)
	s := newTestSender(t, 0, &flash{}, &c)
	_, first := sendOne(t, s)
	key := func(h Header) *[32]byte { k := Derive(testRoot(), h.Suite, h.Device, h.Epoch); return &k.Ack }
	ack := func(h Header, st AckStatus) []byte { return AppendAck(nil, h, Ack{Status: st}, key(h)) }

	c.advance(25 * time.Hour)
	_, second := sendOne(t, s)
	unsent := second
	unsent.PID++
	elsewhere := second
	elsewhere.Device++
	forged := ack(second, AckOK)
	forged[14] = byte(AckEpochOld)
	for _, step := range []struct {
		name string
		pkt  []byte
		want error
	}{
		{"forged", forged, ErrAuth},
		{"of the epoch before", ack(first, AckOK), nil},
		{"the same again", ack(first, AckOK), ErrReplay},
		{"of this epoch", ack(second, AckClock), nil},
		{"again, with another status", ack(second, AckOK), ErrReplay},
		{"of a report not sent yet", ack(unsent, AckOK), ErrReplay},
		{"of another device", ack(elsewhere, AckOK), ErrReplay},
	} {
		if _, _, err := s.OpenAck(step.pkt); !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
	}
	if _, h := sendOne(t, s); h.Epoch != second.Epoch || h.PID != 1 {
		t.Errorf("a forged ack moved the sender to %+v", h)
	}
}

func TestSenderFromManyGoroutinesNeverRepeats(t *testing.T) {
	c := clockAt(testNow, true)
	s := newTestSender(t, 0, &flash{}, &c)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[uint32]bool{}
	for range 8 {
		wg.Go(func() {
			for range 200 {
				_, h, err := s.Seal(nil, fullBody)
				mu.Lock()
				if err != nil || seen[h.PID] {
					t.Errorf("pid %d again, %v", h.PID, err)
				}
				seen[h.PID] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestNewSenderRefuses(t *testing.T) {
	for name, e := range map[string]Enrolment{"no suite": {Device: 1}, "no id": {Suite: 1}} {
		if _, err := NewSender(SenderConfig{Enrolment: e}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s, err := NewSender(SenderConfig{Enrolment: testEnrolment(0), Epochs: &flash{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, h := sendOne(t, s); h.Epoch < clockFloor {
		t.Errorf("with the system's clock: epoch %d", h.Epoch)
	}
}

// cut is what a power cut panics with.
type cut struct{}

// world is a device in a hostile place: the power goes at any step, clocks are lost
// and set, the storage comes back from a backup. It keeps what no nonce may do twice.
type world struct {
	r       *rand.Rand
	real    time.Time // what time it is in truth
	flash   uint32
	high    uint32 // the highest epoch that was ever reserved, whatever flash says now
	forget  bool   // the store lies: it returns before it has written
	fuse    int    // steps until the power goes
	steps   int
	used    map[Header]int // (key, pid): the key is a function of the rest
	repeats int
	sent    int
}

func (w *world) step() {
	w.steps++
	if w.fuse--; w.fuse < 0 {
		panic(cut{})
	}
}

func (w *world) Reserve(atLeast uint32) (uint32, error) {
	w.step() // before the write
	epoch, err := NextEpoch(w.flash, atLeast)
	if err != nil {
		return 0, err
	}
	if !w.forget {
		w.flash = epoch
	}
	w.high = max(w.high, epoch)
	w.step() // written, but nobody knows
	return epoch, nil
}

// boot runs the device from power-up to the end of power and reports how.
func (w *world) boot(clk func() (time.Time, bool), flags EnrolFlags, sends int) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(cut); !ok {
				panic(r)
			}
		}
	}()
	s, err := NewSender(SenderConfig{
		Enrolment: testEnrolment(flags),
		Epochs:    w,
		Clock:     func() (time.Time, bool) { w.step(); return clk() },
	})
	if err != nil {
		panic(err)
	}
	for range sends {
		w.step()
		pkt, _, err := s.Seal(nil, fullBody)
		if errors.Is(err, ErrNoClock) {
			return
		}
		if err != nil {
			panic(err)
		}
		h, err := ParseHeader(pkt)
		if err != nil {
			panic(err)
		}
		w.used[h]++ // the nonce is spent as soon as the datagram exists, sent or not
		if w.used[h] > 1 {
			w.repeats++
		}
		w.step()
		w.sent++
		w.real = w.real.Add(time.Duration(w.r.Int64N(int64(9 * time.Hour))))
	}
}

func newWorld(seed uint64) *world {
	return &world{r: testRand(seed), real: time.Unix(testNow, 0), used: map[Header]int{}}
}

// A clock that was never set starts near 1970 and is not trusted.
func (w *world) clock(set bool) func() (time.Time, bool) {
	if set {
		return func() (time.Time, bool) { return w.real, true }
	}
	power := w.real
	return func() (time.Time, bool) { return time.Unix(0, 0).Add(w.real.Sub(power)), false }
}

func TestThreat07PowerCutAtEveryStep(t *testing.T) {
	for _, flags := range []EnrolFlags{0, CounterEpochs, RotatingIDs} {
		// Two boots in a row, the first of which dies at each of its steps in turn.
		for fuse := range 60 {
			for _, set := range []bool{true, false} {
				w := newWorld(uint64(fuse))
				w.fuse = fuse
				w.boot(w.clock(set), flags, 12)
				w.fuse = math.MaxInt
				w.boot(w.clock(set), flags, 12)
				if w.repeats > 0 {
					t.Errorf("flags %q, clock set %v, cut at step %d: %d nonces repeat", flags, set, fuse, w.repeats)
				}
			}
		}
	}
}

func TestThreat07TenThousandBootsNeverRepeatANonce(t *testing.T) {
	boots := 10_000
	if raceEnabled {
		boots = 2_000
	}
	for _, flags := range []EnrolFlags{0, CounterEpochs, RotatingIDs} {
		w := newWorld(uint64(flags))
		backup := uint32(0)
		for range boots {
			w.fuse = w.r.IntN(60)
			switch w.r.IntN(20) {
			case 0:
				backup = w.flash
			case 1:
				// A restored backup is safe only for a device with a clock, and once the
				// clock has passed every epoch that ran ahead of it.
				if flags&CounterEpochs == 0 && int64(w.high) < w.real.Unix() {
					w.flash = backup
				}
			}
			set := w.r.IntN(4) != 0 || w.flash < w.high
			w.boot(w.clock(set), flags, w.r.IntN(15))
			w.real = w.real.Add(time.Duration(w.r.Int64N(int64(time.Minute))))
		}
		if w.repeats > 0 {
			t.Errorf("flags %q: %d of %d nonces repeat", flags, w.repeats, len(w.used))
		}
		if w.sent < boots {
			t.Errorf("flags %q: only %d datagrams in %d boots", flags, w.sent, boots)
		}
	}
}

// The simulator would notice: a store that does not write before it returns makes
// two boots share an epoch.
func TestThreat07SimulatorCatchesAForgetfulStore(t *testing.T) {
	w := newWorld(1)
	w.forget = true
	for range 3 {
		w.fuse = math.MaxInt
		w.boot(w.clock(false), CounterEpochs, 3)
	}
	if w.repeats == 0 {
		t.Error("no nonce repeats although nothing is ever stored")
	}
}

func TestThreat07WithoutStorageStartsInOneSecond(t *testing.T) {
	r, used := testRand(3), map[Header]bool{}
	c := clockAt(testNow, true)
	sent := 0
	for range 3000 {
		s := newTestSender(t, 0, nil, &c)
		for range r.IntN(6) {
			_, h, err := s.Seal(nil, fullBody)
			var wait *TooSoonError
			if errors.As(err, &wait) {
				if wait.Wait <= 0 || wait.Wait > time.Second {
					t.Fatalf("wait of %v", wait.Wait)
				}
				c.advance(min(wait.Wait, time.Duration(r.Int64N(int64(time.Second)))))
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if used[h] {
				t.Fatalf("%+v twice", h)
			}
			used[h] = true
			sent++
			c.advance(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
		}
		c.advance(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
	}
	if sent < 500 {
		t.Errorf("only %d datagrams", sent)
	}
}

// server is as much of a server as a sender can see.
type server struct {
	epochs Epochs
	now    int64
}

func (v *server) receive(pkt []byte) (ack []byte, err error) {
	h, err := ParseHeader(pkt)
	if err != nil {
		return nil, err
	}
	k := Derive(testRoot(), h.Suite, h.Device, h.Epoch)
	slot, windowErr := v.epochs.Check(h.Epoch, h.PID)
	if windowErr != nil && slot != SlotOld {
		return nil, windowErr
	}
	var o Opener
	if _, err := o.Open(nil, h.Suite, &k.Up, pkt); err != nil {
		return nil, err
	}
	if slot == SlotOld {
		return AppendAck(nil, h, Ack{Status: AckEpochOld, Time: uint32(v.now)}, &k.Ack), windowErr
	}
	v.epochs.Accept(slot, h.Epoch, h.PID)
	return AppendAck(nil, h, Ack{Time: uint32(v.now)}, &k.Ack), nil
}

func TestThreat09ClockAt1970Or2038(t *testing.T) {
	const y2038 = int64(math.MaxInt32) + 10
	enrolledAt := uint32(testNow - 86400)

	t.Run("1970 without storage or flag c never gets a key", func(t *testing.T) {
		c := clockAt(100, true) // it even believes it
		s := newTestSender(t, 0, &flash{}, &c)
		if _, _, err := s.Seal(nil, fullBody); !errors.Is(err, ErrNoClock) {
			t.Errorf("got %v, want ErrNoClock", err)
		}
		c = clockAt(testNow, true)
		if _, h := sendOne(t, s); h.Epoch != uint32(testNow) {
			t.Errorf("once the clock is set: epoch %d, want %d", h.Epoch, testNow)
		}
	})
	t.Run("a year behind, with downlink", func(t *testing.T) {
		c := clockAt(testNow-365*86400, true)
		srv := server{epochs: Epochs{Floor: enrolledAt}, now: testNow}
		s := newTestSender(t, 0, &flash{}, &c)
		pkt, _ := sendOne(t, s)
		ack, err := srv.receive(pkt)
		if !errors.Is(err, ErrEpochOld) {
			t.Fatalf("got %v, want ErrEpochOld", err)
		}
		if _, a, err := s.OpenAck(ack); err != nil || a.Status != AckEpochOld {
			t.Fatalf("ack %+v, %v", a, err)
		}
		c.advance(5 * time.Second)
		pkt, h := sendOne(t, s)
		if _, err := srv.receive(pkt); err != nil || h.Epoch != uint32(testNow)+5 {
			t.Errorf("after the ack: epoch %d, %v, want %d", h.Epoch, err, testNow+5)
		}
	})
	t.Run("a year behind, without downlink", func(t *testing.T) {
		c := clockAt(testNow-365*86400, true)
		srv := server{epochs: Epochs{Floor: enrolledAt}, now: testNow}
		s := newTestSender(t, 0, nil, &c)
		s.Seal(nil, fullBody) // the second of its start passes in silence
		c.advance(time.Second)
		pkt, _ := sendOne(t, s)
		if _, err := srv.receive(pkt); !errors.Is(err, ErrEpochOld) {
			t.Fatalf("got %v, want ErrEpochOld", err)
		}
		c.set(testNow) // NTP
		pkt, h := sendOne(t, s)
		if _, err := srv.receive(pkt); err != nil || h.Epoch != uint32(testNow) {
			t.Errorf("once the clock is right: epoch %d, %v, want %d", h.Epoch, err, testNow)
		}
	})
	t.Run("2038, then right again", func(t *testing.T) {
		c, f := clockAt(y2038, true), &flash{}
		srv := server{epochs: Epochs{Floor: enrolledAt}, now: testNow}
		pkt, _ := sendOne(t, newTestSender(t, 0, f, &c))
		if _, err := srv.receive(pkt); err != nil {
			t.Fatalf("an epoch of the future: %v", err)
		}
		c.set(testNow)
		pkt, h := sendOne(t, newTestSender(t, 0, f, &c))
		if _, err := srv.receive(pkt); err != nil || h.Epoch != uint32(y2038)+1 {
			t.Errorf("with storage: epoch %d, %v, want %d", h.Epoch, err, y2038+1)
		}
		// The card was wiped: only the operator can help, by resetting the floor.
		f.stored = 0
		s := newTestSender(t, 0, f, &c)
		pkt, _ = sendOne(t, s)
		if _, err := srv.receive(pkt); !errors.Is(err, ErrEpochOld) {
			t.Fatalf("below the future: got %v, want ErrEpochOld", err)
		}
		srv.epochs = Epochs{Floor: enrolledAt}
		pkt, _ = sendOne(t, s)
		if _, err := srv.receive(pkt); err != nil {
			t.Errorf("after the reset: %v", err)
		}
	})
}

func TestThreat21TrackingByID(t *testing.T) {
	c := clockAt(testNow, true)
	s := newTestSender(t, RotatingIDs, &flash{}, &c)
	type seenIn struct{ window, at int }
	seen := map[[4]byte]seenIn{}
	for w := range 5 {
		for i := range 3 {
			pkt, h := sendOne(t, s)
			if want := RotatingID(testRoot(), h.Epoch>>16); h.Device != want || h.Device == testDevice {
				t.Fatalf("window %d: id %s, want %s", w, h.Device, want)
			}
			for at := 0; at+4 <= len(pkt); at++ {
				key := [4]byte(pkt[at:])
				if before, ok := seen[key]; ok && before.window != w {
					t.Errorf("windows %d and %d share %x (bytes %d and %d)", before.window, w, key, before.at, at)
				}
				seen[key] = seenIn{w, at}
			}
			c.advance(time.Duration(i+1) * time.Minute)
		}
		c.advance(20 * time.Hour)
	}
}

func TestTooSoonErrorSaysHowLong(t *testing.T) {
	if got, want := (&TooSoonError{time.Second}).Error(), "the epoch begins in 1s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
