package report

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"tracker/pkg/load"
)

//go:embed style.css
var colours string

//go:embed plot.css
var plotRules string

//go:embed page.css
var pageRules string

//go:embed page.html
var pageText string

// plotStyle is what a drawing needs to stand alone.
var plotStyle = colours + plotRules

// The page escapes by where a value stands; what goes in unescaped is only our own
// style, drawings, which escape for themselves, and base64.
var pageTemplate = template.Must(template.New("page").Parse(pageText))

type page struct {
	Title    string
	Style    template.CSS
	Overview *overview
	Runs     []*run
	Foot     string
}

// overview is the beginning of a page about several runs.
type overview struct {
	Title, Text string
	Table       *table
	Plot        template.HTML
	Caption     string
	Notes       []string
}

// run is the part of a page about one result.
type run struct {
	ID, Name, Headline string
	Validity           load.Validity
	Partial            bool
	Tiles              []tile
	Warnings           []warning
	Checks             *table
	Sections           []section
	Latencies          *table
	Slots, Search      *table
	Tables             []*table
	Repeat             string
	File, Size         string
	Data               template.URL
}

type warning struct {
	ID, Severity, Text, Evidence string
}

type section struct {
	Title, Text string
	Plot        template.HTML
	Table       *table
}

// HTML writes one page about all the files: complete in itself, without scripts, and
// with nothing to fetch.
func HTML(w io.Writer, files []*File, c Context) error {
	p := page{Style: template.CSS(plotStyle + pageRules), Foot: foot(c)}
	var views []*view
	for i, f := range files {
		v, err := look(f.Result)
		if err != nil {
			return err
		}
		r, err := runOf(f, v, fmt.Sprintf("run-%d", i+1))
		if err != nil {
			return err
		}
		p.Runs, views = append(p.Runs, r), append(views, v)
	}
	p.Title = fmt.Sprintf("%d results of trackbench", len(files))
	if len(files) == 1 {
		p.Title = "trackbench " + headline(files[0].Result)
		return pageTemplate.Execute(w, p)
	}
	p.Overview = overviewOf(p.Title, files, views)
	for i, r := range p.Runs {
		r.Name = fmt.Sprintf("%d. %s", i+1, r.Name)
	}
	return pageTemplate.Execute(w, p)
}

func foot(c Context) string { return "Drawn by trackbench " + c.version() + "." }

func runOf(f *File, v *view, id string) (*run, error) {
	r := f.Result
	data, file, err := download(f)
	if err != nil {
		return nil, err
	}
	out := &run{
		ID: id, Name: "trackbench " + r.Scenario.Name, Headline: headline(r), Validity: r.Verdict.Validity, Partial: r.Partial,
		Tiles: tiles(v), Warnings: warningsOf(r), Latencies: latencyTable(v), Repeat: repeat(r),
		File: file, Size: size(float64(len(f.JSON))), Data: data,
	}
	if len(r.Checks) > 0 {
		out.Checks = checksTable(r)
	}
	for _, d := range charts(v) {
		s := section{Title: d.title, Text: d.desc, Plot: template.HTML(d.inline(id + "-"))}
		if d.id == "completeness" {
			if t := missingTable(v); len(t.Rows) > 0 {
				s.Table = t
			}
		}
		out.Sections = append(out.Sections, s)
	}
	if len(v.slots) > 0 {
		out.Slots = slotsTable(v)
	}
	if t := searchTable(r); len(t.Rows) > 0 {
		out.Search = t
	}
	out.Tables = factTables(r)
	return out, nil
}

// factTables are the tables of names and values that have something to say.
func factTables(r *load.Result) []*table {
	all := []*table{consistencyTable(r), findingsTable(r), countsTable(r), resourcesTable(r), ratesTable(r), calibrationTable(r), eventsTable(r), runTable(r), envTable(&r.Env)}
	return slices.DeleteFunc(all, func(t *table) bool { return len(t.Rows) == 0 })
}

func warningsOf(r *load.Result) []warning {
	var list []warning
	if f := r.Failure; f != nil {
		list = append(list, warning{"FAILED", string(load.Ruin), f.Kind + ": " + f.Text, f.Hint})
	}
	for _, w := range r.Verdict.Warnings {
		severity := "info"
		if w.Severity == load.Doubt || w.Severity == load.Ruin {
			severity = string(w.Severity)
		}
		list = append(list, warning{w.ID, severity, w.Text, evidence(&w)})
	}
	return list
}

// evidence tells what a warning was given for, numbers in a few digits.
func evidence(w *load.Warning) string {
	var parts []string
	for _, k := range sorted(w.Evidence) {
		v := w.Evidence[k]
		text := argument(v)
		if n, ok := v.(float64); ok && n != math.Trunc(n) {
			text = three(n)
		}
		parts = append(parts, strings.ReplaceAll(k, "_", " ")+" "+text)
	}
	return argument(strings.Join(parts, ", "))
}

// plainData is how large a result may be to be handed on as it is: browsers stop at
// some megabytes of a link.
const plainData = 1 << 20

// download packs the result into a link.
func download(f *File) (template.URL, string, error) { return pack(name(f.Result), f.JSON) }

func pack(name string, b []byte) (template.URL, string, error) {
	kind, file := "application/json", name+".json"
	if len(b) > plainData {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b); err != nil {
			return "", "", err
		}
		if err := w.Close(); err != nil {
			return "", "", err
		}
		kind, file, b = "application/gzip", file+".gz", z.Bytes()
	}
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b)), file, nil
}

func overviewOf(title string, files []*File, views []*view) *overview {
	t := &table{Title: "Runs", Head: []string{"run", "file", "scenario", "verdict", "duration", "p50", "p99", "max", "lost"}}
	var list []curve
	for i, v := range views {
		h := v.hists["response"]
		row := []string{fmt.Sprint(i + 1), files[i].Name, v.Scenario.Name, string(v.Verdict.Validity), dur(float64(v.DurationNS)), "–", "–", "–", lossTile(v.Result).Note}
		if h.total > 0 {
			row[5], row[6], row[7] = orNA(&h, 50), orNA(&h, 99), dur(float64(h.max()))
			list = append(list, curve{fmt.Sprintf("run %d", i+1), fmt.Sprintf("c%d", i%3+1), &h})
		}
		t.Rows = append(t.Rows, row)
	}
	o := &overview{Title: title, Text: "One after another; their response times over each other. Ratios are made by trackbench compare.", Table: t}
	if len(list) > 1 && len(list) <= 6 {
		d := curves(list, "Response time of all runs").done("all", "Response time of all runs", describe(list))
		o.Plot = template.HTML(d.inline(""))
	}
	return o
}
