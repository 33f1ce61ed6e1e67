package main

import (
	"context"
	"os"
	"sync"
	"time"

	"tracker/pkg/load"
)

// keys listens to the keyboard while a run goes on: q ends it in good order, as Ctrl-C
// does, and the space bar marks the moment in the result.
type keys struct {
	tty  *os.File
	undo func()
	done sync.WaitGroup

	mu    sync.Mutex
	marks []time.Time
}

// listen begins where there is somebody who could press a key; quit ends the run. nil,
// elsewhere, hears nothing.
func (b *bench) listen(f *runFlags, quit context.CancelFunc) *keys {
	if f.noTTY || f.quiet || !terminal(b.err) || !terminal(os.Stdin) {
		return nil
	}
	return listenAt("/dev/tty", quit)
}

func listenAt(path string, quit context.CancelFunc) *keys {
	tty, undo, err := openKeys(path)
	if err != nil {
		return nil // the run goes on without
	}
	k := &keys{tty: tty, undo: undo}
	k.done.Go(func() { k.read(quit) }) // ends with close
	return k
}

func (k *keys) read(quit context.CancelFunc) {
	var b [1]byte
	for {
		if n, err := k.tty.Read(b[:]); err != nil || n == 0 {
			return
		}
		switch b[0] {
		case 'q', 'Q':
			quit()
		case ' ':
			k.mu.Lock()
			k.marks = append(k.marks, time.Now())
			k.mu.Unlock()
		}
	}
}

// close leaves the terminal as it was.
func (k *keys) close() {
	if k == nil {
		return
	}
	k.undo()
	_ = k.tty.Close()
	k.done.Wait()
}

// mark puts the moments that were marked into a result.
func (k *keys) mark(r *load.Result) {
	if k == nil || r == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, at := range k.marks {
		r.Events = append(r.Events, load.Event{TNS: max(0, int64(at.Sub(r.Started.Time))), Text: "marked by hand"})
	}
	k.marks = nil
}
