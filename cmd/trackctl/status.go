package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How the server is: rates, what was dropped and why, what is stored",
		Long: `Shows how the server is. It asks twice, --over apart, to tell rates; with --over 0 it
asks once. The JSON is the server's own answer with "rates" beside it.`,
		Example: `  trackctl status
  trackctl status --json --over 0 | jq .ingest`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if every < 0 {
				return usagef("--over %v is less than nothing", every)
			}
			return a.status(ctx, every, asJSON)
		}),
	}
	cmd.Flags().DurationVar(&every, "over", time.Second, "`time` over which rates are taken")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
		r.Rates = rates(&before, &now, time.Since(asked))
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

// rates are the counters' growth a second. A server that started anew in between has
// none.
func rates(before, now *client.Status, took time.Duration) map[string]float64 {
	if now.Uptime < before.Uptime {
		return nil
	}
	out := map[string]float64{}
	add := func(name string, was, is uint64) {
		if is >= was {
			out[name] = float64(is-was) / took.Seconds()
		}
	}
	for name, n := range now.Ingest {
		add("ingest."+name, before.Ingest[name], n)
	}
	add("store.stored", before.Store.Stored, now.Store.Stored)
	add("hub.fixes_out", before.Hub["fixes_out"], now.Hub["fixes_out"])
	return out
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
