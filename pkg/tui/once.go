package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
)

// onceWait is how long Once waits for the first snapshot before it shows what there is.
const onceWait = 10 * time.Second

// Once writes one frame to w and returns: when the first snapshot is complete, or when
// the feed ends or ten seconds have passed. On a terminal the frame has its size and
// colours; anywhere else it is plain text of 80x24, or COLUMNS and LINES.
func Once(ctx context.Context, w io.Writer, o Options) error {
	theme, glyphs, err := o.look(w)
	if err != nil {
		return err
	}
	store := NewStore(o.Now)
	if err := firstSnapshot(ctx, &o, store); err != nil {
		return err
	}
	s := newScreen(&o, store, theme, glyphs)
	s.still = true
	s.resize(o.size(w))
	s.refresh()
	s.fit()
	_, err = io.WriteString(colours(w, &o), s.compose()+"\n")
	return err
}

// firstSnapshot feeds the store until it has been loaded once.
func firstSnapshot(ctx context.Context, o *Options, store *Store) error {
	feeding, stop := context.WithTimeout(ctx, onceWait)
	defer stop()
	fed := startFeed(feeding, o, store)
	select {
	case <-store.ready:
		stop()
		<-fed
		return nil
	case err := <-fed:
		return errors.Join(err, ctx.Err())
	}
}

// interactive tells whether there is a terminal that can show the map.
func interactive(o *Options) bool {
	t := o.getenv("TERM")
	return t != "dumb" && t != "" && term.IsTerminal(os.Stdin.Fd()) && term.IsTerminal(os.Stdout.Fd())
}

func (o *Options) getenv(name string) string {
	value := ""
	for _, e := range o.environ() {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v // the last one counts
		}
	}
	return value
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// look chooses colours and glyphs for w.
func (o *Options) look(w io.Writer) (*canvas.Theme, canvas.Glyphs, error) {
	glyphs, err := o.glyphs()
	if err != nil {
		return nil, 0, err
	}
	theme, err := themeByName(o.Theme)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case !isTerminal(w) || o.getenv("TERM") == "dumb":
		theme = themes["plain"]
	case o.getenv("NO_COLOR") != "":
		theme = themes["mono"]
	}
	return theme, glyphs, nil
}

func (o *Options) glyphs() (canvas.Glyphs, error) {
	switch o.Glyphs {
	case "braille":
		return canvas.Braille, nil
	case "block":
		return canvas.Blocks, nil
	case "ascii":
		return canvas.ASCII, nil
	case "", "auto":
		return o.detectGlyphs(), nil
	}
	return 0, fmt.Errorf("glyphs %q are not one of auto, braille, block, ascii", o.Glyphs)
}

// detectGlyphs goes by the locale and the kind of terminal. No locale at all, as in a
// container, is taken for UTF-8: only one that says something else is believed.
func (o *Options) detectGlyphs() canvas.Glyphs {
	locale := o.getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = o.getenv(name)
		}
	}
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	switch {
	case locale != "" && !strings.Contains(locale, "utf8"):
		return canvas.ASCII
	case canvas.RuneWidth('●') != 1: // a terminal set up to draw such signs twice as wide
		return canvas.ASCII
	case o.getenv("TERM") == "linux":
		return canvas.Blocks
	}
	return canvas.Braille
}

// size is what a single frame may take. On a terminal the prompt needs a line too.
func (o *Options) size(w io.Writer) (cols, rows int) {
	if f, ok := w.(*os.File); ok {
		if cols, rows, err := term.GetSize(f.Fd()); err == nil && cols > 0 && rows > 1 {
			return cols, rows - 1
		}
	}
	from := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(o.getenv(name)); err == nil && n >= 10 && n <= 1000 {
			return n
		}
		return otherwise
	}
	return from("COLUMNS", 80), from("LINES", 24)
}

// colours brings colours down to what the terminal can show.
func colours(w io.Writer, o *Options) io.Writer {
	if !isTerminal(w) {
		return w
	}
	return colorprofile.NewWriter(w, o.environ())
}
