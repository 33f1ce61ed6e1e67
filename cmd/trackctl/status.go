package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/tui/page"
	"tracker/pkg/tui/tty"
)

// statusFlags are what the status is told.
type statusFlags struct {
	json, watch, plain bool
	over, length       time.Duration
	cmd                *cobra.Command
}

func (a *app) statusCommand() *cobra.Command {
	var s statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How the server is: rates, what was dropped and why, what is stored",
		Long: `Shows how the server is. It asks twice, --over apart, to tell rates; with --over 0 it
asks once. The JSON is the server's own answer with "rates" beside it.

With --watch it goes on asking, --over apart, and shows rates, drops by reason, queues, slow
watchers, storage and alarms on one screen, with the last sixty samples of each; q quits.
Where there is no terminal, and with --plain, it tells in sentences: at once when something
is wrong or well again, else every ten seconds; with --over, after each answer. With --json
each answer is an object on a line of its own, with "time", or with "error" where none came.`,
		Example: `  trackctl status
  trackctl status --watch
  trackctl status --json --over 0 | jq .ingest
  trackctl status --watch --json --for 1m | jq '.rates["ingest.ok"]'`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			if !s.watch {
				return a.status(ctx, s.over, s.json)
			}
			return limited(ctx, s.length, func(ctx context.Context) error { return a.watchStatus(ctx, &s) })
		}),
	}
	s.cmd = cmd
	f := cmd.Flags()
	f.DurationVar(&s.over, "over", time.Second, "`time` over which rates are taken")
	f.BoolVar(&s.json, "json", false, "print JSON")
	f.BoolVar(&s.watch, "watch", false, "go on until q or Ctrl-C")
	f.BoolVar(&s.plain, "plain", false, "with --watch: plain sentences, for logs and screen readers")
	f.DurationVar(&s.length, "for", 0, "with --watch: stop after this `time`")
	return cmd
}

// sentenceEvery leaves a voice alone that has nothing new to say.
const sentenceEvery = 10 * time.Second

// leastOver is how often a server may be asked at most.
const leastOver = 100 * time.Millisecond

func (s *statusFlags) check() error {
	switch {
	case s.over < 0:
		return usagef("--over %v is less than nothing", s.over)
	case s.length < 0:
		return usagef("--for %v is less than nothing", s.length)
	case !s.watch && (s.plain || s.length > 0):
		return usagef("--plain and --for want --watch")
	case s.watch && s.over < leastOver:
		return usagef("--over %v is too often to ask: want %v or more", s.over, leastOver)
	case s.json && s.plain:
		return usagef("--json and --plain exclude each other")
	}
	return nil
}

// watchStatus asks how the server is until ctx is done or somebody has seen enough.
func (a *app) watchStatus(ctx context.Context, s *statusFlags) error {
	conn, err := a.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	// Before the terminal is taken: a wrong address or token is told in a sentence.
	now, err := conn.Status(ctx)
	if err != nil {
		return err
	}
	readersMayLeave()
	board := page.NewBoard(conn.Server(), load.Drops)
	board.Take(&now, time.Now())
	return errors.Join(left(a.showBoard(ctx, conn, board, s)), ctx.Err())
}

// showBoard shows a board in the way that was asked for, or that is possible.
func (a *app) showBoard(ctx context.Context, conn *client.Conn, board *page.Board, s *statusFlags) error {
	in, _ := a.in.(*os.File)
	out, isFile := a.out.(*os.File)
	environ := os.Environ()
	switch {
	case s.json:
		line := json.NewEncoder(a.out)
		line.SetEscapeHTML(false)
		return board.Poll(ctx, conn.Status, s.over, func() error { return line.Encode(board.Report(time.Now())) })
	case s.plain || !isFile || !tty.Interactive(environ, in, out):
		speaker := page.Speaker{Every: sentenceEvery}
		if s.cmd.Flags().Changed("over") {
			speaker.Every = 0
		}
		return board.Poll(ctx, conn.Status, s.over, func() error {
			line := speaker.Say(board, time.Now())
			if line == "" {
				return nil
			}
			_, err := fmt.Fprintln(a.out, line)
			return err
		})
	}
	p := page.NewStatus(board, page.NewFace(tty.Profile(out, environ), environ))
	return a.runScreen(ctx, out, environ, p, func(ctx context.Context) error {
		return board.Poll(ctx, conn.Status, s.over, nil)
	})
}

// statusReport is a status with the rates that two of them tell.
type statusReport struct {
	client.Status
	Rates map[string]float64 `json:"rates,omitempty"`
}

func (a *app) status(ctx context.Context, over time.Duration, asJSON bool) error {
	conn, err := a.connect()
	if err != nil {
		return err
	}
	before, asked := client.Status{}, time.Now()
	if over > 0 {
		if before, err = conn.Status(ctx); err != nil {
			return err
		}
		if err := pause(ctx, over); err != nil {
			return err
		}
	}
	now, err := conn.Status(ctx)
	if err != nil {
		return err
	}
	r := statusReport{Status: now}
	if over > 0 {
		r.Rates = page.Rates(&before, &now, time.Since(asked))
	}
	if asJSON {
		return a.printJSON(r)
	}
	return printStatus(a.out, conn.Server(), &r)
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func printStatus(out io.Writer, server string, r *statusReport) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	up := time.Duration(r.Uptime * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(w, "server\t%s, version %s, up %v\n", server, r.Version, up)
	fmt.Fprintf(w, "devices\t%d enrolled, %d with a fix\n", r.Devices, r.Live)
	fmt.Fprintf(w, "taken\t%d datagrams%s\n", r.Ingest["ok"], perSecond(r.Rates, "ingest.ok"))
	for _, d := range load.Drops {
		if n := r.Ingest[d]; n > 0 {
			fmt.Fprintf(w, "dropped\t%d %s%s\n", n, d, perSecond(r.Rates, "ingest."+d))
		}
	}
	fmt.Fprintf(w, "store\t%s, %d fixes stored%s, %d waiting, %d lost\n", storeState(&r.Store),
		r.Store.Stored, perSecond(r.Rates, "store.stored"), r.Store.Pending, r.Store.Lost)
	fmt.Fprintf(w, "watchers\t%d, %d fixes out%s, %d skipped\n",
		r.Hub["viewers"], r.Hub["fixes_out"], perSecond(r.Rates, "hub.fixes_out"), r.Hub["skipped"])
	fmt.Fprintf(w, "probe\t%s\n", probeState(r.Probe))
	for _, al := range r.Alarms {
		fmt.Fprintf(w, "alarm\t%s device %v epoch %d at %s\n", al.Kind, al.Device, al.Epoch, stamp(al.Time))
	}
	return w.Flush()
}

func perSecond(rates map[string]float64, name string) string {
	if rates == nil {
		return ""
	}
	return fmt.Sprintf(" (%.0f/s)", rates[name])
}

func storeState(s *client.StoreStatus) string {
	if s.Reason != "" {
		return s.State + " (" + s.Reason + ")"
	}
	return s.State
}

func probeState(p client.Probe) string {
	if !p.OK {
		return "FAILED: a fix no longer makes its way through the server"
	}
	return fmt.Sprintf("ok, %d ms ago", p.Age)
}
