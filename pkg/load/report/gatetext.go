package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tracker/pkg/load/gate"
)

const (
	screen = 80 // columns of a terminal
	margin = 12 // what lines begin with
)

// GateText tells a gate to people: lines that begin with a word, which can be read aloud.
func GateText(w io.Writer, r *gate.Report) error {
	t := &lines{}
	t.say("base", binaryText(&r.Base))
	t.say("head", binaryText(&r.Head))
	if len(r.Same) > 0 {
		t.say("same", oneLine(strings.Join(r.Same, ", ")))
	}
	t.counters(r)
	t.statistics(r)
	t.control(r.Control)
	t.confirm(r)
	for _, n := range r.Notes {
		t.say("note", oneLine(n))
	}
	t.end(r)
	_, err := io.WriteString(w, strings.ReplaceAll(t.b.String(), thinSpace, " "))
	return err
}

// lines are a text in the making.
type lines struct{ b strings.Builder }

// say writes a text behind its word, in as many lines as it needs.
func (t *lines) say(word, text string) { t.fold(word, margin, text) }

// fold breaks a text between words so that it keeps within the screen.
func (t *lines) fold(word string, indent int, text string) {
	line := fmt.Sprintf("%-*s", indent, word)
	if len(word) >= indent {
		line += "  "
	}
	fresh := true
	for _, part := range strings.SplitAfter(text, " ") {
		if !fresh && utf8.RuneCountInString(line+strings.TrimRight(part, " ")) > screen {
			t.b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", indent)
		}
		line, fresh = line+part, false
	}
	t.b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// grid writes rows below each other, columns of figures to the right. A last column is
// as long as it likes.
func (t *lines) grid(rows [][]string, right ...int) {
	width := map[int]int{}
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	figure := map[int]bool{}
	for _, i := range right {
		figure[i] = true
	}
	for _, row := range rows {
		line := "  "
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if figure[i] {
				c = pad + c
			} else {
				c += pad
			}
			line += c + "  "
		}
		t.b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (t *lines) counters(r *gate.Report) {
	list := ofStage(r, gate.Counters)
	if r.Counters == nil && len(list) == 0 {
		return
	}
	t.stage(r, gate.Counters, r.Counters)
	rows := [][]string{{"", "base", "head", "", "change", ""}}
	for _, m := range list {
		rows = append(rows, []string{fullName(m), cost(m.Base), cost(m.Head), oneLine(m.Unit), changeOf(&m.Batch), wordOf(m)})
	}
	t.rows(rows, list, 0, 1, 2, 4)
}

func (t *lines) statistics(r *gate.Report) {
	list := ofStage(r, gate.Statistics)
	if r.Statistics == nil && len(list) == 0 {
		return
	}
	t.stage(r, gate.Statistics, r.Statistics)
	if s := visibleText(r); s != "" {
		t.say("", s)
	}
	rows := [][]string{{"", "base", "head", "", "change", boundsName(r), ""}}
	for _, m := range list {
		rows = append(rows, []string{fullName(m), cost(m.Base), cost(m.Head), oneLine(m.Unit), changeOf(&m.Batch), spanOf(m.Low, m.High), wordOf(m)})
	}
	t.rows(rows, list, usualOf(r), 1, 2, 4, 5)
}

// stage heads the rows of one.
func (t *lines) stage(r *gate.Report, name string, s *gate.Stage) {
	text := ""
	if s != nil {
		text = launchesOf(r, name, s)
	}
	t.say(name, text)
}

// rows writes metrics, and what is to be said of them below.
func (t *lines) rows(rows [][]string, list []*gate.Metric, usual float64, right ...int) {
	if len(list) > 0 {
		t.grid(rows, right...)
	}
	for _, m := range list {
		about := remarks(m)
		if findingOf(m) == isWorse {
			about = append(about, "its limit is "+limitOf(m))
		}
		if m.Low != nil && m.Confidence > 0 && m.Confidence != usual {
			about = append(about, fmt.Sprintf("%s, and its bounds are of %s %%", launches(m.Launches), three(100*m.Confidence)))
		}
		if len(about) > 0 {
			t.fold("", 4, fullName(m)+": "+strings.Join(about, "; "))
		}
	}
}

func (t *lines) control(c *gate.Control) {
	if c != nil {
		t.say("control", controlText(c))
	}
}

func (t *lines) confirm(r *gate.Report) {
	usual := usualOf(r)
	for _, m := range confirmed(r) {
		text := fmt.Sprintf("%s %s", fullName(m), changeOf(m.Confirm))
		if b := boundsOf(m.Confirm, usual); b != "" {
			text += ", " + b
		}
		t.say("confirm", fmt.Sprintf("%s, %s: %s", text, launches(m.Confirm.Launches), confirmText(m)))
	}
}

// end is the verdict, last because that is where people look.
func (t *lines) end(r *gate.Report) {
	if list := metricsOf(r, isBetter); len(list) > 0 {
		var parts []string
		for _, m := range list {
			parts = append(parts, fullName(m)+" "+changeOf(&m.Batch))
		}
		t.say("better", strings.Join(parts, ", "))
	}
	if f := r.Failure; f != nil && r.Reason != "" && !strings.Contains(r.Reason, f.Text) {
		t.say("failure", failureText(f))
	}
	t.say(verdictLine(r), reasonOf(r))
	if h := hintOf(r); h != "" {
		t.say("hint", h)
	}
}
