package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// beaconFlags are what a beacon is told.
type beaconFlags struct {
	enrolment     string
	enrolmentFile string
	addr          string
	stateDir      string
	clock         string
	lines         bool
	every         time.Duration
	count         int
	ack           bool
	patience      time.Duration
	asJSON        bool
	fix           report
}

// report is one position report as flags and lines of JSON say it. The names are
// those of watch and history.
type report struct {
	Time     string   `json:"time"`
	Lat      *float64 `json:"lat"`
	Lon      *float64 `json:"lon"`
	Alt      *float64 `json:"alt_m"`
	Speed    *float64 `json:"speed_mps"`
	Course   *float64 `json:"course_deg"`
	Accuracy *float64 `json:"accuracy_m"`
	Battery  *float64 `json:"battery_pct"`
	Power    bool     `json:"power"`
	Event    string   `json:"event"`
}

func (a *app) beaconCommand() *cobra.Command {
	var b beaconFlags
	cmd := &cobra.Command{
		Use:   "beacon",
		Short: "A reference device: seal fixes and send them",
		Long: `Sends encrypted datagrams as a device does, with the enrolment string of device enroll
(also TRACK_ENROLMENT). It sends one fix from the flags; the same again --every so often;
or one fix a line of --stdin, as JSON with the names that watch --format jsonl writes
("time" defaults to now). Without --lat and --lon it sends a heartbeat.

A device never uses a session number twice, so it remembers the last one in --state-dir.`,
		Example: `  trackctl beacon --enrolment "$LINK" --lat 48.137 --lon 11.575
  trackctl beacon --enrolment-file van-1.txt --lat 48.137 --lon 11.575 --every 5s
  trackctl history van-1 --format jsonl | trackctl beacon --enrolment "$LINK" --stdin`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&b.enrolment, "enrolment", "", "the enrolment `string` (TRACK_ENROLMENT)")
	f.StringVar(&b.enrolmentFile, "enrolment-file", "", "`file` that holds it, - is standard input")
	f.StringVar(&b.addr, "addr", "", "send to `HOST:PORT` instead of where the enrolment says")
	f.StringVar(&b.stateDir, "state-dir", "", "`directory` that remembers sessions (default: in XDG_STATE_HOME)")
	b.fix.flags(f)
	f.BoolVar(&b.lines, "stdin", false, "send one fix for each line of JSON on standard input")
	f.DurationVar(&b.every, "every", 0, "send again after this `time`, until interrupted")
	f.IntVar(&b.count, "count", 0, "with --every, stop after `N` fixes")
	f.BoolVar(&b.ack, "ack", false, "ask for acknowledgements, repeat what is missing, and fail if none comes")
	f.DurationVar(&b.patience, "patience", 15*time.Second, "how long to wait for acknowledgements at the end")
	f.StringVar(&b.clock, "clock", "", "believe that it is this `time` now, for tests")
	f.BoolVar(&b.asJSON, "json", false, "print what was sent as JSON")
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) error { return a.beacon(ctx, &b) })
	return cmd
}

func (r *report) flags(f *pflag.FlagSet) {
	f.Var(optional{&r.Lat}, "lat", "latitude in `degrees`")
	f.Var(optional{&r.Lon}, "lon", "longitude in `degrees`")
	f.Var(optional{&r.Alt}, "alt", "altitude in `metres`")
	f.Var(optional{&r.Speed}, "speed", "speed in `m/s`, with --course")
	f.Var(optional{&r.Course}, "course", "course in `degrees`, with --speed")
	f.Var(optional{&r.Accuracy}, "accuracy", "radius that the place is good to, in `metres`")
	f.Var(optional{&r.Battery}, "battery", "charge in `percent`")
	f.StringVar(&r.Event, "event", "", "sos, low_battery, power_lost, motion_start, motion_stop or tamper")
	f.StringVar(&r.Time, "time", "", "`time` of the fix (default: now)")
}

// optional is a flag that may be absent, which is something else than zero.
type optional struct{ at **float64 }

func (o optional) String() string {
	if o.at == nil || *o.at == nil {
		return ""
	}
	return fmt.Sprint(**o.at)
}
func (o optional) Type() string { return "number" }
func (o optional) Set(s string) error {
	var v float64
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return fmt.Errorf("%q is not a number", s)
	}
	*o.at = &v
	return nil
}

// fix makes a fix of a report, or says what is wrong with it.
func (r *report) fix(now time.Time) (track.Fix, error) {
	at, err := parseWhen("time", r.Time, now)
	if err != nil {
		return track.Fix{}, err
	}
	if at.IsZero() {
		at = now
	}
	f := track.Fix{Time: at.UnixMilli()}
	if f.Time < 0 || f.Time/1000 > math.MaxUint32 {
		return f, fmt.Errorf("time %s is not between 1970 and 2106", at.Format(time.RFC3339))
	}
	if err := r.place(&f); err != nil {
		return f, err
	}
	for _, v := range []struct {
		name      string
		value     *float64
		low, high float64
		set       func(float64)
	}{
		{"altitude", r.Alt, math.MinInt16, math.MaxInt16, func(v float64) { f.Alt = int16(math.Round(v)); f.Has |= track.HasAlt }},
		{"speed", r.Speed, 0, 1e9, func(v float64) { f.Speed = centi(v); f.Has |= track.HasVel }},
		{"course", r.Course, 0, 360, func(v float64) { f.Course = uint16(math.Round(v*100)) % 36000 }},
		{"accuracy", r.Accuracy, 0, 1e9, func(v float64) { f.Acc = wire.AccuracyCode(v * 100); f.Has |= track.HasAcc }},
		{"battery", r.Battery, 0, 100, func(v float64) { f.Bat = uint8(math.Round(v)); f.Has |= track.HasBat }},
	} {
		if v.value == nil {
			continue
		}
		if !(*v.value >= v.low && *v.value <= v.high) {
			return f, fmt.Errorf("%s %g is not in %g..%g", v.name, *v.value, v.low, v.high)
		}
		v.set(*v.value)
	}
	if (r.Speed == nil) != (r.Course == nil) {
		return f, errors.New("speed and course go together: give both or none")
	}
	if r.Power {
		if f.Has&track.HasBat == 0 {
			f.Bat, f.Has = 127, f.Has|track.HasBat
		}
		f.Bat |= 0x80
	}
	f.Event, err = eventByName(r.Event)
	return f, err
}

func (r *report) place(f *track.Fix) error {
	if (r.Lat == nil) != (r.Lon == nil) {
		return errors.New("latitude and longitude go together: give both or none")
	}
	if r.Lat == nil {
		return nil
	}
	if !(*r.Lat >= -90 && *r.Lat <= 90 && *r.Lon >= -180 && *r.Lon <= 180) {
		return fmt.Errorf("%g,%g is not on the globe", *r.Lat, *r.Lon)
	}
	f.At, f.Has = geo.Deg(*r.Lat, *r.Lon), f.Has|track.HasPos
	return nil
}

// centi is hundredths, as many as the wire can carry.
func centi(v float64) uint16 { return uint16(min(math.Round(v*100), math.MaxUint16)) }

func eventByName(name string) (track.Event, error) {
	for e := track.EventNone; e <= track.EventTamper; e++ {
		if e.String() == name {
			return e, nil
		}
	}
	return 0, fmt.Errorf("there is no event %q", name)
}

func (a *app) beacon(ctx context.Context, b *beaconFlags) error {
	if err := b.check(); err != nil {
		return err
	}
	e, err := a.readEnrolment(b)
	if err != nil {
		return err
	}
	clock, err := pretend(b.clock)
	if err != nil {
		return err
	}
	epochs, err := epochFile(b.stateDir, e.Device)
	if err != nil {
		return err
	}
	acks := map[seal.AckStatus]int{}
	dev, err := client.NewBeacon(client.BeaconConfig{
		Enrolment: e, Addr: b.addr, Epochs: epochs, Clock: clock, Acks: b.ack,
		OnAck: func(ack seal.Ack) { acks[ack.Status]++ },
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { // ends with ctx; its end is waited for below
		err := dev.Run(ctx)
		stop()
		ended <- err
	}()
	rejected, err := a.feed(ctx, dev, b, clock)
	if err == nil {
		err = flush(ctx, dev, b)
	}
	interrupted := ctx.Err()
	stop()
	if runErr := <-ended; runErr != nil {
		return hint(runErr, "a device whose clock is not set needs an enrolment with --flags c")
	}
	if err := errors.Join(err, interrupted); err != nil {
		return err
	}
	return a.sent(dev, b, e.Device, acks, rejected)
}

func (b *beaconFlags) check() error {
	switch {
	case b.enrolment != "" && b.enrolmentFile != "":
		return usagef("--enrolment and --enrolment-file exclude each other")
	case b.lines && b.enrolmentFile == "-":
		return usagef("--stdin and --enrolment-file - both want standard input")
	case b.lines && b.every != 0:
		return usagef("--stdin and --every exclude each other")
	case b.every < 0 || b.every > 0 && b.every < 250*time.Millisecond:
		return usagef("--every %v: want at least 250ms, the server takes no more of one device", b.every)
	case b.count < 0 || b.count > 0 && b.every == 0:
		return usagef("--count %d: want a positive number, with --every", b.count)
	case b.patience <= 0:
		return usagef("--patience %v: want some time", b.patience)
	}
	if b.lines {
		return nil
	}
	if _, err := b.fix.fix(time.Now()); err != nil {
		return &usageError{err}
	}
	return nil
}

func (a *app) readEnrolment(b *beaconFlags) (seal.Enrolment, error) {
	text := first(b.enrolment, os.Getenv("TRACK_ENROLMENT"))
	if b.enrolmentFile != "" {
		raw, err := a.readAll(b.enrolmentFile, 4<<10)
		if err != nil {
			return seal.Enrolment{}, fmt.Errorf("read the enrolment: %w", err)
		}
		text = string(raw)
	}
	if text = strings.TrimSpace(text); text == "" {
		return seal.Enrolment{}, hint(usagef("a beacon needs an enrolment"), "trackctl device enroll NAME --json | jq -r .enrolment gives one")
	}
	e, err := seal.ParseEnrolment(text)
	if err != nil {
		return e, hint(&usageError{err}, "trackctl device enroll NAME --json | jq -r .enrolment gives one")
	}
	return e, nil
}

// readAll reads a small file, or standard input for "-".
func (a *app) readAll(path string, limit int64) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(a.in, limit))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// pretend is a clock that started at the given time just now; nil is the system's.
func pretend(s string) (func() (time.Time, bool), error) {
	if s == "" {
		return nil, nil
	}
	began := time.Now()
	base, err := parseWhen("--clock", s, began)
	if err != nil {
		return nil, err
	}
	// A clock from before the program was written was never set.
	trusted := base.After(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	return func() (time.Time, bool) { return base.Add(time.Since(began)), trusted }, nil
}

func epochFile(dir string, id track.DeviceID) (seal.EpochStore, error) {
	if dir == "" {
		state, err := stateDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(state, "beacons")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("remember sessions: %w", err)
	}
	return client.EpochFile(filepath.Join(dir, id.String()+".epoch")), nil
}

// feed gives the beacon what to send. Lines that are no fix are told and counted, and
// those around them are sent.
func (a *app) feed(ctx context.Context, dev *client.Beacon, b *beaconFlags, clock func() (time.Time, bool)) (rejected int, err error) {
	now := time.Now
	if clock != nil {
		now = func() time.Time { t, _ := clock(); return t }
	}
	if b.lines {
		return a.feedLines(ctx, dev, now)
	}
	for n := 1; ; n++ {
		f, err := b.fix.fix(now())
		if err != nil {
			return 0, &usageError{err}
		}
		dev.Send(f)
		if b.every == 0 || n == b.count {
			return 0, nil
		}
		if err := pause(ctx, b.every); err != nil {
			return 0, err
		}
	}
}

// mostQueued is how many fixes may wait in the beacon before no more are read.
const mostQueued = 5000

func (a *app) feedLines(ctx context.Context, dev *client.Beacon, now func() time.Time) (rejected int, err error) {
	lines := bufio.NewScanner(a.in)
	for n := 1; lines.Scan() && ctx.Err() == nil; n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		var r report
		err := json.Unmarshal([]byte(text), &r)
		if err == nil {
			var f track.Fix
			if f, err = r.fix(now()); err == nil {
				dev.Send(f)
			}
		}
		if err != nil {
			rejected++
			a.notef("line %d was not sent: %v", n, err)
		}
		for dev.Stats().Queued > mostQueued {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return rejected, err
			}
		}
	}
	return rejected, lines.Err()
}

// flush waits until everything was sent and, with acks, answered: without acks for as
// long as it takes, with them not longer than patience.
func flush(ctx context.Context, dev *client.Beacon, b *beaconFlags) error {
	if !b.ack {
		return dev.Flush(ctx)
	}
	patient, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if err := dev.Flush(patient); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

var ackWords = map[seal.AckStatus]string{
	seal.AckOK:          "ok",
	seal.AckClock:       "ok, but the clock is off by more than a minute",
	seal.AckEpochOld:    "the session number is too old",
	seal.AckRateLimited: "too many datagrams",
	seal.AckReprovision: "ok, but this key ends soon: enrol again",
}

// sent says what came of it.
func (a *app) sent(dev *client.Beacon, b *beaconFlags, id track.DeviceID, acks map[seal.AckStatus]int, rejected int) error {
	s := dev.Stats()
	for status, n := range acks {
		if status != seal.AckOK {
			a.notef("%d acknowledged: %s", n, ackWords[status])
		}
	}
	var problem error
	switch {
	case b.ack && s.Acks == 0:
		problem = hint(fmt.Errorf("%d fixes were sent, and no acknowledgement came", s.Fixes),
			"one-way links carry none; else see whether trackctl status counts why they were dropped")
	case s.Queued > 0 || s.Dropped > 0:
		problem = fmt.Errorf("%d fixes could not be sent", uint64(s.Queued)+s.Dropped)
	case rejected > 0:
		problem = fmt.Errorf("%d lines were no fix", rejected)
	}
	out := struct {
		Device    track.DeviceID `json:"device"`
		Fixes     uint64         `json:"fixes"`
		Datagrams uint64         `json:"datagrams"`
		Acks      uint64         `json:"acks"`
		Unacked   int            `json:"unacked"`
		Repeated  uint64         `json:"repeated"`
		Rejected  int            `json:"rejected"`
	}{id, s.Fixes, s.Datagrams, s.Acks, s.Unacked, s.Repeated, rejected}
	if b.asJSON {
		return errors.Join(a.printJSON(out), problem)
	}
	if problem == nil {
		a.notef("%v sent %d fixes in %d datagrams%s", id, s.Fixes, s.Datagrams, acked(b.ack, s.Acks))
	}
	return problem
}

func acked(asked bool, n uint64) string {
	if !asked {
		return ""
	}
	return fmt.Sprintf(", %d acknowledged", n)
}
