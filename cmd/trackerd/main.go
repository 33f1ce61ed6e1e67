// Command trackerd is the server: encrypted datagrams from devices in, positions to
// everyone who may see them out.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tracker/pkg/fault"
)

// Exit codes, the same in all three programs.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const exitCodes = `0    stopped as asked
1    failed
2    wrong usage or settings
`

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

// usageError is a mistake in what was typed or set, not in what happened.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return exitDone
	}
	message, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	for line := range strings.Lines(message) {
		fmt.Fprintf(os.Stderr, "trackerd: %s\n", strings.TrimRight(line, "\n"))
	}
	if hint != "" {
		fmt.Fprintf(os.Stderr, "trackerd: hint: %s\n", hint)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "trackerd",
		Short: "realtime tracking server",
		Example: `  trackerd serve --data ./data
  trackerd serve --data /var/lib/tracker --listen :4810 --advertise track.example.org:4810`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q\nhint: trackerd help lists them", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nhint: %s --help shows what there is", err, cmd.CommandPath())}
	})
	root.AddCommand(serveCommand(), configCommand(), tokenCommand(), &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "trackerd", version+fault.Suffix)
			return err
		},
	}, &cobra.Command{
		Use:   "exit-codes",
		Short: "what the exit codes mean",
		Long:  exitCodes,
	})
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, got %q\nhint: %s --help shows an example", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}
