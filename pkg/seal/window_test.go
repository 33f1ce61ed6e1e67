package seal

import (
	"errors"
	"testing"
)

// slowWindow is what a window means: a set of all that was ever accepted.
type slowWindow struct {
	seen map[uint32]bool
	max  int64
}

func newSlowWindow() *slowWindow { return &slowWindow{map[uint32]bool{}, -1} }

func (s *slowWindow) check(pid uint32) error {
	if int64(pid) <= s.max-WindowLen {
		return ErrTooOld
	}
	if s.seen[pid] {
		return ErrReplay
	}
	return nil
}

func (s *slowWindow) accept(pid uint32) {
	s.seen[pid] = true
	s.max = max(s.max, int64(pid))
}

func (s *slowWindow) bitmap() (b uint16) {
	for i := range int64(16) {
		if s.max-i >= 0 && s.seen[uint32(s.max-i)] {
			b |= 1 << (15 - i)
		}
	}
	return b
}

func TestThreat03ReplayWindowAgreesWithASet(t *testing.T) {
	steps := 1_000_000
	if raceEnabled || testing.Short() {
		steps = 100_000
	}
	r := testRand(7)
	w, slow := Window{}, newSlowWindow()
	at := uint32(0)
	for i := range steps {
		var pid uint32
		switch r.IntN(20) {
		case 0:
			pid = at + 1 + r.Uint32N(200) // loss, at times of more than a window
		case 1:
			pid = r.Uint32N(MaxPID + 1) // nonsense
			if pid > at && i%1000 != 0 {
				pid = at // but rarely a jump that leaves nothing to count
			}
		case 2, 3, 4, 5:
			pid = at - min(at, r.Uint32N(2*WindowLen)) // late, or again
		case 6:
			pid = at - min(at, WindowLen-2+r.Uint32N(4)) // right at the edge
		default:
			pid = at + 1
		}
		if pid > MaxPID { // the epoch is over: the next begins
			w, slow, at = Window{}, newSlowWindow(), 0
			continue
		}
		got, want := w.Check(pid), slow.check(pid)
		if got != want {
			t.Fatalf("step %d: pid %d after %d: got %v, want %v", i, pid, at, got, want)
		}
		// Now and then a datagram that may come turns out to be forged.
		if got == nil && r.IntN(10) != 0 {
			w.Accept(pid)
			slow.accept(pid)
			at = max(at, pid)
		}
		if slow.max < 0 {
			continue
		}
		if highest, bitmap := w.Seen(); int64(highest) != slow.max || bitmap != slow.bitmap() {
			t.Fatalf("step %d: seen %d %016b, want %d %016b", i, highest, bitmap, slow.max, slow.bitmap())
		}
	}
}

func TestWindowEdges(t *testing.T) {
	type step struct {
		pid  uint32
		want error
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"id 0 comes first", []step{{0, nil}, {0, ErrReplay}, {1, nil}}},
		{"id 0 comes late", []step{{1, nil}, {0, nil}, {0, ErrReplay}, {1, ErrReplay}}},
		{"63 back is in, 64 back is out", []step{{100, nil}, {37, nil}, {36, ErrTooOld}, {37, ErrReplay}}},
		{"a jump of 64 keeps nothing", []step{{10, nil}, {74, nil}, {10, ErrTooOld}, {11, nil}}},
		{"a jump of 63 keeps one", []step{{10, nil}, {73, nil}, {10, ErrReplay}, {9, ErrTooOld}}},
		{"the last id of an epoch", []step{{MaxPID, nil}, {MaxPID, ErrReplay}, {MaxPID - 63, nil}, {MaxPID - 64, ErrTooOld}}},
	} {
		var w Window
		for i, s := range c.steps {
			if err := w.Check(s.pid); err != s.want {
				t.Errorf("%s: step %d, id %d: got %v, want %v", c.name, i, s.pid, err, s.want)
			} else if err == nil {
				w.Accept(s.pid)
			}
		}
	}
}

func TestRecoveredWindowHasSeenEverything(t *testing.T) {
	for _, maxPID := range []uint32{0, 1, 5, 63, 64, 1000, MaxPID} {
		w := Recovered(testEpoch, maxPID)
		for pid := range min(maxPID, 200) + 1 {
			if w.Check(maxPID-pid) == nil {
				t.Errorf("recovered at %d: id %d is taken again", maxPID, maxPID-pid)
			}
		}
		if err := w.Check(maxPID + 1); err != nil {
			t.Errorf("recovered at %d: the next id: %v", maxPID, err)
		}
	}
}

func TestEmptyWindowHasSeenNothing(t *testing.T) {
	var w Window
	if highest, bitmap := w.Seen(); highest != 0 || bitmap != 0 || w.Live() {
		t.Errorf("got %d %016b live=%v, want 0 0 false", highest, bitmap, w.Live())
	}
}

// slowEpochs remembers everything and decides by the words of the rule.
type slowEpochs struct {
	floor uint32
	live  []uint32 // newest first, at most two
	seen  map[uint32]*slowWindow
}

func (s *slowEpochs) check(epoch, pid uint32) error {
	for _, e := range s.live {
		if e == epoch {
			return s.seen[e].check(pid)
		}
	}
	if epoch < s.floor {
		return ErrEpochOld
	}
	for _, e := range s.live {
		if epoch < e {
			return ErrEpochOld
		}
	}
	return nil
}

func (s *slowEpochs) accept(epoch, pid uint32) {
	if s.seen[epoch] == nil {
		s.seen[epoch] = newSlowWindow()
		s.live = append([]uint32{epoch}, s.live...)
		s.live = s.live[:min(len(s.live), 2)]
	}
	s.seen[epoch].accept(pid)
}

func TestEpochsAgreeWithTheRule(t *testing.T) {
	r := testRand(8)
	for range 300 {
		floor := r.Uint32N(20)
		fast, slow := Epochs{Floor: floor}, slowEpochs{floor: floor, seen: map[uint32]*slowWindow{}}
		type id struct{ epoch, pid uint32 }
		taken := map[id]bool{}
		for i := range 500 {
			epoch, pid := uint32(i/20)+r.Uint32N(6), r.Uint32N(100)
			slot, got := fast.Check(epoch, pid)
			if want := slow.check(epoch, pid); got != want {
				t.Fatalf("step %d: epoch %d pid %d, live %v, floor %d: got %v, want %v", i, epoch, pid, slow.live, floor, got, want)
			}
			if got != nil {
				continue
			}
			if taken[id{epoch, pid}] {
				t.Fatalf("step %d: epoch %d pid %d taken twice", i, epoch, pid)
			}
			taken[id{epoch, pid}] = true
			fast.Accept(slot, epoch, pid)
			slow.accept(epoch, pid)
		}
	}
}

func TestThreat05ReplayOfAnOldSession(t *testing.T) {
	e := Epochs{Floor: 1000}
	send := func(epoch, pid uint32) error {
		slot, err := e.Check(epoch, pid)
		if err == nil {
			e.Accept(slot, epoch, pid)
		}
		return err
	}
	for _, c := range []struct {
		what       string
		epoch, pid uint32
		want       error
	}{
		{"below the floor of the enrolment", 999, 0, ErrEpochOld},
		{"first session", 1001, 0, nil},
		{"first session goes on", 1001, 1, nil},
		{"second session", 1002, 0, nil},
		{"the first is still live", 1001, 2, nil},
		{"and replays nothing", 1001, 1, ErrReplay},
		{"third session", 1005, 0, nil},
		{"the first, recorded, comes back", 1001, 3, ErrEpochOld},
		{"one between the live ones", 1003, 0, ErrEpochOld},
		{"the second is still live", 1002, 1, nil},
		{"a forged fourth is only looked at", 1005, 1, nil},
	} {
		if err := send(c.epoch, c.pid); !errors.Is(err, c.want) {
			t.Errorf("%s (epoch %d pid %d): got %v, want %v", c.what, c.epoch, c.pid, err, c.want)
		}
	}
	before := e
	if slot, err := e.Check(9999, 0); slot != SlotNew || err != nil || e != before {
		t.Errorf("a look at a new epoch: %v, %v, changed: %v", slot, err, e != before)
	}
}

func TestWindowDoesNotAllocate(t *testing.T) {
	e := Epochs{}
	pid := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		for range 3 { // new, replay, and again
			slot, err := e.Check(testEpoch, pid)
			if err == nil {
				e.Accept(slot, testEpoch, pid)
			}
		}
		e.Check(1, 0)
		pid += 2
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
