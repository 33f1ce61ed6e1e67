package seal

// Window remembers which packet ids of one epoch have been seen: the highest and
// the 64 up to it. 16 bytes without a pointer, made to live in other rooms'
// records. The zero Window has seen nothing.
type Window struct {
	Epoch uint32
	Max   uint32 // highest accepted id + 1; 0: none yet, so that id 0 is no special case
	Bits  uint64 // bit i: id Max-1-i was accepted
}

// WindowLen is how many ids back a late datagram may be.
const WindowLen = 64

// Recovered is the window of an epoch after a restart, when only the highest id is
// known: everything up to it counts as seen.
func Recovered(epoch, maxPID uint32) Window {
	return Window{Epoch: epoch, Max: maxPID + 1, Bits: ^uint64(0)}
}

// Live tells whether the window belongs to an epoch at all. A slot is taken only by
// a datagram that opened, so a live window has accepted something.
func (w *Window) Live() bool { return w.Max != 0 }

// Check tells whether an id is new, without changing anything: nil, ErrReplay or
// ErrTooOld.
func (w *Window) Check(pid uint32) error {
	if pid >= w.Max {
		return nil
	}
	back := w.Max - 1 - pid
	if back >= WindowLen {
		return ErrTooOld
	}
	if w.Bits>>back&1 != 0 {
		return ErrReplay
	}
	return nil
}

// Accept marks an id as seen. Call it only after Check allowed the id and the
// datagram opened.
func (w *Window) Accept(pid uint32) {
	if pid < w.Max {
		w.Bits |= 1 << (w.Max - 1 - pid)
		return
	}
	// Shifts of 64 and more leave 0, which is what a jump past the window means.
	w.Bits = w.Bits<<(pid+1-w.Max) | 1
	w.Max = pid + 1
}

// Seen is what an ack tells of the window: the highest id and, in bit 15 down to
// bit 0, whether it and the 15 before it arrived. An empty window is 0, 0.
func (w *Window) Seen() (highest uint32, bitmap uint16) {
	if w.Max == 0 {
		return 0, 0
	}
	for i := range 16 {
		bitmap |= uint16(w.Bits>>i&1) << (15 - i)
	}
	return w.Max - 1, bitmap
}

// Slot is where a datagram belongs by its epoch.
type Slot uint8

const (
	SlotOld    Slot = iota // nowhere: older than the live epochs, or refused by the floor
	SlotNewest             // the newest live epoch
	SlotOlder              // the one before it
	SlotNew                // a new epoch, once it has opened
)

// Place decides where an epoch belongs, given the two live windows (an empty one
// has Max 0) and the lowest epoch that may be opened. It touches nothing, and older
// only where newest does not already decide, so that a table may keep it elsewhere.
//
// An epoch is new only above both live ones. Without that a recorded session
// could come back after the device had moved on.
func Place(epoch, floor uint32, newest, older *Window) Slot {
	if newest.Live() && epoch <= newest.Epoch {
		if epoch == newest.Epoch {
			return SlotNewest
		}
		if older.Live() && epoch == older.Epoch {
			return SlotOlder
		}
		return SlotOld
	}
	if epoch < floor {
		return SlotOld
	}
	return SlotNew
}

// Epochs are the replay state of one credential: two live epochs and the floor. A
// room that spreads them over several tables uses Place instead.
type Epochs struct {
	Floor         uint32 // lowest epoch that may be opened
	Newest, Older Window
}

// Check tells where a datagram belongs and whether its id is new there. An error is
// ErrEpochOld, ErrReplay or ErrTooOld. Nothing changes.
func (e *Epochs) Check(epoch, pid uint32) (Slot, error) {
	slot := Place(epoch, e.Floor, &e.Newest, &e.Older)
	switch slot {
	case SlotNewest:
		return slot, e.Newest.Check(pid)
	case SlotOlder:
		return slot, e.Older.Check(pid)
	case SlotNew:
		return slot, nil
	}
	return slot, ErrEpochOld
}

// Accept records a datagram that Check allowed and that opened. A new epoch pushes
// the older of the two out for good.
func (e *Epochs) Accept(slot Slot, epoch, pid uint32) {
	switch slot {
	case SlotNewest:
		e.Newest.Accept(pid)
	case SlotOlder:
		e.Older.Accept(pid)
	case SlotNew:
		e.Older = e.Newest
		e.Newest = Window{Epoch: epoch}
		e.Newest.Accept(pid)
	}
}
