package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tracker/pkg/client"
)

// defaultServer is where a trackerd on the same machine listens.
const defaultServer = "127.0.0.1:4810"

// app is one run of the program: its ends and the flags that every verb has.
type app struct {
	in  io.Reader
	out io.Writer
	err io.Writer

	server      string
	token       string
	tokenFile   string
	contextName string
	caFile      string
	fingerprint string
	insecure    bool

	ran      bool    // a verb began; before that, whatever fails is a mistake of usage
	resolved *target // what connect found out, once it has
	conns    []*client.Conn
}

// main runs one command line and returns the exit code.
func (a *app) main(ctx context.Context, args []string) int {
	err := a.execute(ctx, a.command(), args)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return exitInterrupted
	}
	return explain(a.err, err)
}

// execute runs one command line of a tree. With a mistake of usage comes the way out.
func (a *app) execute(ctx context.Context, root *cobra.Command, args []string) error {
	root.SetArgs(placeLast(args))
	at, err := root.ExecuteContextC(ctx)
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	if !a.ran {
		err = &usageError{err}
	}
	if exitCode(err) == exitUsage && hintFor(err) == "" {
		err = hint(err, "%s", wayOut(at, args))
	}
	return err
}

// wayOut is the next step after a mistake of usage: the command that was probably
// meant, or the help of the one that was reached.
func wayOut(at *cobra.Command, args []string) string {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") || !at.HasSubCommands() {
			continue
		}
		if meant := at.SuggestionsFor(arg); len(meant) > 0 && arg != at.Name() {
			return "did you mean " + at.CommandPath() + " " + meant[0] + "?"
		}
	}
	return at.CommandPath() + " --help shows what there is"
}

// command is the whole tree.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "trackctl",
		Short: "Enrol devices, watch them move and ask where they were",
		Long: `Trackctl speaks to a tracker server: it enrols devices, shows them moving, asks where
they were, and plays recorded or simulated fleets.

The server is --server, or TRACK_SERVER, or the current context (see trackctl context),
or ` + defaultServer + `: HOST:PORT, or a URL of ws, wss, http or https where a proxy lets nothing
else through. The token is --token, --token-file, TRACK_TOKEN, TRACK_TOKEN_FILE, or the
context's, which is only ever sent to the context's own server.`,
		Example: `  trackctl device enroll van-1
  trackctl map
  trackctl history van-1 --from -2h --format gpx > van-1.gpx`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		DisableSuggestions:         true, // they go into the hint
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.PersistentFlags().SortFlags = false
	a.connectionFlags(root)
	root.AddCommand(
		a.deviceCommand(), a.watchCommand(), a.mapCommand(), a.nearCommand(), a.historyCommand(),
		a.beaconCommand(), a.replayCommand(), a.simulateCommand(),
		a.statusCommand(), a.mapsCommand(), a.tokenCommand(), a.contextCommand(), a.doctorCommand(), a.versionCommand(), filterHelp(), exitCodesHelp(),
	)
	return root
}

func (a *app) connectionFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", "", "server to speak to, `HOST:PORT` (TRACK_SERVER; default "+defaultServer+")")
	f.StringVar(&a.token, "token", "", "bearer `token` (TRACK_TOKEN)")
	f.StringVar(&a.tokenFile, "token-file", "", "`file` that holds the token (TRACK_TOKEN_FILE)")
	f.StringVar(&a.contextName, "context", "", "named context to use (TRACK_CONTEXT)")
	f.StringVar(&a.caFile, "ca-file", "", "PEM `file` of the only authorities to trust")
	f.StringVar(&a.fingerprint, "fingerprint", "", "the only certificate to trust, `sha256:HEX`")
	f.BoolVar(&a.insecure, "insecure", false, "trust whoever answers; for tests")
}

// helpTemplate puts a real example first.
const helpTemplate = `{{if .HasExample}}{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`

const usageTemplate = `Usage: {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

More: {{.CommandPath}} COMMAND --help, trackctl help exit-codes{{end}}
`

// verb makes a command's run function: from here on, errors are the work's own.
func (a *app) verb(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.ran = true
		return do(cmd.Context(), args)
	}
}

// asking makes the run function of a command that has something to ask the server.
func (a *app) asking(do func(ctx context.Context, conn *client.Conn, args []string) error) func(*cobra.Command, []string) error {
	return a.verb(func(ctx context.Context, args []string) error {
		conn, err := a.connect()
		if err != nil {
			return err
		}
		defer conn.Close()
		return do(ctx, conn, args)
	})
}

// wants is how many arguments a command takes, and what they are called.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s wants %s", cmd.CommandPath(), strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return fmt.Errorf("%s: %q is one argument too many", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// connect resolves server and token and makes a connection; nothing is sent yet.
func (a *app) connect() (*client.Conn, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	known := ""
	if dir, err := configDir(); err == nil {
		known = filepath.Join(dir, "known_servers")
	}
	conn, err := client.Dial(client.Config{
		Server: t.Server, Token: t.Token, UserAgent: "trackctl/" + version,
		TLS: client.TLSConfig{
			KnownServers: known, Fingerprint: a.fingerprint, CAFile: a.caFile, Insecure: a.insecure,
			OnFirstUse: func(server, fp string) {
				a.notef("%s is new; its certificate is remembered as %s", server, fp)
			},
		},
	})
	if err != nil {
		return nil, &usageError{err}
	}
	a.conns = append(a.conns, conn)
	return conn, nil
}

// hangUp closes every connection that was made: most verbs leave that to the end of the
// process.
func (a *app) hangUp() {
	for _, conn := range a.conns {
		conn.Close()
	}
}

// target is a server and what opens it.
type target struct{ Server, Token string }

// target follows flag, environment, context, default. A context's token never goes to
// another server than the context's. What was found out once holds for good.
func (a *app) target() (target, error) {
	if a.resolved != nil {
		return *a.resolved, nil
	}
	t, err := a.resolve()
	if err == nil {
		a.resolved = &t
	}
	return t, err
}

func (a *app) resolve() (target, error) {
	saved, err := a.savedContext()
	if err != nil {
		return target{}, err
	}
	t := target{Server: first(a.server, os.Getenv("TRACK_SERVER"), saved.Server, defaultServer)}
	if t.Token, err = a.givenToken(); err != nil || t.Token != "" {
		return t, err
	}
	if saved.Server == t.Server {
		t.Token, err = saved.secret()
	}
	return t, err
}

// givenToken is the token of flags or environment, flags first.
func (a *app) givenToken() (string, error) {
	switch {
	case a.token != "" && a.tokenFile != "":
		return "", usagef("--token and --token-file exclude each other")
	case a.token != "":
		return a.token, nil
	case a.tokenFile != "":
		return readToken(a.tokenFile)
	case os.Getenv("TRACK_TOKEN") != "":
		return os.Getenv("TRACK_TOKEN"), nil
	case os.Getenv("TRACK_TOKEN_FILE") != "":
		return readToken(os.Getenv("TRACK_TOKEN_FILE"))
	}
	return "", nil
}

func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", hint(fmt.Errorf("read the token: %w", err), "a first start of trackerd writes admin.token in its data directory")
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("read the token: %s does not hold one token", path)
	}
	return token, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// notef tells the person at the terminal something; it is never data.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.err, "trackctl: "+format+"\n", args...)
}

// printJSON writes one document, indented, as --json everywhere does.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// isTerminal tells whether a stream of ours is a terminal, and its file.
func isTerminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// configDir is where contexts and known servers are kept.
func configDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hint(err, "set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(dir, "tracker"), nil
}

// stateDir is where enrolments of fleets and epochs of beacons are kept.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "tracker"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", hint(err, "set HOME or XDG_STATE_HOME")
	}
	return filepath.Join(home, ".local", "state", "tracker"), nil
}

// writePrivate replaces a file that only its owner may read, all of it or nothing.
func writePrivate(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600 by itself
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// ago is how long before now something was, shortly.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := now.Sub(t); {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return t.Local().Format("2006-01-02")
}
