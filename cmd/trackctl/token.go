package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke bearer tokens",
		Example: `  trackctl token create wallboard --role viewer --ttl 720h
  trackctl token list`,
	}
	cmd.AddCommand(a.tokenCreate(), a.tokenList(), a.tokenRevoke())
	return group(cmd)
}

// roles are those of tokens, the least first.
var roles = []string{"member", "viewer", "admin"}

func (a *app) tokenCreate() *cobra.Command {
	var role string
	var ttl time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token; it is shown this once",
		Long: `Prints the new token, alone on standard output. The server keeps only its hash, so it
is shown this once. A member may watch the maps that it is granted, a viewer everything; an
admin may also enrol, revoke and make tokens.`,
		Example: `  trackctl token create wallboard --role viewer --ttl 720h
  trackctl token create anna --role member`,
		Args: wants("NAME"),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			if !slices.Contains(roles, role) {
				return usagef("--role %q: want member, viewer or admin", role)
			}
			if ttl < 0 {
				return usagef("--ttl %v is less than nothing", ttl)
			}
			conn, err := a.connect()
			if err != nil {
				return err
			}
			t, secret, err := conn.CreateToken(ctx, args[0], role, ttl)
			if err != nil {
				return err
			}
			a.notef("token %s %q of the role %s%s", t.ID, t.Name, t.Role, until(t.Expires))
			return a.done(asJSON, struct {
				client.Token
				Secret string `json:"token"`
			}{t, secret}, "%s", secret)
		}),
	}
	cmd.Flags().StringVar(&role, "role", "viewer", "member, viewer or admin")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it lives, such as 720h; 0 is until revoked")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) tokenList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens, never their secrets",
		Example: "  trackctl token list",
		Args:    cobra.NoArgs,
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, _ []string) error {
			list, err := conn.Tokens(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(struct {
					Tokens []client.Token `json:"tokens"`
				}{list})
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tROLE\tCREATED\tEXPIRES")
			for _, t := range list {
				expires := "never"
				if !t.Expires.IsZero() {
					expires = stamp(t.Expires)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, stamp(t.Created), expires)
			}
			return w.Flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a token and the connections that it opened",
		Example: "  trackctl token revoke 0123456789abcdef",
		Args:    wants("ID"),
		RunE: a.asking(func(ctx context.Context, conn *client.Conn, args []string) error {
			if err := a.confirm(ctx, yes, "revoke the token %s?", args[0]); err != nil {
				return err
			}
			if err := conn.RevokeToken(ctx, args[0]); err != nil {
				return about("token", args[0], err)
			}
			return a.done(asJSON, map[string]string{"revoked": args[0]}, "token %s is revoked", args[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
