package tui

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// TestMain lets the tests run this binary as the map itself, on a terminal of theirs.
func TestMain(m *testing.M) { tuitest.Main(m, drive) }

// coral is a theme in which each way to say a colour is found.
var coral = conf.Theme{"base": "dark", "moving": "bold #5fd7ff", "coast": "#ff7f50 on #101010", "title": "bright-red"}

// drive is the map in a process of its own. Its fleet has TUI_DEVICES devices, its theme is
// TUI_THEME: coral, or one that is built in.
func drive(mode string) error {
	n, _ := strconv.Atoi(os.Getenv("TUI_DEVICES"))
	box := tuitest.Europe
	if os.Getenv("TUI_WORLD") != "" {
		box = tuitest.World
	}
	feed := func(ctx context.Context, s *fleet.Store) error {
		return tuitest.Simulate(ctx, s, n, box, func() { s.SetLink(fleet.Live, "") })
	}
	settings := conf.Defaults()
	settings.Themes = map[string]conf.Theme{"coral": coral}
	o := Options{Conf: settings, Server: "tracker.example.org:4810", Mouse: true, Theme: os.Getenv("TUI_THEME"), Feed: feed, Past: tuitest.History{}}
	o.extra = []action{{conf.Action{Name: "panic", Default: []string{"P"}}, func(*screen) { panic("on purpose") }}}
	switch mode {
	case "once":
		return Once(context.Background(), os.Stdout, o)
	case "plain":
		return Plain(context.Background(), os.Stdout, o)
	case "panic later":
		o.Feed = later(feed, func() error { panic("on purpose") })
	case "fail later":
		o.Feed = later(feed, func() error { return fmt.Errorf("no such server") })
	case "heartbeat": // tells on descriptor 3 that the feed is alive
		o.Feed = beating(feed, os.NewFile(3, "pulse"))
	case "measured":
		return runMeasured(o)
	}
	if run, ok := hostileModes[mode]; ok {
		return run(o)
	}
	return Run(context.Background(), o)
}

// later runs a feed for a second and then does something else.
func later(feed func(context.Context, *fleet.Store) error, then func() error) func(context.Context, *fleet.Store) error {
	return func(ctx context.Context, s *fleet.Store) error {
		while, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = feed(while, s)
		return then()
	}
}

// beating is a feed that writes to pulse as long as the store takes what it is given.
func beating(feed func(context.Context, *fleet.Store) error, pulse *os.File) func(context.Context, *fleet.Store) error {
	return func(ctx context.Context, s *fleet.Store) error {
		go func() {
			for ctx.Err() == nil {
				s.Apply(nil)
				_, _ = pulse.WriteString(".")
				time.Sleep(20 * time.Millisecond)
			}
		}()
		return feed(ctx, s)
	}
}
