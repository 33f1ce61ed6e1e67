package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
)

func (a *app) mapsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maps",
		Short: "Create and delete shared maps, put devices on them, grant them",
		Example: `  trackctl maps create harbour
  trackctl maps join harbour van-1 van-2
  trackctl maps grant harbour 0123456789abcdef`,
		Long: `A map is some devices that are watched together. Admins and viewers see every map; the
token of a member sees those that it was granted, and nothing else.`,
	}
	cmd.AddCommand(a.mapsCreate(), a.mapsList(), a.mapsShow(), a.mapsDelete(), a.mapsJoin(), a.mapsPart(), a.mapsGrant(), a.mapsUngrant())
	return group(cmd)
}

func (a *app) mapsCreate() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create an empty map",
		Example: "  trackctl maps create harbour",
		Args:    wants("NAME"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			m, err := conn.CreateMap(ctx, args[0])
			if err != nil {
				return err
			}
			return a.done(asJSON, m, "map %s (%v) is made", m.Name, m.ID)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) mapsList() *cobra.Command {
	var asJSON bool
	var match string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the maps that the token sees",
		Example: "  trackctl maps list --match harbour",
		Args:    cobra.NoArgs,
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, _ []string) error {
			list := []client.Map{}
			for m, err := range conn.Maps(ctx, match) {
				if err != nil {
					return err
				}
				list = append(list, m)
			}
			if asJSON {
				return a.printJSON(struct {
					Maps []client.Map `json:"maps"`
				}{list})
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tDEVICES\tCREATED")
			for _, m := range list {
				fmt.Fprintf(w, "%v\t%s\t%d\t%s\n", m.ID, m.Name, m.Members, stamp(m.Created))
			}
			return w.Flush()
		}),
	}
	cmd.Flags().StringVar(&match, "match", "", "only maps whose name contains `text`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) mapsShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show MAP",
		Short:   "Show a map, by name or id: its devices, and for admins who may see it",
		Example: "  trackctl maps show harbour",
		Args:    wants("MAP"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			d, err := conn.ShowMap(ctx, args[0])
			if err != nil {
				return aboutMap(args[0], err)
			}
			if asJSON {
				return a.printJSON(d)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "map\t%v\nname\t%s\ncreated\t%s\n", d.ID, d.Name, stamp(d.Created))
			for _, m := range d.Devices {
				fmt.Fprintf(w, "device\t%v\t%s\n", m.ID, m.Name)
			}
			for _, t := range d.Viewers {
				fmt.Fprintf(w, "viewer\t%s\t%s\n", t.ID, t.Name)
			}
			return w.Flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) mapsDelete() *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:     "delete MAP",
		Short:   "Delete a map and end the watches of it; its devices stay",
		Example: "  trackctl maps delete harbour",
		Args:    wants("MAP"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			if err := a.confirm(ctx, yes, "delete the map %s?", args[0]); err != nil {
				return err
			}
			if err := conn.DeleteMap(ctx, args[0]); err != nil {
				return aboutMap(args[0], err)
			}
			return a.done(asJSON, map[string]string{"deleted": args[0]}, "map %s is deleted", args[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) mapsJoin() *cobra.Command {
	return a.mapsMembers("join MAP DEVICE...", "Put devices on a map", `  trackctl maps join harbour van-1 van-2
  trackctl maps join harbour --from fleet.txt`, "joined", (*client.Conn).JoinMap)
}

func (a *app) mapsPart() *cobra.Command {
	return a.mapsMembers("part MAP DEVICE...", "Take devices off a map", "  trackctl maps part harbour van-1", "left", (*client.Conn).PartMap)
}

// changeMap is what both of them do.
type changeMap func(c *client.Conn, ctx context.Context, ref string, devices ...string) (client.Map, error)

func (a *app) mapsMembers(use, short, example, did string, change changeMap) *cobra.Command {
	var asJSON bool
	var from string
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    short + ", by name or id, 10,000 at a time and these all or none.",
		Example: example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) < 2 && from == "" {
				return fmt.Errorf("%s wants MAP and DEVICE, or --from", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			devices, err := a.named(args[1:], from)
			if err != nil {
				return err
			}
			var m client.Map
			for some := range slices.Chunk(devices, client.MaxBatch) {
				if m, err = change(conn, ctx, args[0], some...); err != nil {
					return aboutMap(args[0], err)
				}
			}
			return a.done(asJSON, m, "%d devices %s; %d are on the map %s", len(devices), did, m.Members, m.Name)
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "read devices from this `file` too, one a line; - is standard input")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// named is the devices of arguments and of a file.
func (a *app) named(args []string, from string) ([]string, error) {
	if from == "" {
		return args, nil
	}
	in := a.in
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	devices := slices.Clone(args)
	lines := bufio.NewScanner(io.Reader(in))
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			devices = append(devices, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}
	if len(devices) == 0 {
		return nil, usagef("--from %s: there is no device in it", from)
	}
	return devices, nil
}

func (a *app) mapsGrant() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "grant MAP TOKEN",
		Short: "Let the token of a member see a map",
		Long: `TOKEN is the id of a token of the role member, not the token itself: trackctl token list
shows it. Viewers and admins see every map without being granted it.`,
		Example: `  trackctl token create anna --role member
  trackctl maps grant harbour 0123456789abcdef`,
		Args: wants("MAP", "TOKEN"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			if err := conn.GrantMap(ctx, args[0], args[1]); err != nil {
				return aboutMap(args[0], err)
			}
			return a.done(asJSON, map[string]string{"granted": args[0], "token": args[1]}, "token %s sees the map %s", args[1], args[0])
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) mapsUngrant() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ungrant MAP TOKEN",
		Short:   "End a grant, and the watches that rest on it",
		Example: "  trackctl maps ungrant harbour 0123456789abcdef",
		Args:    wants("MAP", "TOKEN"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			if err := conn.RevokeMapViewer(ctx, args[0], args[1]); err != nil {
				return aboutMap(args[0], err)
			}
			return a.done(asJSON, map[string]string{"ungranted": args[0], "token": args[1]}, "token %s does not see the map %s any more", args[1], args[0])
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// aboutMap names the map, and the next step for one that is not there.
func aboutMap(ref string, err error) error {
	err = about("map", ref, err)
	var answer *client.Error
	if errors.As(err, &answer) && answer.Code == "not_found" && strings.Contains(answer.Message, "map ") {
		return hint(err, "trackctl maps list shows what there is")
	}
	return err
}
