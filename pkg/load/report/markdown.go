package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the figures as tables.
func Markdown(w io.Writer, files []*File, _ Context) error {
	var b strings.Builder
	for _, f := range files {
		v, err := look(f.Result)
		if err != nil {
			return err
		}
		r := f.Result
		state := string(r.Verdict.Validity)
		if r.Partial {
			state += ", PARTIAL"
		}
		fmt.Fprintf(&b, "## %s\n\n**%s**\n\n", plain(headline(r)), state)
		for _, x := range warningsOf(r) {
			fmt.Fprintf(&b, "- %s (%s): %s\n", plain(x.ID), x.Severity, plain(x.Text))
		}
		b.WriteByte('\n')
		list := []*table{latencyTable(v)}
		if len(r.Checks) > 0 {
			list = append(list, checksTable(r))
		}
		list = append(list, searchTable(r))
		if len(v.slots) > 0 {
			list = append(list, slotsTable(v))
		}
		if t := missingTable(v); len(t.Rows) > 0 {
			list = append(list, t)
		}
		for _, t := range append(list, factTables(r)...) {
			t.markdown(&b)
		}
		if c := repeat(r); c != "" {
			fmt.Fprintf(&b, "### Do it again\n\n    %s\n\n", oneLine(c))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) markdown(b *strings.Builder) {
	if len(t.Rows) == 0 {
		return
	}
	if t.Title != "" {
		fmt.Fprintf(b, "### %s\n\n", plain(t.Title))
	}
	head := t.Head
	if head == nil {
		head = make([]string, len(t.Rows[0]))
	}
	row := func(cells []string) {
		b.WriteByte('|')
		for _, c := range cells {
			b.WriteString(" " + plain(c) + " |")
		}
		b.WriteByte('\n')
	}
	row(head)
	b.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	for _, cells := range t.Rows {
		row(cells)
	}
	b.WriteByte('\n')
}

// plain keeps a text from being more than text: no table's edge, tag, link or
// emphasis.
func plain(s string) string {
	return markdownSigns.Replace(strings.Join(strings.Fields(oneLine(s)), " "))
}

var markdownSigns = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "!", `\!`, "#", `\#`)
