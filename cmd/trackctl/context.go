package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tracker/pkg/track"
)

// saved is one named context: a server, and what opens it.
type saved struct {
	Server    string `json:"server"`
	Token     string `json:"token,omitempty"`
	TokenFile string `json:"token_file,omitempty"`
}

// secret is the context's token, wherever it is kept.
func (s saved) secret() (string, error) {
	if s.TokenFile != "" {
		return readToken(s.TokenFile)
	}
	return s.Token, nil
}

// contexts is the file of all of them; only its owner may read it, since it can hold
// tokens.
type contexts struct {
	Current string           `json:"current,omitempty"`
	Named   map[string]saved `json:"contexts"`
}

func contextsPath() (string, error) {
	dir, err := configDir()
	return filepath.Join(dir, "contexts.json"), err
}

func loadContexts() (contexts, error) {
	c := contexts{Named: map[string]saved{}}
	path, err := contextsPath()
	if err != nil {
		return c, nil // without a home there are no contexts; saving one says why
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read contexts: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, hint(fmt.Errorf("read contexts %s: %v", path, err), "mend or remove the file")
	}
	if c.Named == nil {
		c.Named = map[string]saved{}
	}
	return c, nil
}

func (c contexts) save() error {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(path, append(b, '\n')); err != nil {
		return fmt.Errorf("save contexts: %w", err)
	}
	return nil
}

func (c contexts) get(name string) (saved, error) {
	s, ok := c.Named[name]
	if !ok {
		return saved{}, hint(fmt.Errorf("context %q: %w", name, track.ErrNotFound), "trackctl context list shows what there is")
	}
	return s, nil
}

// savedContext is the context to use: the flag's, the environment's, the current one,
// or none.
func (a *app) savedContext() (saved, error) {
	c, err := loadContexts()
	if err != nil {
		return saved{}, err
	}
	name := first(a.contextName, os.Getenv("TRACK_CONTEXT"), c.Current)
	if name == "" {
		return saved{}, nil
	}
	s, err := c.get(name)
	if err != nil {
		return saved{}, &usageError{err}
	}
	return s, nil
}

func (a *app) contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Name servers and switch between them",
		Example: `  trackctl context add home --server track.example.org --token-file ~/admin.token
  trackctl context use home`,
	}
	cmd.AddCommand(a.contextAdd(), a.contextUse(), a.contextList(), a.contextRemove())
	return group(cmd)
}

// group makes a command that only has others under it name them, and fail on a verb
// that it does not know.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func (a *app) contextAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME",
		Short: "Remember --server and the token under a name",
		Long: `Remembers --server and --token, or where --token-file is. A token of "-" is read from
standard input, so that it stays out of the shell's history. The first context becomes
the current one; a context of that name is replaced.`,
		Example: `  trackctl context add home --server track.example.org --token-file ~/admin.token
  echo "$TOKEN" | trackctl context add home --server track.example.org --token -`,
		Args: wants("NAME"),
		RunE: a.verb(func(_ context.Context, args []string) error {
			s, err := a.newContext()
			if err != nil {
				return err
			}
			c, err := loadContexts()
			if err != nil {
				return err
			}
			c.Named[args[0]] = s
			if c.Current == "" {
				c.Current = args[0]
			}
			return c.save()
		}),
	}
}

func (a *app) newContext() (saved, error) {
	if a.server == "" {
		return saved{}, hint(usagef("a context needs a server"), "add --server HOST:PORT")
	}
	s := saved{Server: a.server, Token: a.token}
	if a.token == "-" {
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if s.Token = strings.TrimSpace(line); s.Token == "" {
			return saved{}, fmt.Errorf("read the token from standard input: %w", err)
		}
	}
	if a.tokenFile != "" {
		if a.token != "" {
			return saved{}, usagef("--token and --token-file exclude each other")
		}
		path, err := filepath.Abs(a.tokenFile)
		if err != nil {
			return saved{}, err
		}
		s.TokenFile = path
	}
	return s, nil
}

func (a *app) contextUse() *cobra.Command {
	return &cobra.Command{
		Use:     "use NAME",
		Short:   "Make a context the current one",
		Example: "  trackctl context use home",
		Args:    wants("NAME"),
		RunE: a.verb(func(_ context.Context, args []string) error {
			return changeContext(args[0], func(c *contexts) { c.Current = args[0] })
		}),
	}
}

// changeContext does something with a context that is there, and saves it.
func changeContext(name string, change func(*contexts)) error {
	c, err := loadContexts()
	if err != nil {
		return err
	}
	if _, err := c.get(name); err != nil {
		return err
	}
	change(&c)
	return c.save()
}

func (a *app) contextRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Forget a context",
		Example: "  trackctl context remove home",
		Args:    wants("NAME"),
		RunE: a.verb(func(_ context.Context, args []string) error {
			return changeContext(args[0], func(c *contexts) {
				delete(c.Named, args[0])
				if c.Current == args[0] {
					c.Current = ""
				}
			})
		}),
	}
}

func (a *app) contextList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the contexts; tokens are not shown",
		Example: "  trackctl context list",
		Args:    cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error {
			c, err := loadContexts()
			if err != nil {
				return err
			}
			return a.printContexts(c, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printContexts(c contexts, asJSON bool) error {
	type shown struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		Server  string `json:"server"`
		Token   string `json:"token"` // where it is, never what it is
	}
	list := []shown{}
	for _, name := range slices.Sorted(maps.Keys(c.Named)) {
		s := c.Named[name]
		token := "none"
		if s.Token != "" {
			token = "saved"
		}
		list = append(list, shown{name, name == c.Current, s.Server, first(s.TokenFile, token)})
	}
	if asJSON {
		return a.printJSON(list)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tNAME\tSERVER\tTOKEN")
	for _, s := range list {
		mark := ""
		if s.Current {
			mark = "*"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, s.Name, s.Server, s.Token)
	}
	return w.Flush()
}
