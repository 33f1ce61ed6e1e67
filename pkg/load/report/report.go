// Package report turns a result into what people and other programs read: a page with
// drawings, Markdown, CSV, the Go benchmark format, a Prometheus text file, JUnit; and
// it compares results.
//
//	load.Result ──► File ──► view ──► drawings, tables ──► HTML, SVG, Markdown
//	 (or a file)      │
//	                  ├──► csv, bench, prom, junit
//	                  └──► Compare, two sets of files ──► text, Markdown, CSV, JSON
//	gate.Report ──► text, HTML, Markdown, JSON, junit, csv, bench
//
// A report that is drawn at once and one that is drawn later from the JSON are the
// same, since both begin from the JSON. A result may come from anybody: it is bounded
// and checked when it is read, and everything in it is escaped where it is written.
package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tracker/pkg/load"
)

// Context is what a report says beyond the result.
type Context struct {
	Version string // of the program that draws
}

func (c Context) version() string {
	if c.Version == "" {
		return "dev"
	}
	return c.Version
}

// writers make each kind of report from results.
var writers = map[string]func(io.Writer, []*File, Context) error{
	"html":  HTML,
	"md":    Markdown,
	"csv":   CSV,
	"bench": Bench,
	"prom":  Prom,
	"junit": JUnit,
}

// Kinds are what Write can write.
func Kinds() []string { return sorted(writers) }

// ErrKind says that there is no such kind of report.
var ErrKind = errors.New("no such kind of report")

// Write writes a report of a result to a file, or to standard output for "-".
func Write(kind, path string, r *load.Result, c Context) error {
	f, err := of(r)
	if err != nil {
		return err
	}
	return WriteAll(kind, path, []*File{f}, c)
}

// WriteAll writes one report of several results.
func WriteAll(kind, path string, files []*File, c Context) error {
	return load.WriteFile(path, func(w io.Writer) error { return Print(w, kind, files, c) })
}

// Print writes one report of several results to w.
func Print(w io.Writer, kind string, files []*File, c Context) error {
	return printAs(w, writers, kind, files, c)
}

// printAs writes what there is to report by the writer of its kind.
func printAs[T any](w io.Writer, writers map[string]func(io.Writer, T, Context) error, kind string, what T, c Context) error {
	write, ok := writers[kind]
	if !ok {
		return fmt.Errorf("%w as %q: want %s", ErrKind, kind, strings.Join(sorted(writers), ", "))
	}
	return write(w, what, c)
}

// SVG writes every drawing of a result as a file of its own into a directory, and
// tells their names.
func SVG(dir string, f *File) ([]string, error) {
	v, err := look(f.Result)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var names []string
	for _, d := range charts(v) {
		path := filepath.Join(dir, d.id+".svg")
		err := load.WriteFile(path, func(w io.Writer) error {
			_, err := io.WriteString(w, d.alone())
			return err
		})
		if err != nil {
			return names, err
		}
		names = append(names, path)
	}
	slices.Sort(names)
	return names, nil
}
