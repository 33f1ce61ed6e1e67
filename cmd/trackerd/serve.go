package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/fault"
	"tracker/pkg/server"
)

// options are what serve can be told. Every one of them is a flag, an environment
// variable and a line in a settings file.
type options struct {
	server.Config
	file      string
	logLevel  string
	logFormat string
	tls       string
	keep      int
	memory    size
	recv      size
	ring      size
	open      size
	commit    time.Duration
	grace     time.Duration
	example   bool
}

func (o *options) bind(f *pflag.FlagSet) {
	f.StringVar(&o.file, "config", "", "settings file with lines NAME = VALUE")
	f.StringVar(&o.Data, "data", "", "directory for the database, keys and the admin token (required)")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:4810", "TCP address for REST, WebSocket and RPC")
	f.StringVar(&o.UDP, "udp", "", "UDP address for datagrams (default: the same as --listen)")
	f.StringVar(&o.Advertise, "advertise", "", "HOST[:PORT] that devices send to, for enrolment strings (default: the UDP address)")
	f.StringVar(&o.tls, "tls", "auto", "auto (required off loopback), on, or off")
	f.StringVar(&o.Cert, "tls-cert", "", "certificate file, PEM (default: self-signed)")
	f.StringVar(&o.Key, "tls-key", "", "key file of --tls-cert, PEM")

	f.IntVar(&o.keep, "keep-days", 0, "days of history to keep, 0 for ever")
	f.DurationVar(&o.commit, "commit-every", 50*time.Millisecond, "longest time between commits")
	f.DurationVar(&o.grace, "grace", 7*24*time.Hour, "how long a rotated key stays good, 0 to end it at once")
	f.Var(&o.ring, "store-ring", "fixes waiting for a slow disk, at most this much memory (default 64MiB)")
	f.Var(&o.open, "store-open", "memory for history that is not yet packed (default 64MiB)")

	f.DurationVar(&o.Engine.Hub.Tick, "tick", 40*time.Millisecond, "between frames of a busy stream")
	f.IntVar(&o.Web.MaxPerAddress, "max-unauthenticated", 256, "connections of one address that have shown no token")
	f.BoolVar(&o.Web.OpenMetrics, "open-metrics", false, "serve /metrics without a token")

	f.IntVar(&o.Gateway.MaxWatches, "rpc-watches", 64, "watches on one RPC connection")
	f.DurationVar(&o.Gateway.RPC.Idle, "rpc-idle", time.Minute, "silence of an RPC connection before it is asked, and again before it ends")
	f.BoolVar(&o.example, "rpc-example", true, "serve the service Example, which documentation and benchmarks call")

	f.IntVar(&o.Ingest.Readers, "readers", 0, "datagram sockets (default: one per CPU, at most 8)")
	f.Var(&o.recv, "recv-buffer", "receive buffer of each datagram socket (default 4MiB)")
	f.BoolVar(&o.Ingest.Portable, "portable-udp", false, "one plain datagram socket, even where there is better")
	f.Float64Var(&o.Ingest.Rate.Datagrams, "device-rate", 4, "datagrams a second that one device may send")
	f.IntVar(&o.Ingest.Rate.Burst, "device-burst", 120, "datagrams that a device may have saved up")
	f.Float64Var(&o.Ingest.Rate.Fixes, "device-fixes", 50, "fixes a second that one device may send")

	f.Var(&o.memory, "memory-limit", "soft limit for the memory of the process (default: none)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

// settle turns what was said into a config, or into every mistake at once.
func (o *options) settle(f *pflag.FlagSet) error {
	if err := settle(f, o.file); err != nil {
		return usageError{fmt.Errorf("%w\nhint: trackerd serve --help shows every setting", err)}
	}
	o.TLS = server.TLSMode(o.tls)
	o.Store.RetentionDays, o.Store.CommitEvery = o.keep, o.commit
	o.Store.RingBytes, o.Store.OpenBytes = int(o.ring), int(o.open)
	o.Ingest.RecvBuffer = int(o.recv)
	o.Web.Version = version + fault.Suffix
	o.Gateway.NoExample = !o.example
	// For the engine 0 is the default, for the operator it is none at all.
	o.Engine.Grace = cmp.Or(o.grace, time.Nanosecond)
	if err := errors.Join(o.ranges(), o.Config.Check()); err != nil {
		return usageError{fmt.Errorf("%w\nhint: trackerd serve --help shows every setting", err)}
	}
	return nil
}

// ranges refuses what the rooms would take for "the default", or for no limit at all.
func (o *options) ranges() error {
	var wrong []error
	for _, s := range []struct {
		name  string
		value float64
		ok    bool
		want  string
	}{
		{"keep-days", float64(o.keep), o.keep >= 0, "0 for ever, or more"},
		{"commit-every", o.commit.Seconds(), o.commit > 0, "more than 0"},
		{"tick", o.Engine.Hub.Tick.Seconds(), o.Engine.Hub.Tick > 0, "more than 0"},
		{"max-unauthenticated", float64(o.Web.MaxPerAddress), o.Web.MaxPerAddress > 0, "more than 0"},
		{"rpc-watches", float64(o.Gateway.MaxWatches), o.Gateway.MaxWatches > 0, "more than 0"},
		{"rpc-idle", o.Gateway.RPC.Idle.Seconds(), o.Gateway.RPC.Idle >= time.Second, "1s or more"},
		{"readers", float64(o.Ingest.Readers), o.Ingest.Readers >= 0, "0 for one per CPU, or more"},
		{"device-rate", o.Ingest.Rate.Datagrams, o.Ingest.Rate.Datagrams != 0, "more than 0"},
		{"device-burst", float64(o.Ingest.Rate.Burst), o.Ingest.Rate.Burst != 0, "more than 0"},
		{"device-fixes", o.Ingest.Rate.Fixes, o.Ingest.Rate.Fixes != 0, "more than 0"},
	} {
		if !s.ok {
			wrong = append(wrong, fmt.Errorf("%s: %v: want %s", s.name, s.value, s.want))
		}
	}
	return errors.Join(wrong...)
}

func (o *options) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("log-level: %q: want debug, info, warn or error", o.logLevel)}
	}
	ho := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, ho)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, ho)), nil
	}
	return nil, usageError{fmt.Errorf("log-format: %q: want text or json", o.logFormat)}
}

func serveCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the server",
		Long: `Runs the server until it is told to stop (SIGINT or SIGTERM), then writes what it
has taken in and ends. Once it serves, it prints one line on standard output:

  ready tcp=ADDR udp=ADDR

Every flag can also be set in the environment (--keep-days is TRACKERD_KEEP_DAYS) or
in a settings file; a flag wins over the environment, and that over the file.`,
		Example: `  trackerd serve --data ./data
  trackerd serve --data /var/lib/tracker --listen :4810 --advertise track.example.org:4810
  trackerd serve --config /etc/trackerd.conf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(cmd.Flags()); err != nil {
				return err
			}
			return serve(cmd, &o)
		},
	}
	o.bind(cmd.Flags())
	return cmd
}

func serve(cmd *cobra.Command, o *options) error {
	log, err := o.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	o.Logger = log
	if err := fault.Start(log); err != nil {
		return usageError{err}
	}
	tuneMemory(int64(o.memory))
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := cmd.OutOrStdout()
	o.Ready = func(tcp, udp net.Addr) {
		fmt.Fprintf(out, "ready tcp=%s udp=%s\n", tcp, udp)
	}
	s, err := server.Open(ctx, o.Config)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // stopped as asked, while it was still starting
	}
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// tuneMemory trades a little of the collector's time for memory: most of what this
// process holds has no pointers and costs nothing to mark, so collecting twice as
// often is cheap, and letting the heap double would not be.
func tuneMemory(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// configCommand prints what serve would run with.
func configCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "config",
		Short: "print the effective settings",
		Example: `  trackerd config --data ./data
  TRACKERD_KEEP_DAYS=30 trackerd config --config /etc/trackerd.conf > effective.conf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(cmd.Flags()); err != nil {
				return err
			}
			var b strings.Builder
			cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name == "config" || f.Name == "help" {
					return
				}
				fmt.Fprintf(&b, "# %s\n%s = %s\n", f.Usage, f.Name, f.Value)
			})
			_, err := io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
	o.bind(cmd.Flags())
	return cmd
}
