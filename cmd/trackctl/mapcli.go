package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/tui"
)

// notOnMap says of commands why the palette of the map does not run them: they take the
// terminal, run until they are interrupted, or have to do with secrets, which a screen that
// others see, and that is open all day, must not show.
var notOnMap = map[string]string{
	"trackctl map":           "this is the map; a shell opens another",
	"trackctl beacon":        "it plays a device; run it in a shell",
	"trackctl replay":        "it plays devices; run it in a shell",
	"trackctl simulate":      "it plays devices; run it in a shell",
	"trackctl doctor":        "it asks the terminal, which the map has; run it in a shell",
	"trackctl device enroll": "it shows a key; use a shell that others do not see",
	"trackctl device rotate": "it shows a key; use a shell that others do not see",
	"trackctl token create":  "it shows a token; use a shell that others do not see",
	"trackctl context add":   "it takes a token; use a shell that others do not see",
}

// flagNotOnMap says the same of flags.
var flagNotOnMap = map[string]string{
	"trackctl maps join --from": "reads a file: name the devices here, or run it in a shell",
	"trackctl maps part --from": "reads a file: name the devices here, or run it in a shell",
}

// endsBy are flags without one of which a command goes on for ever.
var endsBy = map[string][]string{
	"trackctl watch":          {"for", "count"},
	"trackctl status --watch": {"for"},
}

// public are commands that tell nothing of devices.
var public = []string{"trackctl help", "trackctl version", "trackctl filter", "trackctl exit-codes"}

// mapCLI is what the palette of the map can run: the commands of this program, with the
// server and the token that the map has, which now tells: whatever the current context
// becomes.
func (a *app) mapCLI(now func() *app) *tui.CLI {
	return &tui.CLI{
		Verbs: verbsBelow(a.beside(io.Discard).onMap()),
		Run: func(ctx context.Context, words []string, out io.Writer) error {
			b := now().beside(out)
			defer b.hangUp()
			return asTold(b.execute(ctx, b.onMap(), words))
		},
	}
}

// beside is another run of the program, for one command: it has nobody to ask and no
// terminal, and tells everything to out.
func (a *app) beside(out io.Writer) *app {
	return &app{in: strings.NewReader(""), out: out, err: out, resolved: a.resolved,
		caFile: a.caFile, fingerprint: a.fingerprint, insecure: a.insecure}
}

// asTold is an error in the words in which the program tells it, with its hint.
func asTold(err error) error {
	var b strings.Builder
	if explain(&b, err); b.Len() == 0 {
		return err
	}
	return errors.New(strings.TrimSpace(b.String()))
}

// onMap is the tree of commands, in which those that are not for the map say so.
func (a *app) onMap() *cobra.Command {
	root := a.command()
	root.CompletionOptions.DisableDefaultCmd = true
	root.InitDefaultHelpCmd()
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true }) // in helps, too
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return mayRunOnMap(cmd, root.PersistentFlags()) }
	var refuse func(cmd *cobra.Command, why string)
	refuse = func(cmd *cobra.Command, why string) {
		if w := notOnMap[cmd.CommandPath()]; w != "" {
			why = w
		}
		for _, sub := range cmd.Commands() {
			refuse(sub, why)
		}
		if why != "" {
			cmd.DisableFlagParsing, cmd.Args = true, cobra.ArbitraryArgs
			cmd.RunE = func(*cobra.Command, []string) error { return usagef("%s: %s", cmd.Name(), why) }
		}
	}
	refuse(root, "")
	return root
}

// mayRunOnMap refuses flags that are not for the map. connection are those that every
// command has.
func mayRunOnMap(cmd *cobra.Command, connection *pflag.FlagSet) (err error) {
	connection.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			err = hint(usagef("--%s: on the map the map's own server is asked, with its token", f.Name), "a shell asks others")
		}
	})
	cmd.Flags().Visit(func(f *pflag.Flag) {
		path := cmd.CommandPath() + " --" + f.Name
		if why := flagNotOnMap[path]; why != "" {
			err = usagef("--%s %s", f.Name, why)
		}
		if f.Value.String() == "true" {
			err = errors.Join(err, mustEnd(cmd, path))
		}
	})
	return errors.Join(err, mustEnd(cmd, cmd.CommandPath()))
}

// mustEnd refuses what goes on for ever.
func mustEnd(cmd *cobra.Command, what string) error {
	by := endsBy[what]
	set := func(name string) bool {
		v := cmd.Flags().Lookup(name).Value.String()
		return v != "0" && v != "0s"
	}
	if len(by) == 0 || slices.ContainsFunc(by, set) {
		return nil
	}
	return hint(usagef("%s goes on for ever", strings.TrimPrefix(what, "trackctl ")), "add --%s, such as --for 20s", strings.Join(by, " or --"))
}

// verbsBelow is what the palette has to know of the commands below one.
func verbsBelow(cmd *cobra.Command) (all []tui.Verb) {
	for _, sub := range cmd.Commands() {
		path := sub.CommandPath()
		if !sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() && sub.Name() != "help" {
			continue
		}
		_, args, _ := strings.Cut(sub.Use, " ")
		v := tui.Verb{
			Name: sub.Name(), Args: args, Help: sub.Short, Not: notOnMap[path],
			Public: slices.Contains(public, path), Verbs: verbsBelow(sub),
		}
		if v.Name == "help" {
			v.Args = "COMMAND..."
		}
		inherited := sub.InheritedFlags()
		sub.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if flagNotOnMap[path+" --"+f.Name] == "" && !f.Hidden && inherited.Lookup(f.Name) == nil {
				value, help := pflag.UnquoteUsage(f)
				v.Flags = append(v.Flags, tui.Flag{Name: f.Name, Value: value, Help: help})
			}
		})
		all = append(all, v)
	}
	return all
}
