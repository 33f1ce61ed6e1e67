package tty

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Line is a terminal that is not waited for: Write copies and returns, and a goroutine
// that lives as long as there is something to write hands it on and takes the time. So
// keys are answered while a frame is on its way, even to a terminal that hangs.
//
//	Write ──► queue ──► goroutine ──► terminal
//	                        │ took        │ the answer to the question after a frame
//	                        └──► Pace ◄───┘
//
// Whoever draws asks Idle first, and then there is never more than a frame under way.
// Any goroutine may use a Line.
type Line struct {
	f    *os.File
	out  io.Writer
	pace *Pace

	mu      sync.Mutex
	queue   []byte
	spare   []byte        // is being written, or was: the next queue's memory
	writing chan struct{} // closed when nothing is left to write; nil until there is
	written uint64        // bytes, ever
	err     error         // the terminal is gone
	direct  bool
	stuck   bool // took nothing for as long as Drain waits
	missed  bool
	asked   questions
}

const (
	queueMost = 1 << 20 // bytes that may wait
	leaveMost = 16 << 10
	piece     = 4 << 10 // bytes written at a time: a terminal that takes them is slow, not stuck
)

var (
	errFull  = errors.New("a megabyte waits for the terminal already")
	errStuck = errors.New("the terminal takes nothing")
)

// NewLine makes a line of a terminal. With ask, what is written ends with a question to
// the terminal from time to time: call Answered when a report of the cursor's place
// comes in.
func NewLine(f *os.File, p *Pace, ask bool) *Line {
	return &Line{f: f, out: f, pace: p, asked: questions{on: ask}}
}

// Fd, Read and Close keep the line recognisable as a terminal. Nothing else of the file
// is offered, since it would go past the queue.
func (l *Line) Fd() uintptr                { return l.f.Fd() }
func (l *Line) Read(b []byte) (int, error) { return l.f.Read(b) }
func (l *Line) Close() error               { return l.f.Close() }

// Write queues b. If a megabyte is waiting already it takes nothing, and Missed tells
// that the screen is not what it ought to be. A direct line returns when the terminal
// has everything, or has taken nothing for a while.
func (l *Line) Write(b []byte) (int, error) {
	l.mu.Lock()
	switch {
	case l.err != nil:
		defer l.mu.Unlock()
		return 0, l.err
	case len(l.queue)+len(b) > queueMost:
		defer l.mu.Unlock()
		l.missed = true
		return 0, errFull
	}
	l.queue = append(l.queue, b...)
	if !l.direct && l.asked.ask(time.Now(), l.pace) {
		l.queue = append(l.queue, question...)
	}
	if l.writing == nil {
		l.writing = make(chan struct{})
		go l.write()
	}
	wait := l.direct && !l.stuck
	l.mu.Unlock()
	if !wait {
		return len(b), nil
	}
	return len(b), l.Drain(grace)
}

// write ends when nothing is left to write.
func (l *Line) write() {
	for b := l.next(); b != nil; b = l.next() {
		start := time.Now()
		l.hand(b)
		l.pace.Wrote(time.Since(start))
	}
}

func (l *Line) next() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.err != nil {
		l.queue = l.queue[:0]
		close(l.writing)
		l.writing = nil
		return nil
	}
	b := l.queue
	l.queue, l.spare = l.spare[:0], b
	return b
}

func (l *Line) hand(b []byte) {
	for len(b) > 0 {
		n, err := l.out.Write(b[:min(len(b), piece)])
		b = b[n:]
		l.mu.Lock()
		l.written += uint64(n)
		l.stuck = false
		l.err = err
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Idle tells whether the terminal has everything that was written, and no answer is
// overdue.
func (l *Line) Idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writing == nil && !l.asked.overdue(time.Now(), l.pace)
}

// Missed tells, once, that something was not written since too much was waiting.
func (l *Line) Missed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	missed := l.missed
	l.missed = false
	return missed
}

// Direct makes every Write wait for the terminal and asks it nothing more, or ends that.
// Before the terminal's settings are put back the line has to be direct: what comes
// later would be for the shell. Frames that wait behind others are not sent any more.
func (l *Line) Direct(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.direct = on
	if on && len(l.queue) > leaveMost {
		l.queue = l.queue[:0] // it began with a frame, so nothing is cut in half
	}
}

// Drain waits until the terminal has everything. It fails if the terminal takes nothing
// for as long as the patience is, or is gone.
func (l *Line) Drain(patience time.Duration) error {
	for {
		l.mu.Lock()
		writing, before, err := l.writing, l.written, l.err
		l.mu.Unlock()
		if writing == nil {
			return err
		}
		timeout := time.NewTimer(patience)
		select {
		case <-writing:
			timeout.Stop()
		case <-timeout.C:
			if l.standsAt(before) {
				return errStuck
			}
		}
	}
}

// standsAt tells whether nothing was taken since, and remembers it.
func (l *Line) standsAt(before uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = l.writing != nil && l.written == before
	return l.stuck
}

// progress is how many bytes the terminal has taken.
func (l *Line) progress() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// Answered says that the terminal has answered a question.
func (l *Line) Answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after, ok := l.asked.answer(time.Now()); ok {
		l.pace.Answered(after)
	}
}

// Unanswered tells whether an answer may still come.
func (l *Line) Unanswered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.asked.sent) > 0
}

// question asks for the cursor's place, which every terminal tells when it has worked
// through all that came before. In the first row the answer could be taken for a key,
// so it is asked in the last one.
const question = "\x1b7\x1b[999;1H\x1b[6n\x1b8"

// questions are those that a terminal has not answered yet.
type questions struct {
	on       bool
	sent     []time.Time // oldest first: answers come in order
	answered bool        // one was, ever
	given    time.Time   // the question that was given up last
	lost     int         // given up in a row
}

const (
	patience  = 2 * time.Second // for an answer
	lostMost  = 3               // until a terminal that never answered is not asked any more
	askedMost = 4               // questions that may be open
	forget    = 30 * time.Second
)

// ask tells whether to ask now, and takes note of it.
func (q *questions) ask(now time.Time, p *Pace) bool {
	q.giveUp(now, p)
	if !q.on || len(q.sent) == askedMost || q.waiting(now) {
		return false
	}
	q.sent = append(q.sent, now)
	return true
}

// waiting tells whether the last question is young enough for an answer.
func (q *questions) waiting(now time.Time) bool {
	return len(q.sent) > 0 && now.Sub(q.last()) < patience
}

func (q *questions) last() time.Time { return q.sent[len(q.sent)-1] }

// overdue tells whether an answer should have come and may still. It is not waited for
// where none was ever given.
func (q *questions) overdue(now time.Time, p *Pace) bool {
	q.giveUp(now, p)
	return q.answered && q.waiting(now) && p.late(now.Sub(q.last()))
}

// giveUp counts a question without an answer, once. After a long time even late answers
// are not hoped for any more: a terminal may have been taken away in between.
func (q *questions) giveUp(now time.Time, p *Pace) {
	if len(q.sent) == 0 || q.waiting(now) {
		return
	}
	if !q.last().Equal(q.given) {
		q.given = q.last()
		q.lost++
		p.Answered(patience)
	}
	switch {
	case !q.answered && q.lost >= lostMost:
		*q = questions{}
		p.silent()
	case now.Sub(q.last()) >= forget:
		q.sent = q.sent[:0]
	}
}

// answer takes the oldest question off and tells how long the answer took.
func (q *questions) answer(now time.Time) (after time.Duration, ok bool) {
	if len(q.sent) == 0 {
		return 0, false
	}
	after = now.Sub(q.sent[0])
	q.sent = append(q.sent[:0], q.sent[1:]...)
	q.answered, q.lost = true, 0
	return after, true
}
