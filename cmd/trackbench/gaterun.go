package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
	"tracker/pkg/load/gate/build"
	"tracker/pkg/load/report"
	"tracker/pkg/load/trend"
	"tracker/pkg/track"
)

// gate compares two binaries.
func (b *bench) gate(ctx context.Context, f *gateFlags) error {
	dir, err := os.MkdirTemp("", "trackbench-gate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := f.config()
	p := b.steps(f.quiet)
	notes, err := f.sides(ctx, &cfg, dir, p)
	if err != nil {
		return buildError(err)
	}
	if err := gateNeeds(); err != nil {
		return err
	}
	cfg.OnPhase, cfg.OnStep = p.phase, p.step
	r, err := gate.Run(ctx, cfg)
	p.end()
	if err != nil {
		return gateError(err)
	}
	r.Tool.Version, r.Tool.Commit = version, commit()
	r.Command = append([]string{"trackbench"}, load.RedactArgs(b.args)...)
	r.Notes = append(notes, r.Notes...)
	if err := b.concludeGate(f, r); err != nil {
		return err
	}
	return gateVerdict(r, f.inconclusive == "pass")
}

func gateError(err error) error {
	if errors.Is(err, track.ErrInvalid) {
		return fail(exitUsage, gateHelp, "%w", err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fail(exitInternal, "", "%w", err)
}

// sides builds and inspects the two, and refuses what cannot be compared.
func (f *gateFlags) sides(ctx context.Context, cfg *gate.Config, dir string, p *steps) (notes []string, err error) {
	p.phase("building")
	opts := build.Options{Progress: p.say}
	base, err := side(ctx, f.base, f.baseRef, filepath.Join(dir, "base"), opts)
	if err != nil {
		return nil, err
	}
	head, err := side(ctx, f.head, f.headRef, filepath.Join(dir, "head"), opts)
	if err != nil {
		return nil, err
	}
	if err := build.Compare(base.info, head.info); err != nil {
		return nil, err
	}
	cfg.Base, cfg.Head = base.side(), head.side()
	return build.Changes(base.info, head.info), nil
}

// contender is a server that was found or built.
type contender struct {
	name string // as it was asked for
	info build.Info
}

func side(ctx context.Context, path, rev, dir string, opts build.Options) (contender, error) {
	s := contender{name: path}
	commit := ""
	var err error
	switch {
	case path != "":
	case rev != "":
		s.name = rev
		path, commit, err = build.Revision(ctx, ".", rev, dir, opts)
	default:
		s.name = "working tree"
		path, commit, err = build.Tree(ctx, ".", dir, opts)
	}
	if err != nil {
		return s, err
	}
	if s.info, err = build.Inspect(path); err == nil && s.info.Commit == "" {
		s.info.Commit = commit
	}
	return s, err
}

func (s *contender) side() gate.Side {
	i := &s.info
	return gate.Side{Path: i.Path, Binary: gate.Binary{Name: s.name, SHA256: i.SHA256, Version: i.Version, Commit: i.Commit, Go: i.Go, Settings: i.Settings}}
}

// buildError says what to do about a binary that cannot be had, or be compared.
func buildError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fail(exitUsage, build.Hint(err), "%w", err)
}

// gateNeeds makes sure that enough files can be open: both servers are children, and have
// as many as we.
func gateNeeds() error {
	const files = 2500
	if n := load.OpenFiles(); n > 0 && n < files {
		return fail(exitUsage, "raise it, as by ulimit -n 8192", "only %d files may be open, and a gate needs %d", n, files)
	}
	return nil
}

// concludeGate prints the report and writes the files.
func (b *bench) concludeGate(f *gateFlags, r *gate.Report) error {
	out := b.out
	toOut := slices.ContainsFunc(f.sinks, func(s sink) bool { return s.path == "-" })
	if toOut {
		out = b.err
	}
	var failed error
	if f.asJSON {
		failed = b.printJSON(r)
	} else {
		failed = report.GateText(out, r)
	}
	if failed != nil {
		return failed
	}
	var wrote []string
	for _, s := range f.sinks {
		if err := report.WriteGate(s.kind, s.path, r, report.Context{Version: version}); err != nil {
			failed = errors.Join(failed, fail(exitUsage, "", "write %s: %w", s.kind, err))
		} else if s.path != "-" {
			wrote = append(wrote, s.path)
		}
	}
	if f.history != "" && !r.Partial && r.Failure == nil {
		if err := trend.Append(f.history, trend.FromGate(r)); err != nil {
			failed = errors.Join(failed, fail(exitUsage, "", "%w", err))
		} else {
			wrote = append(wrote, f.history)
		}
	}
	if len(wrote) > 0 && !f.asJSON {
		fmt.Fprintf(out, "wrote   %s\n", strings.Join(wrote, " "))
	}
	return failed
}

// gateVerdict turns a report into how the program ends.
func gateVerdict(r *gate.Report, lenient bool) error {
	code := exitDone
	switch {
	case r.Failure != nil && r.Failure.Kind == gate.Died:
		code = exitUnreachable
	case r.Failure != nil && r.Failure.Kind == gate.Wrong:
		code = exitIncorrect
	case r.Failure != nil, r.Verdict == gate.Regressed:
		code = exitThreshold
	case r.Partial:
		return context.Canceled
	case r.Verdict == gate.Inconclusive && !lenient:
		code = exitInvalid
	}
	if code == exitDone {
		return nil
	}
	return fail(code, r.Hint, "%s: %s", r.Verdict, r.Reason)
}

// steps tells how far a gate is: on a terminal in one line that is drawn over again,
// elsewhere in a line now and then.
type steps struct {
	w      io.Writer // nil: nobody listens
	redraw bool
	drawn  bool
	name   string
	last   time.Time
}

func (b *bench) steps(quiet bool) *steps {
	if quiet {
		return &steps{}
	}
	return &steps{w: b.err, redraw: terminal(b.err) && os.Getenv("TERM") != "dumb"}
}

// say tells something that stays.
func (s *steps) say(line string) {
	if s.w == nil {
		return
	}
	s.end()
	fmt.Fprintf(s.w, "trackbench: %s\n", line)
}

// phase begins another part.
func (s *steps) phase(name string) {
	s.name, s.last = name, time.Time{}
	s.say(name)
}

// seldom is the time between two lines that stay.
const seldom = 15 * time.Second

func (s *steps) step(done, all int, text string) {
	switch now := time.Now(); {
	case s.w == nil:
	case s.redraw:
		fmt.Fprintf(s.w, "\r\x1b[K%s: %d of about %d: %s", s.name, done+1, all, text)
		s.drawn = true
	case now.Sub(s.last) >= seldom:
		s.last = now
		fmt.Fprintf(s.w, "trackbench: %s: %d of about %d: %s\n", s.name, done+1, all, text)
	}
}

// end leaves the line that is drawn.
func (s *steps) end() {
	if s.drawn {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
}
