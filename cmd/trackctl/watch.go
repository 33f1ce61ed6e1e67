package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// areaFlags say what to look at.
type areaFlags struct {
	devices []string
	box     string
	shared  string
}

func (s *areaFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.devices, "device", nil, "only this device, by `name or id`; may be given again")
	f.StringVar(&s.box, "bbox", "", "only inside `S,W,N,E`, in degrees; W greater than E crosses the antimeridian")
}

// mapFlag is for what can look at a shared map as well.
func (s *areaFlags) mapFlag(f *pflag.FlagSet) {
	f.StringVar(&s.shared, "map", "", "only the devices on this shared map, by `name or id`")
}

func (s *areaFlags) area() (client.Area, error) {
	if s.shared != "" {
		if len(s.devices) > 0 || s.box != "" {
			return client.Area{}, usagef("--map excludes --device and --bbox")
		}
		return client.Area{Map: s.shared}, nil
	}
	if s.box == "" {
		return client.Area{Devices: s.devices}, nil
	}
	if len(s.devices) > 0 {
		return client.Area{}, usagef("--device and --bbox exclude each other")
	}
	box, err := geo.ParseBox(s.box)
	if err != nil {
		return client.Area{}, &usageError{err}
	}
	return client.Area{Box: &box}, nil
}

func (a *app) watchCommand() *cobra.Command {
	var area areaFlags
	var only filterFlags
	w := watching{app: a}
	var format string
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Write what moves, as it moves",
		Long: `Writes the present of what is watched and then every new fix, one a line, until
interrupted. A reader that is too slow misses fixes and is told how many; the others are
not held up. A line that breaks is taken up again without repeating what was written.`,
		Example: `  trackctl watch --device van-1
  trackctl watch --bbox 47.2,5.8,55.1,15.1 --format jsonl | jq .name
  trackctl watch --filter 'van state:moving speed>90'
  trackctl watch --map harbour
  trackctl watch --format jsonl --count 100`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if w.count < 0 || length < 0 {
				return usagef("--count and --for cannot be less than nothing")
			}
			if format != "text" && format != "jsonl" {
				return usagef("--format %q: want text or jsonl", format)
			}
			what, err := area.area()
			if err != nil {
				return err
			}
			if w.judge, err = only.judge(); err != nil {
				return err
			}
			if w.out, err = newWriter(a.out, format); err != nil {
				return err
			}
			return limited(ctx, length, func(ctx context.Context) error { return w.run(ctx, what) })
		}),
	}
	f := cmd.Flags()
	area.flags(f)
	area.mapFlag(f)
	only.flags(cmd)
	f.StringVar(&format, "format", "text", "text or jsonl")
	f.BoolVar(&w.onlyNew, "only-new", false, "leave the present out, begin with the next fix")
	f.DurationVar(&length, "for", 0, "stop after this `time`")
	f.IntVar(&w.count, "count", 0, "stop after `N` fixes")
	return cmd
}

// limited runs do for at most so long; that the time is over is no failure.
func limited(ctx context.Context, length time.Duration, do func(context.Context) error) error {
	if length == 0 {
		return do(ctx)
	}
	timed, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	err := do(timed)
	if timed.Err() != nil && ctx.Err() == nil && !errors.Is(err, track.ErrDenied) {
		return nil
	}
	return err
}

// watching writes the events of one watch.
type watching struct {
	app     *app
	out     client.Writer
	judge   *judge
	onlyNew bool
	count   int
	written int
	// newest is when the last fix of each device was that was looked at: a snapshot that
	// follows a broken line must not repeat it.
	newest map[track.DeviceID]time.Time
	live   bool // the first snapshot is over
}

// errEnough says that as many fixes were written as were asked for.
var errEnough = errors.New("enough")

func (w *watching) run(ctx context.Context, area client.Area) error {
	conn, err := w.app.connect()
	if err != nil {
		return err
	}
	feed, err := conn.Watch(ctx, area)
	if err != nil {
		return err
	}
	defer feed.Close()
	w.newest = map[track.DeviceID]time.Time{}
	for e, err := range feed.Events() {
		if err == nil {
			err = w.event(&e)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *watching) event(e *client.Event) error {
	switch e.Kind {
	case client.Snapshot:
		if err := w.present(e.Fixes, w.onlyNew && !w.live); err != nil {
			return err
		}
		w.live = w.live || !e.More
		return nil
	case client.Resync:
		if e.Skipped > 0 {
			w.app.notef("too slow: %d fixes were skipped", e.Skipped)
		}
		return w.present(e.Fixes, false)
	case client.Disconnected:
		w.app.notef("%v; trying again in %v", e.Err, e.RetryIn.Round(10*time.Millisecond))
	case client.Resumed:
		w.app.notef("connected again, nothing was missed")
	case client.Fixes:
		now := time.Now()
		for i := range e.Fixes {
			if err := w.write(&e.Fixes[i], now, now); err != nil {
				return err
			}
		}
		for _, id := range e.Left {
			delete(w.newest, id) // it may come back, and then it is new
			w.judge.forget(id)
		}
	}
	return nil
}

// present writes what of the present is news.
func (w *watching) present(fixes []client.Fix, silently bool) error {
	now := time.Now()
	for i := range fixes {
		f := &fixes[i]
		heard := heardOf(f, now)
		if silently {
			w.newest[f.Device] = f.Time
			w.judge.wants(f, heard, now) // it only learns
			continue
		}
		if known, ok := w.newest[f.Device]; ok && !f.Time.After(known) {
			continue
		}
		if err := w.write(f, heard, now); err != nil {
			return err
		}
	}
	return nil
}

// write writes a fix that was heard at a moment, if it is wanted.
func (w *watching) write(f *client.Fix, heard, now time.Time) error {
	if f.Time.After(w.newest[f.Device]) {
		w.newest[f.Device] = f.Time
	}
	if !w.judge.wants(f, heard, now) {
		return nil
	}
	if err := w.out.Write(f); err != nil {
		return err
	}
	if w.written++; w.written == w.count {
		return errEnough
	}
	return nil
}
