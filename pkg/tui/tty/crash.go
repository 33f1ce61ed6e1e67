package tty

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
)

// Crash is a panic that was caught. Its stack is in a file, as far as there is a place
// for one: people who look at a map do not want to see it, and want to send it.
type Crash struct {
	What  string // which part of the program
	Value string // what it panicked with, in one harmless line
	Stack []byte
	File  string // empty if nothing could be written
}

func (c *Crash) Error() string {
	if c.File == "" {
		return fmt.Sprintf("%s: panic: %s\n%s", c.What, c.Value, c.Stack)
	}
	return fmt.Sprintf("%s: panic: %s; the stack is in %s", c.What, c.Value, c.File)
}

// Guard runs f and makes an error of a panic. Everything that runs beside a page runs
// in a guard: a panic that nobody catches would leave the terminal as it is.
func (c Config) Guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.fill()
			err = c.caught(what, r, nil)
		}
	}()
	return f()
}

// caught makes a Crash of a panic while its stack is still there. The file is written at
// once: the terminal may never be given back.
func (c *Config) caught(what string, value any, lately []string) *Crash {
	crash := &Crash{What: what, Value: oneLine(fmt.Sprint(value)), Stack: debug.Stack()}
	if c.StateDir != "" {
		crash.File, _ = c.leave(crash, lately) // without a file the error tells all
	}
	return crash
}

// oneLine is what may be shown of foreign text in an error.
func oneLine(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return canvas.Clean(s)
}

// leave writes a file that only its owner may read. In it are neither names nor places:
// of what was typed it has the keys that are no text.
func (c *Config) leave(crash *Crash, lately []string) (file string, err error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return "", err
	}
	f, err := create(filepath.Join(c.StateDir, "panic-"+time.Now().UTC().Format("20060102-150405")))
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(c.story(crash, lately))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return f.Name(), nil
}

// create makes a file that was not there before.
func create(name string) (f *os.File, err error) {
	for i := range 100 {
		path := name + ".txt"
		if i > 0 {
			path = fmt.Sprintf("%s-%d.txt", name, i)
		}
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, err
}

// story is what the file says.
func (c *Config) story(crash *Crash, lately []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: panic: %s\n\n", crash.What, crash.Value)
	fmt.Fprintf(&b, "version   %s, %s, %s/%s\n", build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if cols, rows, err := term.GetSize(c.Out.Fd()); err == nil {
		fmt.Fprintf(&b, "terminal  %dx%d\n", cols, rows)
	}
	for _, name := range told {
		if v := Getenv(c.Environ, name); v != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, oneLine(v))
		}
	}
	if len(lately) > 0 {
		fmt.Fprintf(&b, "\nlately    %s\n", strings.Join(lately, ", "))
	}
	fmt.Fprintf(&b, "\n%s", crash.Stack)
	return b.String()
}

// told are the variables that say what a terminal is.
var told = []string{
	"TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG",
}

// build is the version of the program, as the compiler knows it.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Path + " " + info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" && s.Value == "true" {
			version += " " + strings.Replace(s.Value, "true", "modified", 1)
		}
	}
	return version
}

// diary is what happened lately, as far as it may be told: that letters were typed but
// not which, where the mouse was not at all.
type diary struct {
	entries [20]string
	n       int
}

func (d *diary) note(e Event) {
	d.entries[d.n%len(d.entries)] = entry(e)
	d.n++
}

func entry(e Event) string {
	switch e.Kind {
	case Press:
		if len(e.Key) == 1 || strings.ContainsFunc(e.Key, notOfAName) {
			return "a character"
		}
		return e.Key
	case Paste:
		return fmt.Sprintf("paste of %d bytes", len(e.Text))
	}
	return e.Kind.String()
}

// notOfAName tells whether a rune is not in names of keys such as ctrl+left.
func notOfAName(r rune) bool { return r != '+' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }

// lately is the diary, oldest first.
func (d *diary) lately() []string {
	var out []string
	for i := max(0, d.n-len(d.entries)); i < d.n; i++ {
		out = append(out, d.entries[i%len(d.entries)])
	}
	return out
}
