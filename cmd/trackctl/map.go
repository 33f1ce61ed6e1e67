package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui"
)

// mapFlags are what the map is told.
type mapFlags struct {
	areaFlags
	once, plain bool
	noMouse     bool
	theme       string
	glyphs      string
	stale, lost time.Duration
	length      time.Duration
}

func (a *app) mapCommand() *cobra.Command {
	var m mapFlags
	cmd := &cobra.Command{
		Use:   "map",
		Short: "The live map",
		Long: `Shows the devices on a map of the world, moving. h j k l or the arrows pan, + and - zoom,
/ filters, f follows, ? helps, q quits. Where there is no terminal it tells of the fleet
in plain lines.`,
		Example: `  trackctl map
  trackctl map --once
  trackctl map --plain --for 20s`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if err := m.check(); err != nil {
				return err
			}
			area, err := m.area()
			if err != nil {
				return err
			}
			return limited(ctx, m.length, func(ctx context.Context) error { return a.showMap(ctx, area, &m) })
		}),
	}
	f := cmd.Flags()
	m.flags(f)
	f.BoolVar(&m.once, "once", false, "print one picture and end")
	f.BoolVar(&m.plain, "plain", false, "plain sentences, at most one a second, for logs and screen readers")
	f.BoolVar(&m.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	f.StringVar(&m.theme, "theme", "", strings.Join(tui.Themes, ", "))
	f.StringVar(&m.glyphs, "glyphs", "auto", "auto, braille, block or ascii")
	f.DurationVar(&m.stale, "stale", 2*time.Minute, "a device silent for this `time` is stale")
	f.DurationVar(&m.lost, "lost", 15*time.Minute, "and after this `time` lost")
	f.DurationVar(&m.length, "for", 0, "stop after this `time`")
	return cmd
}

func (m *mapFlags) check() error {
	switch {
	case m.once && m.plain:
		return usagef("--once and --plain exclude each other")
	case m.stale <= 0 || m.lost < m.stale:
		return usagef("--stale %v and --lost %v: want some time, and lost not before stale", m.stale, m.lost)
	case m.length < 0:
		return usagef("--for %v is less than nothing", m.length)
	}
	return nil
}

func (a *app) showMap(ctx context.Context, area client.Area, m *mapFlags) error {
	conn, err := a.connect()
	if err != nil {
		return err
	}
	o := tui.Options{
		Server: conn.Server(), Theme: m.theme, Glyphs: m.glyphs, Mouse: !m.noMouse,
		StaleAfter: m.stale, LostAfter: m.lost,
		Feed: func(ctx context.Context, s *tui.Store) error { return feedMap(ctx, conn, area, s) },
	}
	switch {
	case m.once:
		err = tui.Once(ctx, a.out, o)
	case m.plain:
		err = tui.Plain(ctx, a.out, o)
	default:
		err = tui.Run(ctx, o)
	}
	return errors.Join(err, ctx.Err())
}

// feedMap fills a store from a watch until the watch ends.
func feedMap(ctx context.Context, conn *client.Conn, area client.Area, s *tui.Store) error {
	w, err := conn.Watch(ctx, area)
	if err != nil {
		return err
	}
	defer w.Close()
	for e, err := range w.Events() {
		if err != nil {
			return err
		}
		feedEvent(&e, s)
	}
	return nil
}

func feedEvent(e *client.Event, s *tui.Store) {
	switch e.Kind {
	case client.Snapshot, client.Resync:
		s.Skipped(e.Skipped)
		s.Snapshot(e.Fixes, e.First, e.More)
	case client.Fixes:
		s.Apply(e.Fixes)
		s.Left(e.Left)
	case client.Disconnected:
		s.SetLink(tui.Reconnecting, fmt.Sprintf("%s, again in %v", shortly(e.Err), e.RetryIn.Round(100*time.Millisecond)))
		return
	}
	s.SetLink(tui.Live, "")
}

// shortly is an error in the few words that a status line has room for.
func shortly(err error) string {
	if errors.Is(err, client.ErrUnreachable) {
		return "no answer"
	}
	if errors.Is(err, track.ErrDenied) {
		return "not allowed"
	}
	return err.Error()
}
