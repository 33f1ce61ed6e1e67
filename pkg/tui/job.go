package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// How much of what a command says is kept. More belongs into a file.
const (
	mostSaid  = 256 << 10 // bytes
	mostLines = 5000
	mostWide  = 2000 // columns of a line, and
	mostPart  = 8 << 10

	noteWide = 74 // columns of what is told of the command: it is broken, not scrolled to
)

// jobs runs commands beside the map, each in a goroutine of its own that ends soon after
// ctx does; wait returns when all have.
type jobs struct {
	ctx   context.Context // as long as the map is shown
	cli   *CLI
	guard func(what string, f func() error) error
	now   func() time.Time
	busy  sync.WaitGroup
}

// wait is for the end of the map: nothing is started after it.
func (js *jobs) wait() { js.busy.Wait() }

// start runs a command until it ends or is stopped.
func (js *jobs) start(words []string) *job {
	ctx, stop := context.WithCancel(js.ctx)
	j := &job{stop: stop, began: js.now()}
	js.busy.Add(1)
	go func() {
		defer js.busy.Done()
		defer stop()
		err := js.guard("command", func() error { return js.cli.Run(ctx, words, j) })
		j.end(err, ctx.Err() != nil, js.now())
	}()
	return j
}

// line is something that a command said, harmless.
type line struct {
	text  string
	style canvas.Style
}

// job is a command that runs, or has run. It is the writer that the command writes to.
type job struct {
	stop  context.CancelFunc
	began time.Time

	// Of who writes: foreign text is made harmless while nobody waits for it.
	writing sync.Mutex
	part    []byte // of a line that is not complete
	said    int    // bytes
	count   int    // lines
	cut     bool   // there would have been more

	// Of whoever looks.
	mu     sync.Mutex
	lines  []line // is only ever added to
	ended  time.Time
	failed bool
}

// errEnough ends a command that says more than anybody reads here.
var errEnough = errors.New("that is all that is shown")

// Write takes what a command says, as far as there is room for it.
func (j *job) Write(b []byte) (int, error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	rest := b[:min(len(b), mostSaid-j.said)]
	for !j.cut && len(rest) > 0 {
		text, after, whole := bytes.Cut(rest, []byte{'\n'})
		j.cut = j.count == mostLines
		if j.cut {
			break
		}
		j.part = append(j.part, text[:min(len(text), mostPart-len(j.part))]...)
		if whole {
			j.flush()
		}
		j.said += len(rest) - len(after)
		rest = after
	}
	if j.cut = j.cut || len(b) > 0 && j.said == mostSaid; j.cut {
		j.stop()
		return 0, errEnough
	}
	return len(b), nil
}

// flush makes a line of what has come together.
func (j *job) flush() {
	j.publish(line{cleanLine(string(j.part)), look.Text})
	j.part, j.count = j.part[:0], j.count+1
}

func (j *job) publish(l line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l)
}

// end notes how a command came out.
func (j *job) end(err error, stopped bool, at time.Time) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if len(j.part) > 0 {
		j.flush()
	}
	switch {
	case j.cut:
		j.note(look.Warn, fmt.Sprintf("… and more: %d KiB and %d lines are shown here, a shell shows all", mostSaid>>10, mostLines))
	case stopped:
		j.note(look.Dim, "stopped")
	case err != nil:
		j.note(look.Warn, strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")...)
	case j.count == 0:
		j.note(look.Dim, "done; there is nothing to say")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended, j.failed = at, err != nil && !stopped && !j.cut
}

func (j *job) note(style canvas.Style, texts ...string) {
	for _, text := range texts {
		for _, part := range broken(cleanLine(text), noteWide) {
			j.publish(line{part, style})
		}
	}
}

// broken breaks a line between words, where it can; what goes on is indented.
func broken(text string, w int) (parts []string) {
	for canvas.Width(text) > w {
		fits := text[:len(text)-len(skip(text, w))]
		at := strings.LastIndexByte(fits, ' ')
		if at < 0 || strings.TrimSpace(fits[:at]) == "" {
			at = len(fits)
		}
		parts, text = append(parts, text[:at]), "  "+strings.TrimLeft(text[at:], " ")
	}
	return append(parts, text)
}

// progress is how far a command is.
type progress struct {
	lines         int
	ended, failed bool
	seconds       int
}

// read is what was said so far. The lines do not change any more.
func (j *job) read(now time.Time) ([]line, progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := progress{lines: len(j.lines), ended: !j.ended.IsZero(), failed: j.failed}
	if p.ended {
		now = j.ended
	}
	p.seconds = int(max(now.Sub(j.began), 0) / time.Second)
	return j.lines[:len(j.lines):len(j.lines)], p
}

// cleanLine makes a line of foreign text harmless and keeps its columns: tabs are eight
// wide, and what it is indented by stays.
func cleanLine(s string) string {
	s = expandTabs(strings.TrimRight(s, "\r"))
	text := strings.TrimLeft(s, " ")
	return canvas.Truncate(s[:len(s)-len(text)]+canvas.Clean(text), mostWide)
}

func expandTabs(s string) string {
	if !strings.Contains(s, "\t") {
		return s
	}
	var b strings.Builder
	at := 0
	for _, r := range s {
		if r == '\t' {
			b.WriteString(strings.Repeat(" ", 8-at%8))
			at += 8 - at%8
			continue
		}
		b.WriteRune(r)
		at += canvas.RuneWidth(r)
	}
	return b.String()
}
