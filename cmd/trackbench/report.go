package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tracker/pkg/load/report"
)

// reportFlags say what to make of results.
type reportFlags struct {
	html, svg, md string
	out           []string
}

func (b *bench) reportCommand() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report RESULT.json...",
		Short: "Draw results: one HTML file, SVG drawings, or tables for other programs",
		Long: `Draws results that a run wrote with --out json=FILE. The HTML file is complete in
itself: it needs no scripts, fetches nothing, follows the light or dark of the system,
tells every drawing in words and figures too, and carries the result to download.
Several results come one after another into one file. Nothing is measured; what is
drawn now is what --out html=FILE would have drawn at the end of the run.`,
		Example: `  trackbench report run.json --html run.html
  trackbench report run.json --svg drawings/ --md
  trackbench report runs/*.json --out bench=new.txt   # then: benchstat old.txt new.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b.ran = true
			return b.reportResults(&f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.html, "html", "", "draw everything into one `FILE`")
	fl.StringVar(&f.svg, "svg", "", "write each drawing as a file into `DIR`; with several results, into one directory for each")
	fl.StringVar(&f.md, "md", "", "write tables in Markdown to `FILE`, or without one to standard output")
	fl.Lookup("md").NoOptDefVal = "-"
	fl.StringArrayVar(&f.out, "out", nil, "also write `KIND=FILE`: "+strings.Join(report.Kinds(), ", ")+"; - is standard output")
	return cmd
}

// sinks are the files that the flags ask for.
func (f *reportFlags) sinks() (all []sink, err error) {
	for _, s := range []sink{{"html", f.html}, {"md", f.md}} {
		if s.path != "" {
			all = append(all, s)
		}
	}
	for _, text := range f.out {
		kind, path, ok := strings.Cut(text, "=")
		if !ok || path == "" || !slices.Contains(report.Kinds(), kind) {
			return nil, fail(exitUsage, "", "--out %q: want KIND=FILE, of %s", text, strings.Join(report.Kinds(), ", "))
		}
		all = append(all, sink{kind, path})
	}
	if len(all) == 0 && f.svg == "" {
		return nil, fail(exitUsage, "trackbench report --help shows what there is", "what to draw? --html FILE, --svg DIR, --md, or --out KIND=FILE")
	}
	return all, nil
}

func (b *bench) reportResults(f *reportFlags, paths []string) error {
	sinks, err := f.sinks()
	if err != nil {
		return err
	}
	files, err := readResults(paths)
	if err != nil {
		return err
	}
	var wrote []string
	if f.svg != "" {
		if wrote, err = drawings(f.svg, files); err != nil {
			return fail(exitUsage, "", "write the drawings: %w", err)
		}
	}
	for _, s := range sinks {
		if s.path == "-" {
			err = report.Print(b.out, s.kind, files, report.Context{Version: version})
		} else {
			err = report.WriteAll(s.kind, s.path, files, report.Context{Version: version})
			wrote = append(wrote, s.path)
		}
		if err != nil {
			return fail(exitUsage, "", "write %s: %w", s.kind, err)
		}
	}
	if len(wrote) > 0 {
		fmt.Fprintf(b.err, "wrote   %s\n", strings.Join(wrote, " "))
	}
	return nil
}

// drawings writes those of one result into a directory, or those of several into one
// directory for each.
func drawings(dir string, files []*report.File) (all []string, err error) {
	for i, f := range files {
		into := dir
		if len(files) > 1 {
			into = filepath.Join(dir, fmt.Sprintf("run-%d", i+1))
		}
		names, err := report.SVG(into, f)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

// readResults reads files of results, each with its mistake if it has one.
func readResults(paths []string) ([]*report.File, error) {
	var files []*report.File
	for _, p := range paths {
		f, err := report.Read(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(exitUsage, "a run writes one with --out json=FILE", "there is no %s", p)
		}
		var at *os.PathError
		if errors.As(err, &at) {
			return nil, fail(exitUsage, "", "read %s: %w", p, at.Err)
		}
		if err != nil {
			return nil, fail(exitUsage, "a run writes one with --out json=FILE", "read %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}
