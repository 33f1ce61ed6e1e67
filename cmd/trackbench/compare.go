package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tracker/pkg/load/report"
)

// compareFlags say how to compare.
type compareFlags struct {
	format     string
	confidence float64
	strict     bool
}

func (b *bench) compareCommand() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare A.json B.json... | compare A1.json A2.json... -- B1.json B2.json...",
		Short: "Put results beside each other, with bounds for their ratios",
		Long: `Compares every result with the first, or with -- several launches of one thing with
several of another. Ratios are of the second to the first; better and worse are marked
by what the figure is, so more fixes a second is better and more milliseconds is worse.

What the bounds mean depends on what there is. With several launches a side they are
over launches, by Student's t on the logarithms: of pairs if the launches were taken in
turns (A B B A ...), else of both sides (Welch). With single results nobody can know how
launches vary; the bounds then are only of how each run varied in itself, and marks have
a question mark. ~ says that no change would fit, too.

A result that is INVALID is refused, with exit code 3. One that is SUSPECT is labelled;
with --strict it is refused as well.`,
		Example: `  trackbench compare before.json after.json
  trackbench compare before*.json -- after*.json
  trackbench compare --format html before*.json -- after*.json > compared.html`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.ran = true
			return b.compare(&f, args, cmd.ArgsLenAtDash())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "text", "print as `FORMAT`: "+strings.Join(report.Formats, ", "))
	fl.Float64Var(&f.confidence, "confidence", 0.95, "`share` of cases in which bounds are to hold the truth")
	fl.BoolVar(&f.strict, "strict", false, "refuse suspect results, too")
	return cmd
}

func (b *bench) compare(f *compareFlags, args []string, dash int) error {
	if !slices.Contains(report.Formats, f.format) {
		return fail(exitUsage, "", "--format %q: want %s", f.format, strings.Join(report.Formats, ", "))
	}
	if !(f.confidence >= 0.5 && f.confidence <= 0.9999) {
		return fail(exitUsage, "", "--confidence %g: want a share from 0.5 to 0.9999", f.confidence)
	}
	sides, err := sidesOf(args, dash)
	if err != nil {
		return err
	}
	c, err := report.Compare(sides, f.confidence)
	switch {
	case errors.Is(err, report.ErrInvalid):
		return fail(exitInvalid, "measure again; docs/benchmarks.md tells what each warning means", "%w", err)
	case err != nil:
		return fail(exitUsage, "", "%w", err)
	}
	if err := c.Print(b.out, f.format, report.Context{Version: version}); err != nil {
		return err
	}
	for _, s := range c.Sides {
		for _, x := range []struct {
			files []string
			is    string
		}{{s.Suspect, "is SUSPECT"}, {s.Partial, "was interrupted"}, {s.Failed, "is of a server that failed"}} {
			if f.strict && len(x.files) > 0 {
				return fail(exitInvalid, "measure again, or compare without --strict", "%s %s", x.files[0], x.is)
			}
		}
	}
	return nil
}

// sidesOf makes sides of files: those before and after --, or each file its own.
func sidesOf(args []string, dash int) ([]report.Side, error) {
	files, err := readResults(args)
	if err != nil {
		return nil, err
	}
	if dash >= 0 {
		if dash == 0 || dash == len(args) {
			return nil, fail(exitUsage, "trackbench compare A1.json A2.json -- B1.json B2.json", "there are results on one side of -- only")
		}
		return []report.Side{{Name: "A", Files: files[:dash]}, {Name: "B", Files: files[dash:]}}, nil
	}
	var sides []report.Side
	names := map[string]bool{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f.Name), ".json")
		if names[name] {
			name = f.Name
		}
		names[name] = true
		sides = append(sides, report.Side{Name: name, Files: []*report.File{f}})
	}
	return sides, nil
}
