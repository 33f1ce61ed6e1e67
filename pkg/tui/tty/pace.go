package tty

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Pace is how often it makes sense to draw, by how long the terminal takes. The zero
// Pace is a fast terminal. Any goroutine may use it.
//
// A frame costs what writing it takes, or what the terminal's answer takes beyond its
// way there and back: over ssh a write is done when sshd has the bytes, which says
// nothing, and an answer is slow on a long way however short the frame.
type Pace struct {
	write atomic.Int64 // smoothed nanoseconds that writing a frame takes
	far   atomic.Int64 // smoothed nanoseconds from frame to answer, without the way
	near  atomic.Int64 // nanoseconds of the way there and back; 0 is not known yet
	least atomic.Int64 // nanoseconds between frames; 0 is fastest
}

const (
	fastest = 100 * time.Millisecond
	slowest = 2 * time.Second
	blurred = time.Second
)

// SetFPS says how many frames a second are wanted at most.
func (p *Pace) SetFPS(fps int) {
	if fps > 0 {
		p.least.Store(int64(time.Second) / int64(fps))
	}
}

// Wrote says how long the terminal took for a frame.
func (p *Pace) Wrote(took time.Duration) { smooth(&p.write, took) }

// Answered says how long after a frame was handed over the terminal answered the
// question at its end. The fastest answer is taken for the way there and back, and
// forgotten slowly: the way may change.
func (p *Pace) Answered(after time.Duration) {
	after = max(after, 1)
	near := time.Duration(p.near.Load())
	if near == 0 || after < near {
		near = after
	}
	smooth(&p.far, after-near)
	p.near.Store(int64(near + (after-near)/256))
}

// silent says that this terminal does not answer: what is known from answers goes.
func (p *Pace) silent() {
	p.far.Store(0)
	p.near.Store(0)
}

// smooth moves a mean a quarter of the way. What is longer than slowest says no more
// than that, and would only be remembered for longer.
func smooth(mean *atomic.Int64, d time.Duration) {
	old := mean.Load()
	mean.Store(old + (int64(min(d, slowest))-old)/4)
}

// late tells whether an answer that takes this long ought to have come: something on
// the way holds frames back.
func (p *Pace) late(age time.Duration) bool {
	near := time.Duration(p.near.Load())
	return near > 0 && age > near+max(near/2, fastest)
}

// pause is how long to leave the terminal alone after a frame: three times what it
// costs, so that the terminal is busy a quarter of the time at most.
func (p *Pace) pause() time.Duration {
	return min(3*time.Duration(max(p.write.Load(), p.far.Load())), slowest)
}

func (p *Pace) between() time.Duration {
	if least := time.Duration(p.least.Load()); least > 0 {
		return least
	}
	return fastest
}

// Interval is the time from frame to frame when nobody presses a key.
func (p *Pace) Interval(focused bool) time.Duration {
	if !focused {
		return max(p.pause(), blurred)
	}
	return max(p.pause(), p.between())
}

// Note is what a status line should say when the terminal is the brake.
func (p *Pace) Note() string {
	d := p.pause()
	if d <= 3*p.between()/2 {
		return ""
	}
	return fmt.Sprintf("%.0f fps, slow link", max(1, float64(time.Second)/float64(d)))
}
