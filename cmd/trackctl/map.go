package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/tui"
	tuifleet "tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
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
n selects, f follows, ? helps, q quits. Where there is no terminal it tells of the fleet
in plain lines.`,
		Example: `  trackctl map
  trackctl map --map harbour
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
	m.mapFlag(f)
	f.BoolVar(&m.once, "once", false, "print one picture and end")
	f.BoolVar(&m.plain, "plain", false, "plain sentences, at most one a second, for logs and screen readers")
	f.BoolVar(&m.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	f.StringVar(&m.theme, "theme", "", strings.Join(look.Names, ", "))
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
	defer conn.Close()
	// Before the terminal is taken: a wrong address or token is told in a sentence.
	watch, err := conn.Watch(ctx, area)
	if err != nil {
		return err
	}
	defer watch.Close()
	o := tui.Options{
		Server: conn.Server(), Theme: m.theme, Glyphs: m.glyphs, Mouse: !m.noMouse,
		Ages: filter.Ages{Stale: m.stale, Lost: m.lost}, Feed: tuifleet.FromWatch(watch),
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
