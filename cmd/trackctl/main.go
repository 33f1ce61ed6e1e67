// Trackctl is the operator's terminal: enrol devices, watch them move, ask where they
// were, and play fleets that do not exist.
//
// One file a verb. Each verb turns flags into one call of pkg/client, pkg/load or
// pkg/tui and prints what comes back: data to stdout, everything else to stderr.
// root.go holds what the verbs share, exit.go how they fail.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with an exit code; the first signal ends the work in good order, the
// second at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	return a.main(ctx, os.Args[1:])
}
