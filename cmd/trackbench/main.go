// Trackbench is the measuring instrument: it puts load on a tracker server and says
// what came of it, and whether that may be quoted.
//
// main.go has the command tree and how commands fail, one more file stands for each
// measurement. What measures is pkg/load.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

func main() { os.Exit(run()) }

// run is main with an exit code; the first signal ends the measurement in good order,
// the second at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	b := &bench{out: os.Stdout, err: os.Stderr}
	return b.main(ctx, os.Args[1:])
}

// The exit codes, all of them.
const (
	exitDone        = 0
	exitThreshold   = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitUnreachable = 4
	exitIncorrect   = 5
	exitInternal    = 70
	exitInterrupted = 130
)

var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitDone, "the run is valid, thresholds are met"},
	{exitThreshold, "a threshold or a bar was missed; a gate found a regression, or a metric is missing"},
	{exitUsage, "wrong usage or configuration; also two binaries that were not built alike, a target that is not this machine without --i-own-this-target, and too few open files or ports"},
	{exitInvalid, "the measurement is invalid, or suspect with --strict; a gate is not decided"},
	{exitUnreachable, "the target could not be reached, died, refuses the token, or is no trackerd"},
	{exitIncorrect, "the target is not correct: something was lost, duplicated, reordered, skipped or wrong beyond what was allowed"},
	{exitInternal, "internal error: the figures do not add up, and none is printed"},
	{exitInterrupted, "interrupted; partial results were written and are marked so"},
}

func exitCodesText() string {
	var b strings.Builder
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "%4d  %s\n", c.code, c.meaning)
	}
	return b.String()
}

// failure is an error with the exit code that it deserves.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code int, hint, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...), hint}
}

// bench is one run of the program.
type bench struct {
	out, err io.Writer
	args     []string // of the command line
	ran      bool     // a command began; before that, whatever fails is a mistake of usage
}

func (b *bench) main(ctx context.Context, args []string) int {
	root := b.command()
	b.args = args
	root.SetArgs(args)
	at, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case !b.ran:
		err = fail(exitUsage, "see "+at.CommandPath()+" --help", "%w", err)
	}
	return b.report(err)
}

func (b *bench) report(err error) int {
	code, hint := classify(err)
	if code != exitInterrupted {
		fmt.Fprintf(b.err, "trackbench: %s\n", err)
	}
	if hint != "" {
		fmt.Fprintf(b.err, "trackbench: hint: %s\n", hint)
	}
	return code
}

func classify(err error) (code int, hint string) {
	var own *failure
	var answer *client.Error
	switch {
	case errors.As(err, &own):
		return own.code, own.hint
	case errors.Is(err, context.Canceled):
		return exitInterrupted, ""
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrUntrusted):
		return exitUnreachable, "is trackerd running there? try --server"
	case errors.Is(err, track.ErrDenied):
		return exitUnreachable, tokenHint
	case errors.As(err, &answer):
		return exitUnreachable, answer.Hint
	}
	return exitIncorrect, ""
}

const tokenHint = "pass an admin token by --token, --token-file or TRACK_TOKEN; the first start of trackerd writes admin.token in its data directory"

// commit is that of the program's source, if the build knows it.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}

func (b *bench) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "trackbench",
		Short: "Measure a tracker server, and say whether the figures can be quoted",
		Long: `Trackbench puts load on a tracker server and measures what comes of it. Latency counts
from the moment a send was due, so a stall shows in everything that waited behind it.
Every result says whether it may be quoted: VALID, SUSPECT or INVALID, and why.

While it runs in a terminal, q ends a run in good order and keeps what was measured, and
the space bar marks the moment in the result. TRACKBENCH_NAME stands for a flag that is
not given, such as TRACKBENCH_DURATION for --duration.

Its defaults are harmless. It refuses targets that are not on this machine, unless
--i-own-this-target says that they are yours.`,
		Example: `  trackbench ingest --token-file data/admin.token --rate 10k --duration 30s
  trackbench ingest --token-file data/admin.token --rate 1k:20k:60s --watch --out json=run.json`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return environment(cmd) },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(b.out)
	root.SetErr(b.err)
	root.AddCommand(b.reportCommand(), b.compareCommand(), b.gateCommand(), b.trendCommand())
	root.AddCommand(b.fanoutCommand(), b.marauderCommand())
	root.AddCommand(b.churnCommand(), b.calibrateCommand(), b.nullCommand(), b.figuresCommand())
	root.AddCommand(b.ingestCommand(), b.rpcCommand(), b.peerCommand(), b.peersCommand(), b.bareCommand(), b.envCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(b.out, "trackbench", version)
			return err
		},
	}, &cobra.Command{
		Use:   "exit-codes",
		Short: "What trackbench's exit codes mean",
		Long:  exitCodesText(),
	})
	return root
}
