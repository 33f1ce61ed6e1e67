package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
)

func (b *bench) envCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "env",
		Short:   "Show this machine's fingerprint and the warnings it implies",
		Example: "  trackbench env\n  trackbench env --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b.ran = true
			before := load.ReadVitals()
			overshoot := load.TimerOvershoot()
			e := load.Describe(before, load.ReadVitals())
			v := load.Verdict{Validity: load.Valid, Warnings: []load.Warning{}}
			v.Judge(load.Evidence{Env: e, TimerOvershoot: overshoot})
			if asJSON {
				return b.printJSON(struct {
					Env      load.Env       `json:"env"`
					Timer    int64          `json:"timer_overshoot_p99_ns"`
					Warnings []load.Warning `json:"warnings"`
				}{e, int64(overshoot), v.Warnings})
			}
			return b.printEnv(&e, int64(overshoot), v.Warnings)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (b *bench) printJSON(v any) error {
	e := json.NewEncoder(b.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (b *bench) printEnv(e *load.Env, overshoot int64, warnings []load.Warning) error {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name  string
		value any
	}{
		{"fingerprint", e.Fingerprint}, {"system", e.OS}, {"kernel", e.Kernel}, {"cpu", e.CPU}, {"cores", e.Cores},
		{"gomaxprocs", e.GoMaxProcs}, {"cgroup cpu.max", e.CgroupMax}, {"virtual", e.Virt}, {"clock source", e.Clocksource},
		{"tcp congestion", e.TCPCC}, {"rmem_max", show(e.RmemMax)}, {"open files", show(e.Nofile)},
		{"cpu pressure, last minute", show(e.PSI)}, {"timer overshoot p99", fmt.Sprintf("%d us", overshoot/1000)},
	} {
		if s := fmt.Sprint(row.value); s != "" {
			fmt.Fprintf(w, "%s\t%s\n", row.name, s)
		}
	}
	for _, x := range warnings {
		fmt.Fprintf(w, "%s\t%s\n", x.ID, x.Text)
	}
	return w.Flush()
}

// show prints what a pointer points to, nothing for nil.
func show[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
