package tty

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Pace is how often it makes sense to draw, by how long the terminal takes. The zero
// Pace is a fast terminal. Any goroutine may use it.
type Pace struct {
	write atomic.Int64 // smoothed nanoseconds a write
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

// Wrote says how long the terminal took for n bytes.
func (p *Pace) Wrote(_ int, took time.Duration) {
	old := p.write.Load()
	p.write.Store(old + (int64(took)-old)/4)
}

// Answered says how long after a frame the terminal answered a question that followed
// it. Nothing is asked so far.
func (p *Pace) Answered(time.Duration) {}

// pause is how long to leave the terminal alone after a frame: three times what
// writing one takes, so that it is busy a quarter of the time at most.
func (p *Pace) pause() time.Duration { return min(3*time.Duration(p.write.Load()), slowest) }

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

// Line is a terminal that measures how long writes to it take. The embedded file keeps
// it recognisable as a terminal.
type Line struct {
	*os.File
	pace *Pace
}

func (l *Line) Write(b []byte) (int, error) {
	start := time.Now()
	n, err := l.File.Write(b)
	l.pace.Wrote(n, time.Since(start))
	return n, err
}

// WriteString is not the file's own, which would go unmeasured.
func (l *Line) WriteString(s string) (int, error) { return l.Write([]byte(s)) }
