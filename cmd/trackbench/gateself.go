package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"tracker/pkg/load/gate"
	"tracker/pkg/load/gate/build"
	"tracker/pkg/load/report"
)

// The quick self-test: what is certain, and one gate with as much time as it may have.
const (
	quickLimit    = 110 * time.Second
	quickLaunches = 6
)

// gateSelfTest turns the gate on itself.
func (b *bench) gateSelfTest(ctx context.Context, f *gateFlags) error {
	dir, err := os.MkdirTemp("", "trackbench-gate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := b.steps(f.quiet)
	p.phase("building")
	s := contender{name: f.head}
	path := f.head
	if path == "" {
		s.name = "working tree, with faults"
		if path, _, err = build.WithFault(ctx, ".", dir, build.Options{Progress: p.say}); err != nil {
			return buildError(err)
		}
	}
	if s.info, err = build.Inspect(path); err != nil {
		return buildError(err)
	}
	if !s.info.HasFault() {
		return fail(exitUsage, "leave out --head, or build it with -tags "+build.FaultTag, "%s can't be given faults", path)
	}
	if err := gateNeeds(); err != nil {
		return err
	}
	cfg := gate.SelfTestConfig{Gate: f.config(), Plants: f.plant, Repeat: f.repeat}
	cfg.Gate.Base, cfg.Gate.Head = s.side(), s.side()
	cfg.Gate.OnPhase, cfg.Gate.OnStep = p.phase, p.step
	cfg.OnGate = func(t *gate.Trial, r *gate.Report) {
		p.say(fmt.Sprintf("plant %s, gate %d: %s: %s, in %v", t.Plant, t.Gates, r.Verdict, r.Reason, r.Took().Round(time.Second)))
	}
	if len(cfg.Plants) == 0 {
		cfg.Plants = []gate.Plant{{Fault: "write", Size: 0.1}, {}, {Fault: "cpu", Size: 0.25}, {Fault: "latency", Size: 0.25}}
		if f.quick {
			cfg.Plants = cfg.Plants[:2]
		}
	}
	if f.quick {
		cfg.Limit = quickLimit
		cfg.Gate.Launches, cfg.Gate.Most = quickLaunches, quickLaunches
	}
	t, err := gate.RunSelfTest(ctx, cfg)
	p.end()
	if t != nil && len(t.Rows) > 0 {
		if err := b.tellSelfTest(f, t); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return gateError(err)
	case t.Partial:
		return context.Canceled
	case !t.Held:
		return fail(exitThreshold, "", "the gate did not find what it has to, or found what is not there")
	}
	return nil
}

// tellSelfTest prints what came of it. JSON on standard output stands there alone.
func (b *bench) tellSelfTest(f *gateFlags, t *gate.SelfTest) error {
	asJSON := f.asJSON
	var files []string
	for _, s := range f.sinks {
		if s.path == "-" {
			asJSON = true
		} else {
			files = append(files, s.path)
		}
	}
	return b.tell(t, func(w io.Writer) error { return report.SelfTestText(w, t) }, asJSON, files)
}
