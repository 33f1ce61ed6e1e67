package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/geo"
)

func (a *app) nearCommand() *cobra.Command {
	var within string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "near LAT,LON",
		Short: "Who is near a place, nearest first",
		Example: `  trackctl near 48.137,11.575 --within 5km
  trackctl near -33.87,151.21 --limit 3 --json`,
		Long: `Lists the devices whose latest place is within a distance, nearest first.`,
		Args: wants("LAT,LON"),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			at, err := geo.ParsePoint(args[0])
			if err != nil {
				return &usageError{err}
			}
			d, err := parseDistance(within)
			if err != nil {
				return err
			}
			if limit < 1 {
				return usagef("--limit %d: want at least 1", limit)
			}
			return a.near(ctx, at, d, limit, asJSON)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&within, "within", "5km", "`distance`: 500m, 5km, 2.5mi, 3nmi")
	f.IntVar(&limit, "limit", 20, "at most `N` devices")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// southern is a place that begins with a minus.
var southern = regexp.MustCompile(`^-[0-9][0-9.]*,[-+0-9.]+$`)

// placeLast moves the place of a near command behind a --, so that one on the
// southern half of the globe is not taken for a flag.
func placeLast(args []string) []string {
	i := slices.IndexFunc(args, southern.MatchString)
	if i < 0 || !slices.Contains(args[:i], "near") || slices.Contains(args[:i], "--") {
		return args
	}
	return append(slices.Delete(slices.Clone(args), i, i+1), "--", args[i])
}

func (a *app) near(ctx context.Context, at geo.Point, within geo.Meters, limit int, asJSON bool) error {
	conn, err := a.connect()
	if err != nil {
		return err
	}
	hits, err := conn.Near(ctx, at, within, limit)
	if err != nil {
		return err
	}
	if asJSON {
		if hits == nil {
			hits = []client.Hit{}
		}
		return a.printJSON(struct {
			Hits []client.Hit `json:"hits"`
		}{hits})
	}
	if len(hits) == 0 {
		a.notef("nobody is within %s of %v", distance(within), at)
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DISTANCE\tBEARING\tNAME\tAT\tLAST FIX")
	for _, h := range hits {
		fmt.Fprintf(w, "%s\t%03.0f°\t%s\t%v\t%s\n", distance(h.Distance), h.Bearing,
			first(h.Fix.Name, h.Fix.Device.String()), h.Fix.At, ago(h.Fix.Time, time.Now()))
	}
	return w.Flush()
}

// distance is a length with three digits.
func distance(m geo.Meters) string {
	switch {
	case m < 1000:
		return fmt.Sprintf("%.0f m", float64(m))
	case m < 100_000:
		return fmt.Sprintf("%.1f km", float64(m)/1000)
	}
	return fmt.Sprintf("%.0f km", float64(m)/1000)
}

// lengths are the units of a distance, longer names before those they end in.
var lengths = []struct {
	unit   string
	meters float64
}{{"nmi", 1852}, {"km", 1000}, {"mi", 1609.344}, {"m", 1}}

func parseDistance(s string) (geo.Meters, error) {
	for _, l := range lengths {
		num, ok := strings.CutSuffix(s, l.unit)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !(v > 0) || v*l.meters > 2.1e7 {
			break
		}
		return geo.Meters(v * l.meters), nil
	}
	return 0, usagef("--within %q is no distance: want 500m, 5km, 2.5mi or 3nmi", s)
}
