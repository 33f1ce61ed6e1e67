package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"

	"tracker/pkg/load/gate"
)

//go:embed gate.html
var gateText string

//go:embed gate.css
var gateRules string

// A gate's page has the beginning, the end and the tables of the others.
var gateTemplate = template.Must(template.Must(pageTemplate.Clone()).New("gate").Parse(gateText))

type gatePage struct {
	Title, Foot  string
	Style        template.CSS
	Headline     string
	Verdict      gate.Verdict
	Partial      bool
	Reason, Hint string
	Failure      *gate.Failure
	Tiles        []tile
	Notes, HowTo []string
	Plots        []template.HTML
	Caption      string
	Metrics      *gateMetrics
	Launches     *table
	Binaries     *table
	Tables       []*table
	Repeat       string
	File, Size   string
	Data         template.URL
}

// gateMetrics is a table whose rows say in their colour what they came to.
type gateMetrics struct {
	Head []string
	Rows []gateRow
}

type gateRow struct {
	Class string
	Cells []string
}

// gateHTML writes a page about one gate: complete in itself, without scripts, and with
// nothing to fetch.
func gateHTML(w io.Writer, r *gate.Report, c Context) error {
	whole, err := gateBytes(r)
	if err != nil {
		return err
	}
	data, file, err := pack(fileName("gate", r.ID), whole)
	if err != nil {
		return err
	}
	p := gatePage{
		Title: "trackbench gate: " + string(r.Verdict), Foot: foot(c), Style: template.CSS(plotStyle + pageRules + gateRules),
		Headline: gateHeadline(r), Verdict: r.Verdict, Partial: r.Partial, Reason: reasonOf(r), Hint: hintOf(r), Failure: tame(r.Failure),
		Tiles: gateTiles(r), Notes: gateNotes(r), HowTo: howToRead(r), Metrics: gateRows(r), Binaries: binariesTable(r),
		Repeat: commandLine(r.Command), File: file, Size: size(float64(len(whole))), Data: data,
	}
	for _, shape := range []forestShape{broadForest, narrowForest} {
		if d := gateForest(r, shape); d != nil {
			p.Plots, p.Caption = append(p.Plots, template.HTML(d.inline(""))), d.desc
		}
	}
	if t := launchTable(r); len(t.Rows) > 0 {
		p.Launches = t
	}
	for _, t := range []*table{meaningTable(r), gateTable(r), envTable(&r.Env)} {
		if len(t.Rows) > 0 {
			t.Head = nil
			p.Tables = append(p.Tables, t)
		}
	}
	return gateTemplate.Execute(w, p)
}

// tame keeps what a server said from being more than lines of text.
func tame(f *gate.Failure) *gate.Failure {
	if f == nil {
		return nil
	}
	var lines []string
	for l := range strings.Lines(f.Text) {
		lines = append(lines, strings.TrimRight(oneLine(strings.ReplaceAll(l, "\t", "    ")), " "))
	}
	return &gate.Failure{Side: oneLine(f.Side), Kind: oneLine(f.Kind), Work: oneLine(f.Work), Text: strings.Join(lines, "\n")}
}

func gateHeadline(r *gate.Report) string {
	s := fmt.Sprintf("%s against %s, %s", r.Head.Name, r.Base.Name, spent(r.TookNS))
	if !r.Started.IsZero() {
		s += ", " + r.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	return oneLine(s)
}

func gateTiles(r *gate.Report) []tile {
	if len(r.Metrics) == 0 {
		return nil
	}
	of := "of " + metricCount(len(r.Metrics))
	list := []tile{
		{"worse", strconv.Itoa(len(metricsOf(r, isFailed, isWorse))), of},
		{"better", strconv.Itoa(len(metricsOf(r, isBetter))), of},
		{"not decided", strconv.Itoa(len(metricsOf(r, isUndecided))), of},
	}
	if known(r.Visible) {
		list = append(list, tile{"smallest change", three(100**r.Visible) + " %", "visible today"})
	}
	if c := r.Control; c != nil {
		list = append(list, tile{"control", signed(c.Change), "null server, " + steadyText(c)})
	}
	return list
}

func gateRows(r *gate.Report) *gateMetrics {
	t := metricsTable(r, r.Metrics)
	g := &gateMetrics{Head: t.Head}
	for _, m := range r.Metrics {
		class := findingOf(m).class()
		g.Rows = append(g.Rows, gateRow{class, t.Rows[len(g.Rows)]})
		if m.Confirm != nil {
			g.Rows = append(g.Rows, gateRow{class + " again", t.Rows[len(g.Rows)]})
		}
	}
	return g
}
