package tui

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// meter is a terminal that measures how long writes to it take, from which follows
// how often it makes sense to draw. The embedded file keeps it recognisable as a
// terminal.
type meter struct {
	*os.File
	write atomic.Int64 // smoothed nanoseconds a write
}

const (
	fastest = 100 * time.Millisecond
	slowest = 2 * time.Second
	blurred = time.Second
)

func (m *meter) Write(b []byte) (int, error) {
	start := time.Now()
	n, err := m.File.Write(b)
	m.took(time.Since(start))
	return n, err
}

// WriteString is not the file's own, which would go unmeasured.
func (m *meter) WriteString(s string) (int, error) { return m.Write([]byte(s)) }

func (m *meter) took(d time.Duration) {
	old := m.write.Load()
	m.write.Store(old + (int64(d)-old)/4)
}

// pause is how long to leave the terminal alone after a frame: three times what
// writing one takes, so that it is busy a quarter of the time at most.
func (m *meter) pause() time.Duration { return min(3*time.Duration(m.write.Load()), slowest) }

// interval is the time from frame to frame when nobody presses a key.
func (m *meter) interval(focused bool) time.Duration {
	if !focused {
		return max(m.pause(), blurred)
	}
	return max(m.pause(), fastest)
}

// complaint is what the status line says when the terminal is the brake.
func (m *meter) complaint() string {
	p := m.pause()
	if p <= 3*fastest/2 {
		return ""
	}
	return fmt.Sprintf("%.0f fps, slow link", max(1, float64(time.Second)/float64(p)))
}
