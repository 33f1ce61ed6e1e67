package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/tui"
	"tracker/pkg/tui/conf"
	tuifleet "tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/snap"
	tuitell "tracker/pkg/tui/tell"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/world"
)

// mapFlags are what the map is told.
type mapFlags struct {
	areaFlags
	filterFlags
	once, plain bool
	noMouse     bool
	theme       string
	glyphs      string
	format      string
	size        string
	config      string
	overlays    []string
	opening     tui.Opening
	printed     [3]bool // settings, keys, schema
	length      time.Duration

	cmd  *cobra.Command
	cols int // of --size
	rows int
}

// eventLines is the format of the map that is no picture.
const eventLines = "jsonl"

func (a *app) mapCommand() *cobra.Command {
	var m mapFlags
	cmd := &cobra.Command{
		Use:   "map",
		Short: "The live map",
		Long: `Shows the devices on a map of the world, moving. h j k l or the arrows pan, + and - zoom,
/ filters, n selects, f follows, [ and ] go through time, : does everything else and runs
commands of trackctl, r connects again, ? helps, q quits. Where standard output is no
terminal it prints one picture and ends, as with --once; on a dumb terminal, or without a
keyboard, it tells of the fleet in plain lines, as with --plain.

A token that expires while the map is open does not end it: r tries again, with the token
that the context or the file holds by then. The map that is left before that exits with 4.

Colours, keys, filters and overlays are set in a file, map.toml in the configuration
directory; --print-config writes one to begin with. Flags come before it.`,
		Example: `  trackctl map
  trackctl map --map harbour --filter 'state:moving speed>50'
  trackctl map --goto Rotterdam --zoom 9
  trackctl map --once --format svg --size 120x40 > map.svg
  trackctl map --plain --for 20s
  trackctl map --format jsonl | jq 'select(.type != "fix")'
  trackctl map --print-config > ~/.config/tracker/map.toml`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			set, keys, err := m.settings()
			if err != nil {
				return err
			}
			if slices.Contains(m.printed[:], true) {
				return m.print(a, set, keys)
			}
			if err := m.check(); err != nil {
				return err
			}
			area, err := m.area()
			if err != nil {
				return err
			}
			return limited(ctx, m.length, func(ctx context.Context) error { return a.showMap(ctx, area, &m, set, keys) })
		}),
	}
	m.cmd = cmd
	f := cmd.Flags()
	m.areaFlags.flags(f)
	m.mapFlag(f)
	m.filterFlags.flags(cmd)
	f.BoolVar(&m.once, "once", false, "print one picture and end")
	f.BoolVar(&m.plain, "plain", false, "plain sentences, at most one a second, for logs and screen readers")
	f.BoolVar(&m.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	f.StringVar(&m.theme, "theme", "", strings.Join(look.Names, ", ")+", or one of the file of settings")
	f.StringVar(&m.glyphs, "glyphs", "", "auto, braille, block or ascii")
	f.StringVar(&m.format, "format", "", "of --once: "+strings.Join(snap.Pictures, ", ")+"; or jsonl: fixes and events, a line each")
	f.StringVar(&m.size, "size", "", "of --once, `COLSxROWS`")
	f.StringVar(&m.opening.Place, "goto", "", "begin at a `PLACE`: a device, a city, or LAT,LON")
	f.Float64Var(&m.opening.Zoom, "zoom", 0, "begin at this `ZOOM`, 4 for a country, 9 for a bay (default: what suits the place)")
	f.StringVar(&m.opening.At, "at", "", "begin at a `TIME` in the past: 14:05, 2026-01-02T14:05:00Z, or -10m")
	f.StringVar(&m.config, "config", "", "`file` of settings (default: TRACK_MAP_CONFIG, or map.toml in the configuration directory)")
	f.StringArrayVar(&m.overlays, "overlay", nil, "a GeoJSON `file` to draw below the devices; may be given again")
	f.BoolVar(&m.printed[0], "print-config", false, "print the settings that hold, as a file of them")
	f.BoolVar(&m.printed[1], "print-keys", false, "print the keys that hold, for such a file")
	f.BoolVar(&m.printed[2], "print-schema", false, "print the JSON schema of such a file")
	f.DurationVar(&m.length, "for", 0, "stop after this `time`")
	return cmd
}

// loadSettings reads a file of settings, the usual one if it is not named, or gives
// everybody's if there is none.
func loadSettings(file string) (*conf.Config, *conf.Keymap, error) {
	dir, err := configDir()
	if err != nil {
		dir = "" // then there is no file in it
	}
	set, keys, err := conf.Load(conf.Where(file, os.Getenv, dir), tui.Actions())
	if err != nil {
		return nil, nil, hint(usagef("%w", err), "docs/map-config.md tells what may be set")
	}
	return set, keys, nil
}

// settings are those of the file, and of the flags that come before it.
func (m *mapFlags) settings() (*conf.Config, *conf.Keymap, error) {
	set, keys, err := loadSettings(m.config)
	if err != nil {
		return nil, nil, err
	}
	for flag, with := range map[string]func(){
		"stale": func() { set.Stale = m.stale }, "lost": func() { set.Lost = m.lost },
		"theme": func() { set.Theme = m.theme }, "glyphs": func() { set.Glyphs = m.glyphs },
		"no-mouse": func() { set.Mouse = !m.noMouse },
	} {
		if m.cmd.Flags().Changed(flag) {
			with()
		}
	}
	m.stale, m.lost = set.Stale, set.Lost
	m.parse = func(text string) (*filter.Filter, error) { return conf.ParseFilter(text, set.Filters) }
	return set, keys, nil
}

func (m *mapFlags) print(a *app, set *conf.Config, keys *conf.Keymap) error {
	out := set.TOML()
	switch {
	case m.printed[1]:
		out = keys.TOML()
	case m.printed[2]:
		out = conf.Schema(tui.Actions())
	}
	_, err := a.out.Write(out)
	return err
}

func (m *mapFlags) check() error {
	switch {
	case m.once && m.plain:
		return usagef("--once and --plain exclude each other")
	case m.length < 0:
		return usagef("--for %v is less than nothing", m.length)
	case m.format == eventLines && (m.once || m.plain):
		return usagef("--format jsonl is no picture and no sentence: leave out --once and --plain")
	case m.format != "" && m.format != eventLines && !m.once:
		return usagef("--format %q goes with --once", m.format)
	case m.format != "" && m.format != eventLines && !slices.Contains(snap.Pictures, m.format):
		return usagef("--format %q: want %s, or jsonl", m.format, strings.Join(snap.Pictures, ", "))
	case m.opening != (tui.Opening{}) && (m.plain || m.format == eventLines):
		return usagef("--goto, --zoom and --at are of the map, not of sentences")
	case m.opening.Check(time.Now()) != nil:
		return hint(usagef("--at: %w", m.opening.Check(time.Now())), "such as --at -10m, or --at 14:05")
	case m.opening.Zoom < 0 || m.opening.Zoom > world.MaxZoom || math.IsNaN(m.opening.Zoom):
		return usagef("--zoom %v: want 0 to %v", m.opening.Zoom, world.MaxZoom)
	case m.size != "" && !m.once:
		return usagef("--size goes with --once")
	}
	if m.size == "" {
		return nil
	}
	var rest string
	if n, _ := fmt.Sscanf(m.size+" ", "%dx%d%s", &m.cols, &m.rows, &rest); n != 2 || m.cols < 10 || m.rows < 3 || m.cols > 1000 || m.rows > 1000 {
		return usagef("--size %q: want COLSxROWS, such as 120x40", m.size)
	}
	return nil
}

// readOverlays reads those of the flags and of the settings.
func (m *mapFlags) readOverlays(set *conf.Config) (all []*overlay.Overlay, err error) {
	for _, file := range append(slices.Clone(set.Overlays), m.overlays...) {
		o, err := overlay.Open(file)
		if err != nil {
			return nil, usagef("overlay: %w", err)
		}
		all = append(all, o)
	}
	return all, nil
}

func (a *app) showMap(ctx context.Context, area client.Area, m *mapFlags, set *conf.Config, keys *conf.Keymap) error {
	ages, err := m.ages()
	if err != nil {
		return err
	}
	flt, err := m.filterOfFixes()
	if err != nil {
		return err
	}
	over, err := m.readOverlays(set)
	if err != nil {
		return err
	}
	line, err := a.openMapLine(ctx, area)
	if err != nil {
		return err
	}
	defer line.Close()
	conn, watch := line.current()
	readersMayLeave()
	o := tui.Options{
		Server: conn.Server(), Theme: set.Theme, Glyphs: set.Glyphs, Mouse: set.Mouse, Ages: ages, Feed: line.feed(), Line: line,
		Conf: set, Keys: keys, Filter: flt, Typed: strings.TrimSpace(m.text), CLI: a.mapCLI(line.asker), Opening: m.opening, Overlays: over, Past: line,
		Format: m.format, Cols: m.cols, Rows: m.rows,
	}
	if tty.IsTerminal(os.Stdin) && tty.IsTerminal(a.out) {
		o.In = os.Stdin // of sentences, if it comes to that
	}
	if o.StateDir, err = stateDir(); err != nil {
		o.StateDir = ""
	}
	switch {
	case m.format == eventLines:
		err = a.eventLines(ctx, watch, m, ages)
	case m.once:
		err = tui.Once(ctx, a.out, o)
	case m.plain:
		err = tui.Plain(ctx, a.out, o)
	default:
		err = tui.Run(ctx, o)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.Join(err, ctx.Err())
	}
	return err // that the time is over is none
}

// pastStreams is how many histories are asked for at a time.
const pastStreams = 16

// eventLines prints fixes and events as JSON, a line each.
func (a *app) eventLines(ctx context.Context, watch *client.Watch, m *mapFlags, ages filter.Ages) error {
	j, err := m.judge()
	if err != nil {
		return err
	}
	only := tuitell.Only{Gone: j.forget, Wants: func(f *client.Fix) bool {
		now := time.Now()
		return j.wants(f, heardOf(f, now), now)
	}}
	return tuitell.JSONL(ctx, a.out, watch, tuifleet.New(tuifleet.Config{Ages: ages}), only)
}
