// Package clitest is what the tests of the commands share: a real trackerd as a child
// process for command-line scripts, and the page docs/cli.md, which is made from the
// command trees and held against them.
package clitest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite what is generated")

// CheckDoc holds the part of a page that belongs to a program against the program's
// commands. With -update it writes that part. A part stands between two comments that
// name the program.
func CheckDoc(t *testing.T, path string, root *cobra.Command) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", root.Name()), fmt.Sprintf("<!-- end %s -->\n", root.Name())
	head, rest, ok := strings.Cut(string(page), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part for %s", path, root.Name())
	}
	want := Markdown(root)
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what %s says of itself; go test ./cmd/... -update rewrites it", path, root.Name())
	}
	if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Markdown describes a command and all under it.
func Markdown(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("\n")
	describe(&b, root, 2)
	return b.String()
}

func describe(b *strings.Builder, cmd *cobra.Command, depth int) {
	cmd.InitDefaultHelpFlag()
	fmt.Fprintf(b, "%s %s\n\n", strings.Repeat("#", min(depth, 4)), cmd.CommandPath())
	if cmd.HasExample() {
		fmt.Fprintf(b, "```sh\n%s\n```\n\n", unindent(cmd.Example))
	}
	if cmd.IsAdditionalHelpTopicCommand() {
		fmt.Fprintf(b, "%s.\n\n```\n%s\n```\n\n", cmd.Short, strings.TrimRight(cmd.Long, "\n"))
		return
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(b, "%s\n\n", text)
	if flags := cmd.LocalFlags().FlagUsages(); flags != "" && (cmd.Runnable() && !cmd.HasSubCommands() || !cmd.HasParent()) {
		fmt.Fprintf(b, "```\n%s\n%s```\n\n", use(cmd), flags)
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" || sub.IsAdditionalHelpTopicCommand() && sub.Name() != "completion" {
			describe(b, sub, depth+1)
		}
	}
}

func use(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}
