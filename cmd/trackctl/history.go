package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

func (a *app) historyCommand() *cobra.Command {
	var from, to, format string
	var limit int
	var heartbeats bool
	cmd := &cobra.Command{
		Use:   "history DEVICE",
		Short: "Where a device was",
		Long: `Writes the fixes of one device, oldest first, from --from until before --to. Both take
RFC 3339 (2026-01-02T15:04:05Z), a date (its midnight, UTC), or a time relative to now
(-2h, -3d).`,
		Example: `  trackctl history van-1 --from -2h
  trackctl history van-1 --from 2026-01-02 --to 2026-01-03 --format gpx > van-1.gpx`,
		Args: wants("DEVICE"),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			q := client.HistoryQuery{Device: args[0], Limit: limit, Heartbeats: heartbeats}
			var err error
			if q.From, err = parseWhen("--from", from, time.Now()); err != nil {
				return err
			}
			if q.To, err = parseWhen("--to", to, time.Now()); err != nil {
				return err
			}
			if limit < 0 {
				return usagef("--limit %d is less than nothing", limit)
			}
			return a.history(ctx, q, format)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "first `time` (default: the beginning)")
	f.StringVar(&to, "to", "", "`time` to stop before (default: now)")
	f.StringVar(&format, "format", "text", "text, "+strings.Join(client.Formats, ", "))
	f.IntVar(&limit, "limit", 0, "at most `N` fixes, 0 is all")
	f.BoolVar(&heartbeats, "heartbeats", false, "also reports without a place")
	return cmd
}

func (a *app) history(ctx context.Context, q client.HistoryQuery, format string) error {
	w, err := newWriter(a.out, format)
	if err != nil {
		return err
	}
	conn, err := a.connect()
	if err != nil {
		return err
	}
	for f, err := range conn.History(ctx, q) {
		if err != nil {
			return about("device", q.Device, err)
		}
		if err := w.Write(&f); err != nil {
			return err
		}
	}
	return w.Close()
}

// newWriter makes a writer of fixes; text is ours, the rest are file formats.
func newWriter(w io.Writer, format string) (client.Writer, error) {
	if format == "text" {
		return textWriter{w}, nil
	}
	if !slices.Contains(client.Formats, format) {
		return nil, usagef("--format %q: want text, %s", format, strings.Join(client.Formats, ", "))
	}
	return client.NewWriter(w, format)
}

// textWriter writes fixes for people, one a line.
type textWriter struct{ w io.Writer }

func (t textWriter) Write(f *client.Fix) error {
	_, err := fmt.Fprintln(t.w, fixLine(f))
	return err
}

func (t textWriter) Close() error { return nil }

// fixLine is a fix in words: when, who, where, and what else is known.
func fixLine(f *client.Fix) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-12s", f.Time.UTC().Format("2006-01-02 15:04:05Z"), first(f.Name, f.Device.String()))
	if f.HasPos() {
		fmt.Fprintf(&b, "  %9.5f,%10.5f", f.At.LatDeg(), f.At.LonDeg())
	} else {
		b.WriteString("  no place")
	}
	if f.Has&track.HasVel != 0 {
		fmt.Fprintf(&b, "  %.0f km/h %03.0f°", f.Speed*3.6, f.Course)
	}
	if f.Has&track.HasAlt != 0 {
		fmt.Fprintf(&b, "  %d m", f.Alt)
	}
	if f.Has&track.HasAcc != 0 {
		fmt.Fprintf(&b, "  ±%.0f m", float64(f.Accuracy))
	}
	if f.Has&track.HasBat != 0 {
		fmt.Fprintf(&b, "  battery %d%%", f.Battery)
	}
	if f.Event != "" {
		b.WriteString("  " + f.Event)
	}
	for _, note := range []struct {
		is   bool
		word string
	}{{f.Late, "late"}, {f.Suspect, "suspect"}, {f.Jump, "jump"}} {
		if note.is {
			b.WriteString("  " + note.word)
		}
	}
	return b.String()
}

// parseWhen reads a moment: RFC 3339, a date, now, or relative to now.
func parseWhen(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if s == "now" {
		return now, nil
	}
	if s[0] == '-' || s[0] == '+' {
		if d, err := parseSpan(s); err == nil {
			return now.Add(d), nil
		}
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%s %q is no time: want 2026-01-02T15:04:05Z, 2026-01-02, or -2h", flag, s)
}

// parseSpan is time.ParseDuration with days.
func parseSpan(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseFloat(n, 64)
		if err == nil && days > -36500 && days < 36500 {
			return time.Duration(days * 24 * float64(time.Hour)), nil
		}
	}
	return time.ParseDuration(s)
}
