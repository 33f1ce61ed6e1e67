package broadcast

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// appendPayload makes the payload of a message: its number and that of the run.
func appendPayload(dst []byte, seq, salt uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return binary.LittleEndian.AppendUint64(dst, salt)
}

// ledger is what one viewer has got. While all goes well that is one number.
type ledger struct {
	salt    uint64
	planned uint64 // no message has this number, or a greater one
	next    uint64 // all before it came, unless seen knows better
	settled uint64 // deliveries that were timed: those before it
	seen    []uint64
	odd     []uint64 // of this read, out of the row

	duplicate, outOfOrder int64
}

var errStray = fmt.Errorf("%w: a message that nobody sent in this run", ErrFailed)

// Message notes one.
func (l *ledger) Message(p []byte) error {
	if len(p) != Payload {
		return fmt.Errorf("%w: %d bytes long", errStray, len(p))
	}
	seq, salt := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
	if salt != l.salt || seq >= l.planned {
		return fmt.Errorf("%w: number %d of run %x", errStray, seq, salt)
	}
	if seq == l.next && l.seen == nil {
		l.next++
		return nil
	}
	l.note(seq)
	return nil
}

// note keeps a message that is not the next, or that comes after one that was not.
func (l *ledger) note(seq uint64) {
	if l.seen == nil {
		l.seen = make([]uint64, (l.planned+63)/64)
		for i := range l.next {
			l.seen[i/64] |= 1 << (i % 64)
		}
		for i := l.settled; i < l.next; i++ { // of the same read, and still in the row
			l.odd = append(l.odd, i)
		}
	}
	word, bit := &l.seen[seq/64], uint64(1)<<(seq%64)
	switch {
	case *word&bit != 0:
		l.duplicate++
		return
	case seq < l.next:
		l.outOfOrder++
	default:
		l.next = seq + 1
	}
	*word |= bit
	l.odd = append(l.odd, seq)
}

// got is how many different messages came.
func (l *ledger) got() int64 {
	if l.seen == nil {
		return int64(l.next)
	}
	n := 0
	for _, w := range l.seen {
		n += bits.OnesCount64(w)
	}
	return int64(n)
}

// missing is the first of sent messages that did not come.
func (l *ledger) missing(sent uint64) (uint64, bool) {
	if l.seen == nil {
		return l.next, l.next < sent
	}
	for i := range sent {
		if l.seen[i/64]&(1<<(i%64)) == 0 {
			return i, true
		}
	}
	return 0, false
}

// fresh hands out what came since it was asked the last time, as ranges of numbers.
func (l *ledger) fresh(yield func(from, to uint64)) {
	if l.seen == nil {
		if l.settled < l.next {
			yield(l.settled, l.next)
			l.settled = l.next
		}
		return
	}
	for _, seq := range l.odd {
		yield(seq, seq+1)
	}
	l.odd = l.odd[:0]
}

// nobody is the ledger of a publisher: it is sent no messages.
type nobody struct{}

func (nobody) Message(p []byte) error {
	return fmt.Errorf("%w: to the publisher, %d bytes", errStray, len(p))
}
