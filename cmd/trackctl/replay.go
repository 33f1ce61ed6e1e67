package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/trace"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// replayFlags are what a replay is told.
type replayFlags struct {
	fleetFlags
	speed   float64
	maxGap  time.Duration
	maxRate float64
	length  time.Duration
	loop    bool
	verify  bool
	strict  bool
	verbose bool
}

func (a *app) replayCommand() *cobra.Command {
	var r replayFlags
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Play a recorded trace as enrolled devices",
		Long: `Enrols a device for each vehicle of a recording, by the vehicle's own name, and sends
the recorded fixes at their own times through encrypted datagrams, in the recorded
rhythm. It reads ` + trace.Formats + `.
Rows that are no fix are counted by reason; the sum is always the number of rows.

At the end it reads the history back: every fix must be there once. What the network
lost is sent again. The devices' keys are kept, so that playing again is the same fleet.`,
		Example: `  trackctl replay ships.csv.gz --speed 100
  trackctl replay buses.csv --speed 60 --loop`,
		Args: wants("FILE"),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			if err := r.check(); err != nil {
				return err
			}
			return a.replay(ctx, args[0], &r)
		}),
	}
	f := cmd.Flags()
	f.Float64Var(&r.speed, "speed", 1, "play `X` times as fast as recorded")
	f.BoolVar(&r.loop, "loop", false, "begin again at the end, with the times moved on; until interrupted")
	f.DurationVar(&r.length, "for", 0, "stop after this `time`")
	f.DurationVar(&r.maxGap, "max-gap", 10*time.Second, "cut silences to this `time`; 0 keeps them")
	f.Float64Var(&r.maxRate, "max-rate", 20_000, "at most `N` fixes a second")
	f.BoolVar(&r.verify, "verify", true, "read the history back at the end")
	f.BoolVar(&r.strict, "strict", false, "play nothing if any row is rejected")
	f.BoolVar(&r.verbose, "verbose", false, "name every row that is rejected")
	r.flags(f)
	return cmd
}

func (r *replayFlags) check() error {
	switch {
	case !(r.speed > 0) || math.IsInf(r.speed, 0):
		return usagef("--speed %v: want a number above 0", r.speed)
	case r.maxGap < 0:
		return usagef("--max-gap %v is less than nothing", r.maxGap)
	case !(r.maxRate > 0) || math.IsInf(r.maxRate, 0):
		return usagef("--max-rate %v: want a number above 0", r.maxRate)
	case r.length < 0:
		return usagef("--for %v is less than nothing", r.length)
	}
	return nil
}

func (a *app) replay(ctx context.Context, path string, r *replayFlags) error {
	say := a.progress()
	defer say.clear()
	rec, err := a.readRecording(path, r)
	if err != nil {
		return err
	}
	conn, err := a.connect()
	if err != nil {
		return err
	}
	names := make([]string, len(rec.Vehicles))
	for i, v := range rec.Vehicles {
		names[i] = r.prefix + v
	}
	fl, err := a.raise(ctx, conn, &r.fleetFlags, "replay-"+filepath.Base(path), names, say)
	if err != nil {
		return err
	}
	show := &replaying{app: a, conn: conn, fleet: fl, flags: r, say: say,
		out: replayed{File: path, Format: rec.Format, Vehicles: len(rec.Vehicles), Rows: rec.Counts}}
	err = show.run(ctx, cuesOf(rec), rec.Span())
	err = errors.Join(err, fl.close())
	say.clear()
	return errors.Join(show.print(), err)
}

func (a *app) readRecording(path string, r *replayFlags) (*trace.Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var firstBad [trace.NumReasons]*trace.Rejection
	rec, err := trace.Load(f, trace.Options{
		Newest: time.Now().Add(futureLimit),
		OnReject: func(x trace.Rejection) {
			if firstBad[x.Reason] == nil || r.verbose {
				a.notef("%s: %v", path, x)
			}
			firstBad[x.Reason] = &x
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	bad := rec.Counts.TotalRejected()
	if bad > 0 && r.strict {
		return nil, hint(fmt.Errorf("%s: %d of %d rows are no fix, and --strict is set", path, bad, rec.Counts.Rows), "without --strict the others are played")
	}
	if len(rec.Rows) == 0 {
		return nil, fmt.Errorf("%s: none of %d rows is a fix", path, rec.Counts.Rows)
	}
	return rec, nil
}

// futureLimit is how far a server lets a device's clock run ahead.
const futureLimit = 24 * time.Hour

// cuesOf makes the cues of a recording.
func cuesOf(rec *trace.Recording) []load.Cue {
	cues := make([]load.Cue, len(rec.Rows))
	for i := range rec.Rows {
		row := &rec.Rows[i]
		cues[i] = load.Cue{
			Device: row.Vehicle,
			Due:    time.Duration(row.Time-rec.Rows[0].Time) * time.Millisecond,
			Fix:    fixOf(row),
		}
	}
	return cues
}

// fixOf says in the words of a datagram what a row says. Speed and course travel
// together or not at all.
func fixOf(row *trace.Row) track.Fix {
	f := track.Fix{Time: row.Time, At: row.At, Has: track.HasPos}
	if trace.Known(row.Alt) {
		f.Alt, f.Has = int16(math.Round(float64(row.Alt))), f.Has|track.HasAlt
	}
	if trace.Known(row.Speed) && trace.Known(row.Course) {
		f.Speed, f.Has = centi(float64(row.Speed)), f.Has|track.HasVel
		f.Course = uint16(math.Round(float64(row.Course)*100)) % 36000
	}
	if trace.Known(row.Accuracy) {
		f.Acc, f.Has = wire.AccuracyCode(float64(row.Accuracy)*100), f.Has|track.HasAcc
	}
	if trace.Known(row.Battery) {
		f.Bat, f.Has = uint8(math.Round(float64(row.Battery))), f.Has|track.HasBat
	}
	return f
}

// replayed is the closing account. Rows = Accepted + all Rejected, and of one pass
// Accepted = Stored + Missing where history was read back.
type replayed struct {
	File      string
	Format    string
	Vehicles  int
	Rows      trace.Counts
	Passes    int
	Sent      int
	Datagrams uint64
	Verified  bool
	load.Account
	Took time.Duration
}

// replaying is a replay that is on.
type replaying struct {
	app   *app
	conn  *client.Conn
	fleet *fleet
	flags *replayFlags
	say   *progress
	out   replayed

	delivery load.Delivery
}

// run plays until the recording, the time or the patience of whoever watches ends.
func (s *replaying) run(ctx context.Context, cues []load.Cue, span time.Duration) error {
	began := time.Now()
	defer func() {
		s.out.Took = time.Since(began)
		s.out.Datagrams = s.fleet.Stats().Datagrams
	}()
	verify := s.flags.verify && !s.flags.loop
	if verify {
		s.delivery = load.Delivery{
			Auditor: load.Auditor{Conn: s.conn, Members: s.fleet.members, Checked: s.checked},
			Fleet:   s.fleet.Fleet,
			Again:   func(n int) { s.say.note("%d fixes did not arrive and are sent again", n) },
		}
		if err := s.delivery.Before(ctx, cues); err != nil {
			return err
		}
	}
	played, err := s.play(ctx, cues, span)
	if err != nil {
		return err
	}
	if verify {
		return s.prove(ctx, cues[:played])
	}
	return nil
}

func (s *replaying) checked(done, of int) { s.say.step("reading history back", done, of, "") }

// play sends the cues, again and again with --loop, and returns how many of the last
// pass were sent.
func (s *replaying) play(ctx context.Context, cues []load.Cue, span time.Duration) (played int, err error) {
	timed := ctx
	if s.flags.length > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeout(ctx, s.flags.length)
		defer cancel()
	}
	p := &load.Player{Fleet: s.fleet.Fleet, Speed: s.flags.speed, MaxGap: s.flags.maxGap, MaxRate: s.flags.maxRate}
	if _, cut := p.Schedule(cues); cut > 0 {
		s.say.note("the recording is silent for %v in all, which is cut short; --max-gap 0 keeps it", cut.Round(time.Second))
	}
	for {
		err = s.pass(timed, p, cues)
		played, _ = p.Position()
		s.out.Sent += played
		s.out.Passes++
		over := timed.Err() != nil && ctx.Err() == nil // --for is not a failure
		if over {
			err = nil
		}
		if err != nil || over || !s.flags.loop {
			break
		}
		later(cues, span)
		if end := cues[len(cues)-1].Fix.When(); end.After(time.Now()) {
			s.say.note("another pass would end in the future, at %s: this was the last", end.Format(time.RFC3339))
			break
		}
	}
	if err != nil {
		return played, err
	}
	return played, s.fleet.Flush(ctx)
}

// later moves a recording on by its own length and a second, for the next pass.
func later(cues []load.Cue, span time.Duration) {
	by := span.Milliseconds() + 1000
	for i := range cues {
		cues[i].Fix.Time += by
	}
}

// pass plays once and tells how it gets on.
func (s *replaying) pass(ctx context.Context, p *load.Player, cues []load.Cue) error {
	done := make(chan error, 1)
	go func() { done <- p.Play(ctx, cues) }() // Play ends with ctx, and is waited for
	tick := time.NewTicker(everyOnTerminal)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case err := <-s.fleet.ended:
			s.fleet.ended <- err // close wants it too
			s.fleet.stop()
			return errors.Join(err, <-done)
		case <-tick.C:
			n, lag := p.Position()
			s.say.step("playing", n, len(cues), position(cues, n)+behind(lag))
		}
	}
}

func position(cues []load.Cue, n int) string {
	if n == 0 || n > len(cues) {
		return ""
	}
	return cues[n-1].Fix.When().Format("  2006-01-02 15:04:05Z")
}

func behind(lag time.Duration) string {
	if lag < time.Second {
		return ""
	}
	return fmt.Sprintf("  %v behind", lag.Round(100*time.Millisecond))
}

// prove reads the history back until every fix is there.
func (s *replaying) prove(ctx context.Context, cues []load.Cue) error {
	s.out.Verified = true
	a, err := s.delivery.Prove(ctx, cues)
	s.out.Account = a
	if err != nil {
		return err
	}
	return s.outcome()
}

func (s *replaying) outcome() error {
	switch {
	case s.out.Missing > 0:
		return hint(fmt.Errorf("%d fixes are not in history after %d tries", s.out.Missing, load.Rounds+1),
			"trackctl status counts what was dropped and why, and says how the store is")
	case s.out.Twice > 0:
		return fmt.Errorf("%d fixes are in history more than once", s.out.Twice)
	}
	return nil
}

// print writes the closing table.
func (s *replaying) print() error {
	o := &s.out
	rejected := map[string]int{}
	for reason := range trace.NumReasons {
		if n := o.Rows.Rejected[reason]; n > 0 {
			rejected[reason.String()] = n
		}
	}
	if s.flags.asJSON {
		return s.app.printJSON(struct {
			File      string         `json:"file"`
			Format    string         `json:"format"`
			Vehicles  int            `json:"vehicles"`
			Rows      int            `json:"rows"`
			Accepted  int            `json:"accepted"`
			Rejected  map[string]int `json:"rejected"`
			Passes    int            `json:"passes"`
			Sent      int            `json:"sent"`
			Datagrams uint64         `json:"datagrams"`
			Resent    int            `json:"resent"`
			Verified  bool           `json:"verified"`
			Stored    int            `json:"stored"`
			Missing   int            `json:"missing"`
			Twice     int            `json:"twice"`
			Took      float64        `json:"took_s"`
		}{o.File, o.Format, o.Vehicles, o.Rows.Rows, o.Rows.Accepted, rejected, o.Passes, o.Sent, o.Datagrams,
			o.Resent, o.Verified, o.Stored, o.Missing, o.Twice, o.Took.Seconds()})
	}
	w := tabwriter.NewWriter(s.app.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n any, note string) { fmt.Fprintf(w, "%s\t%v\t  %s\n", name, n, note) }
	row("rows", o.Rows.Rows, fmt.Sprintf("%s, %d vehicles", o.Format, o.Vehicles))
	row("valid", o.Rows.Accepted, "")
	for reason := range trace.NumReasons {
		if n := o.Rows.Rejected[reason]; n > 0 {
			row(reason.String(), n, "rejected")
		}
	}
	row("sum", o.Rows.Accepted+o.Rows.TotalRejected(), "valid and rejected")
	row("sent", o.Sent, strings.TrimSpace(fmt.Sprintf("in %d datagrams %s", o.Datagrams, passes(o.Passes))))
	if o.Resent > 0 {
		row("sent again", o.Resent, "")
	}
	if o.Verified {
		row("stored", o.Stored, "once each, read back from history")
		row("missing", o.Missing, "")
		row("stored twice", o.Twice, "")
	}
	return w.Flush()
}

func passes(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf("and %d passes", n)
}
