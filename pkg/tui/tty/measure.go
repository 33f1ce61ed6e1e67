package tty

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/charmbracelet/x/term"

	"tracker/pkg/tui/canvas"
)

// measured is what a terminal told of itself.
type measured struct {
	asked   bool
	answers bool   // it tells where its cursor is
	whole   string // whether it can show frames whole: yes or no, empty if it does not say
	widths  []width
}

// width is how many columns a rune takes on the screen.
type width struct {
	r   rune
	got int // -1 if the terminal stopped answering
}

// String marks a width that the map does not believe.
func (w width) String() string {
	switch {
	case w.got < 0:
		return "?"
	case !w.right():
		return strconv.Itoa(w.got) + "!"
	}
	return strconv.Itoa(w.got)
}

func (w width) right() bool { return w.got == canvas.RuneWidth(w.r) }

// wanted are runes on whose width terminals differ, and which the map draws or which
// may be in names.
var wanted = []rune{'●', '◆', '▲', '○', '✕', '→', '↗', '⣿', '█', '▀', '─', '╭', '…', '·', '°', 'ß', 'é', '漢', '🚚'}

const (
	wholeMode = "\x1b[?2026$p" // can frames be shown whole?
	whereMode = "\x1b[6n"      // where is the cursor?
	answerMax = 256            // bytes that are read for one answer
)

// answerTime is how long an answer may take.
const answerTime = time.Second

// measure asks a terminal how wide it draws what the map is made of. It leaves the line
// in which the cursor is empty.
func measure(in *os.File, out io.Writer) measured {
	before, err := term.MakeRaw(in.Fd())
	if err != nil {
		return measured{}
	}
	defer func() { _ = term.Restore(in.Fd(), before) }()
	return ask(in, out)
}

// ask is measure, of a terminal that is raw already.
func ask(in io.Reader, out io.Writer) measured {
	m := measured{asked: true}
	first, ok := cursorAfter(in, out, "\r"+wholeMode)
	if !ok {
		return m
	}
	m.answers, m.whole = true, first.whole
	for _, r := range wanted {
		w := width{r, -1}
		if ok {
			var a answer
			if a, ok = cursorAfter(in, out, "\r"+string(r)); ok {
				w.got = a.column - 1
			}
		}
		m.widths = append(m.widths, w)
	}
	_, _ = io.WriteString(out, "\r\x1b[K")
	return m
}

// cursorAfter writes something and waits for where the cursor is then. Once an answer did
// not come, nothing more may be asked: somebody is reading still.
func cursorAfter(in io.Reader, out io.Writer, what string) (answer, bool) {
	if _, err := io.WriteString(out, what+whereMode); err != nil {
		return answer{}, false
	}
	got := make(chan answer, 1)
	go func() { // ends with the answer; with the process if none ever comes
		if a, err := readAnswer(in); err == nil {
			got <- a
		}
		close(got)
	}()
	select {
	case a, ok := <-got:
		return a, ok
	case <-time.After(answerTime):
		return answer{}, false
	}
}

// answer is what comes before and with the place of the cursor.
type answer struct {
	column int // from 1
	whole  string
}

var (
	placeReport = regexp.MustCompile(`^\x1b\[[0-9]{1,4};([0-9]{1,4})R$`)
	wholeReport = regexp.MustCompile(`^\x1b\[\?2026;([0-4])\$y$`)
)

// readAnswer reads up to and with the place of the cursor, and not a byte further. What
// else comes, such as keys that were typed ahead, is skipped.
func readAnswer(r io.Reader) (answer, error) {
	var a answer
	var seq []byte
	var b [1]byte
	for range answerMax {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return answer{}, err
		}
		if b[0] == 0x1b {
			seq = seq[:0]
		}
		seq = append(seq, b[0])
		if m := wholeReport.FindSubmatch(seq); m != nil {
			a.whole = "no"
			if m[1][0] == '1' || m[1][0] == '2' {
				a.whole = "yes"
			}
		}
		if m := placeReport.FindSubmatch(seq); m != nil {
			a.column, _ = strconv.Atoi(string(m[1])) // four digits
			return a, nil
		}
	}
	return answer{}, io.ErrNoProgress
}
