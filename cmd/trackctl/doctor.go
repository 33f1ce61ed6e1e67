package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"tracker/pkg/tui/tty"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find out why something does not look as it should",
		Example: "  trackctl doctor tty",
	}
	cmd.AddCommand(a.doctorTTY())
	return group(cmd)
}

func (a *app) doctorTTY() *cobra.Command {
	return &cobra.Command{
		Use:   "tty",
		Short: "Show a test card of this terminal",
		Long: `Shows what was found out about the terminal, what the map would choose and why, glyphs,
colours and themes to look at, and what to set if they do not look right. It asks the
terminal how wide it draws signs; it takes neither the screen nor the keyboard, and needs
no server. Where there is no terminal it tells what was found out and no more.`,
		Example: `  trackctl doctor tty
  trackctl doctor tty > card.txt`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error {
			in, _ := a.in.(*os.File)
			return tty.Card(a.out, tty.Config{In: in})
		}),
	}
}
