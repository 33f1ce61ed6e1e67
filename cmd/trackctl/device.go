package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
)

func (a *app) deviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Enrol, list, show, rename, revoke and rotate devices",
		Example: `  trackctl device enroll van-1
  trackctl device list
  trackctl device revoke van-1`,
	}
	cmd.AddCommand(a.deviceEnroll(), a.deviceList(), a.deviceShow(), a.deviceRename(),
		a.deviceRevoke(), a.deviceRotate(), a.deviceResetFloor())
	return group(cmd)
}

func (a *app) deviceList() *cobra.Command {
	var asJSON bool
	var match string
	var only filterFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the devices and when each was last heard of",
		Example: `  trackctl device list --match van
  trackctl device list --filter 'status:active age>1d'`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			means, err := only.enrolled()
			if err != nil {
				return err
			}
			conn, err := a.connect()
			if err != nil {
				return err
			}
			defer conn.Close()
			list := chosen(conn.Devices(ctx, match), means)
			if asJSON {
				return a.listJSON(list)
			}
			return a.listText(list)
		}),
	}
	cmd.Flags().StringVar(&match, "match", "", "only devices whose name contains `text`")
	only.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// chosen yields those of a list that are meant, and what went wrong.
func chosen(list iter.Seq2[client.Device, error], means func(*client.Device) bool) iter.Seq2[client.Device, error] {
	return func(yield func(client.Device, error) bool) {
		for d, err := range list {
			if (err != nil || means(&d)) && !yield(d, err) {
				return
			}
		}
	}
}

func (a *app) listJSON(devices iter.Seq2[client.Device, error]) error {
	list := []client.Device{}
	for d, err := range devices {
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	return a.printJSON(struct {
		Devices []client.Device `json:"devices"`
	}{list})
}

func (a *app) listText(devices iter.Seq2[client.Device, error]) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTATE\tLAST FIX\tAT\tALARMS")
	for d, err := range devices {
		if err != nil {
			return err
		}
		when, where := lastFix(&d)
		fmt.Fprintf(w, "%v\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Name, d.State, when, where, strings.Join(d.Alarms, ","))
	}
	return w.Flush()
}

func lastFix(d *client.Device) (when, where string) {
	if d.Last == nil {
		return "never", ""
	}
	if d.Last.HasPos() {
		where = d.Last.At.String()
	}
	return ago(d.Last.Time, time.Now()), where
}

func (a *app) deviceShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show DEVICE",
		Short:   "Show a device, its keys and its alarms",
		Example: "  trackctl device show van-1",
		Args:    wants("DEVICE"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			d, err := conn.Device(ctx, args[0])
			if err != nil {
				return about("device", args[0], err)
			}
			if asJSON {
				return a.printJSON(d)
			}
			return a.showDevice(&d)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// about names the thing that a server's answer is about, unless the answer does.
func about(kind, ref string, err error) error {
	var answer *client.Error
	if !errors.As(err, &answer) || strings.Contains(err.Error(), ref) {
		return err
	}
	return fmt.Errorf("%s %q: %w", kind, ref, err)
}

func (a *app) showDevice(d *client.Device) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	when, where := lastFix(d)
	fmt.Fprintf(w, "device\t%v\n", d.ID)
	fmt.Fprintf(w, "name\t%s\n", d.Name)
	fmt.Fprintf(w, "state\t%s\n", d.State)
	fmt.Fprintf(w, "created\t%s\n", stamp(d.Created))
	if !d.Revoked.IsZero() {
		fmt.Fprintf(w, "revoked\t%s\n", stamp(d.Revoked))
	}
	fmt.Fprintf(w, "last fix\t%s %s\n", when, where)
	for _, alarm := range d.Alarms {
		fmt.Fprintf(w, "alarm\t%s\n", alarm)
	}
	for _, c := range d.Credentials {
		fmt.Fprintf(w, "key\t%v suite %d%s, since %s%s\n", c.ID, c.Suite, flagWords(c.Flags), stamp(c.Created), until(c.Expires))
	}
	return w.Flush()
}

func flagWords(flags string) string {
	if flags == "" {
		return ""
	}
	return " flags " + flags
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", good until " + stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func (a *app) deviceRename() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "rename DEVICE NAME",
		Short:   "Give a device another name",
		Example: "  trackctl device rename van-1 van-north",
		Args:    wants("DEVICE", "NAME"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			d, err := conn.Rename(ctx, args[0], args[1])
			if err != nil {
				return about("device", args[0], err)
			}
			return a.done(asJSON, d, "%v is %s now", d.ID, d.Name)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// done prints the outcome of a command: the data as JSON, or one line.
func (a *app) done(asJSON bool, data any, format string, args ...any) error {
	if asJSON {
		return a.printJSON(data)
	}
	_, err := fmt.Fprintf(a.out, format+"\n", args...)
	return err
}

func (a *app) deviceRevoke() *cobra.Command {
	var asJSON, yes bool
	cmd := &cobra.Command{
		Use:     "revoke DEVICE",
		Short:   "End a device: its keys are gone, its history stays",
		Example: "  trackctl device revoke van-1",
		Args:    wants("DEVICE"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			d, err := conn.Device(ctx, args[0])
			if err != nil {
				return about("device", args[0], err)
			}
			if err := a.confirm(ctx, yes, "revoke %s (%v)? its keys end, its history stays", d.Name, d.ID); err != nil {
				return err
			}
			if err := conn.Revoke(ctx, d.ID.String()); err != nil {
				return about("device", args[0], err)
			}
			return a.done(asJSON, map[string]string{"revoked": d.ID.String()}, "%s (%v) is revoked", d.Name, d.ID)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks before something is destroyed. Without a terminal nobody can answer,
// so then only --yes will do.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	if _, ok := isTerminal(a.in); !ok {
		return hint(usagef("nobody is there to ask: "+format, args...), "add --yes")
	}
	fmt.Fprintf(a.err, format+" [y/N] ", args...)
	answer := make(chan string, 1)
	go func() { // ends with the process if nobody answers: a read cannot be cancelled
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		if s := strings.ToLower(strings.TrimSpace(line)); s == "y" || s == "yes" {
			return nil
		}
		return fmt.Errorf("nothing was done")
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return ctx.Err()
	}
}

func (a *app) deviceResetFloor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reset-floor DEVICE",
		Short: "Recover a device whose clock once ran ahead",
		Long: `A device numbers its sessions by its clock. One that once believed to be in the future
is refused when its clock is right again; this forgets the session of the future.`,
		Example: "  trackctl device reset-floor van-1",
		Args:    wants("DEVICE"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			d, err := conn.ResetFloor(ctx, args[0])
			if err != nil {
				return about("device", args[0], err)
			}
			return a.done(asJSON, d, "%s (%v) may begin a session by its present clock", d.Name, d.ID)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
