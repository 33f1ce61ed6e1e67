package trend

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tracker/pkg/load"
)

// What a history may have at most: a file that is not ours must not be able to eat the
// machine. It is a run an hour for a year.
const (
	maxFile = 64 << 20
	maxLine = 1 << 20
)

// ErrForeign says that a file, or a line of it, is no history of ours.
var ErrForeign = errors.New("no trackbench history")

// History is what a file remembers.
type History struct {
	Lines []Line // in the order of the file
	// Torn are the numbers of the lines that were cut off while they were written, by a
	// crash or by a full disk. They are left out.
	Torn []int
}

// Read reads a history, "-" being standard input.
func Read(path string) (*History, error) {
	in, err := load.Input(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	h, err := Decode(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// Decode reads the lines of a history. A line that was torn is told and left out; any
// other that cannot be read is an error that names it, since a series with holes in it
// that nobody knows of would mislead.
func Decode(in io.Reader) (*History, error) {
	limited := &io.LimitedReader{R: in, N: maxFile + 1}
	s := scanner(limited)
	h := &History{}
	n := 1
	for ; s.Scan(); n++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		l, torn, err := parse(s.Bytes())
		switch {
		case torn:
			h.Torn = append(h.Torn, n)
		case err != nil:
			return nil, fmt.Errorf("line %d: %w: %w", n, ErrForeign, err)
		default:
			h.Lines = append(h.Lines, l)
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: %w: longer than %d MiB", n, ErrForeign, maxLine>>20)
	case err != nil:
		return nil, err
	case limited.N == 0:
		return nil, fmt.Errorf("%w: larger than %d MiB", ErrForeign, maxFile>>20)
	}
	return h, nil
}

func scanner(in io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	return s
}

// begins is how every line begins; json writes the members in the order of the struct.
const begins = `{"schema":"` + Schema + `"`

// parse reads one line. It is torn if it is the beginning of one that we wrote; behind
// that there may be zeros, which is what some file systems leave after a power cut.
func parse(b []byte) (l Line, torn bool, err error) {
	whole := bytes.TrimRight(b, "\x00")
	if len(whole) < len(b) && len(whole) == 0 {
		return l, true, nil
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	err = d.Decode(&l)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		n := min(len(whole), len(begins))
		return Line{}, string(whole[:n]) == begins[:n], err
	}
	if err != nil {
		return Line{}, false, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Line{}, false, errors.New("more follows after its end")
	}
	return l, false, l.check()
}

// Append adds a line to a history, which begins with it if there is none yet. The line is
// there as a whole and on disk when it returns, or not at all; processes that append at
// the same time take turns.
func Append(path string, l Line) error {
	if err := appendLine(path, l); err != nil {
		return fmt.Errorf("append to the history: %w", err)
	}
	return nil
}

func appendLine(path string, l Line) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	unlock, err := lock(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer unlock()
	size, err := room(f, len(b))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if size > 0 && !ended(f, size) {
		b = append([]byte{'\n'}, b...) // what was torn stays alone on its line
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if size == 0 {
		syncDir(filepath.Dir(path))
	}
	return nil
}

// encode makes a line of bytes, after the same checks that reading it makes.
func encode(l Line) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if len(b) >= maxLine {
		return nil, fmt.Errorf("a line of %d bytes, more than %d MiB", len(b), maxLine>>20)
	}
	return append(b, '\n'), nil
}

// room tells the size of a history to which n bytes can be added. Another file than a
// history is refused, so that a wrong path does no harm.
func room(f *os.File, n int) (size int64, err error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: it is no regular file", ErrForeign)
	case info.Size()+int64(n) > maxFile-1:
		return 0, fmt.Errorf("it has %d MiB; begin a new one", info.Size()>>20)
	}
	s := scanner(io.NewSectionReader(f, 0, info.Size()))
	for s.Scan() {
		_, torn, err := parse(s.Bytes())
		if torn || len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue // the first one that is whole decides
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrForeign, err)
		}
		break
	}
	if s.Err() != nil {
		return 0, fmt.Errorf("%w: %w", ErrForeign, s.Err())
	}
	return info.Size(), nil
}

// ended tells whether the last line of a file has its end.
func ended(f *os.File, size int64) bool {
	var last [1]byte
	_, err := f.ReadAt(last[:], size-1)
	return err == nil && last[0] == '\n'
}

// syncDir makes a new file's name last; where a directory cannot be opened it does
// anyway.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// patience is how long Append waits for others; an append takes some milliseconds.
const patience = 10 * time.Second

// lock keeps all others that append out, until unlock or the end of the process.
func lock(f *os.File) (unlock func(), err error) {
	deadline := time.Now().Add(patience)
	for {
		unlock, err = load.TryLock(f)
		if !errors.Is(err, load.ErrLocked) || time.Now().After(deadline) {
			return unlock, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
