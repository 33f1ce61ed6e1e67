package report

import (
	"fmt"
	"io"
	"strings"

	"tracker/pkg/load/gate"
)

// gateMarkdown writes what goes below a pull request: the verdict and what changed in
// sight, everything else folded.
func gateMarkdown(w io.Writer, r *gate.Report, c Context) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Gate: %s\n\n%s.\n\n", plain(verdictLine(r)), plain(strings.TrimRight(reasonOf(r), ". ")))
	if f := r.Failure; f != nil && r.Reason != "" && !strings.Contains(r.Reason, f.Text) {
		fmt.Fprintf(&b, "%s\n\n", plain(failureText(f)))
	}
	if h := hintOf(r); h != "" {
		fmt.Fprintf(&b, "**Next:** %s\n\n", plain(h))
	}
	metricsTable(r, metricsOf(r, isFailed, isWorse, isUndecided, isBetter)).markdown(&b)
	for _, line := range gateNotes(r) {
		b.WriteString("- " + plain(line) + "\n")
	}
	b.WriteString("\n")
	if same := metricsOf(r, isSame); len(same) > 0 {
		fold(&b, metricCount(len(same))+" without a change that matters", metricsTable(r, same))
	}
	details(&b, "How to read this", strings.Join(howToRead(r), "\n\n"))
	if t := launchTable(r); len(t.Rows) > 0 {
		fold(&b, "Every launch", t)
	}
	env := envTable(&r.Env)
	env.Head = []string{"machine", ""}
	env.Title = ""
	fold(&b, "Binaries and machine", binariesTable(r), gateTable(r), env)
	fmt.Fprintf(&b, "<sub>%s</sub>\n", plain(foot(c)))
	_, err := io.WriteString(w, b.String())
	return err
}

// fold writes tables that are seen when one asks for them.
func fold(b *strings.Builder, name string, tables ...*table) {
	var inner strings.Builder
	for _, t := range tables {
		titled := *t
		titled.Title = "" // the summary says it
		titled.markdown(&inner)
	}
	details(b, name, strings.TrimSpace(inner.String()))
}

func details(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n%s\n\n</details>\n\n", plain(name), text)
}
