package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const withoutGit = "run it in a clone of the server's repository, or give two binaries by --base and --head"

// repo is a git repository, seen from the Go module in it.
type repo struct {
	dir    string // of the module
	common string // where git keeps what all worktrees share
	prefix string // of the module in the repository
}

func openRepo(ctx context.Context, dir string) (*repo, error) {
	root, err := moduleRoot(dir)
	if err != nil {
		return nil, err
	}
	told, err := git(ctx, root, "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, hint(errors.New("git is not installed"), withoutGit)
	case err != nil:
		return nil, hint(fmt.Errorf("%q: %w", dir, err), withoutGit)
	}
	common, prefix, _ := strings.Cut(told, "\n")
	return &repo{root, common, prefix}, nil
}

// resolve is the full name of the commit that rev stands for.
func (r *repo) resolve(ctx context.Context, rev string) (string, error) {
	commit, err := git(ctx, r.dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil && ctx.Err() == nil {
		return "", r.missing(ctx, errors.New("there is no such revision here"), "git fetch brings what is only elsewhere; git branch -a and git tag list what there is")
	}
	return commit, err
}

// missing adds the reason why most clones of a CI do not have what they are asked for.
func (r *repo) missing(ctx context.Context, err error, next string) error {
	if shallow, _ := git(ctx, r.dir, "rev-parse", "--is-shallow-repository"); shallow == "true" {
		return hint(fmt.Errorf("%w, and the clone is shallow", err), "fetch all of it: git fetch --unshallow, or fetch-depth: 0 where a workflow checks out")
	}
	return hint(err, next)
}

// state is the commit of HEAD, with "+dirty" behind it if the tree holds anything else.
func (r *repo) state(ctx context.Context) string {
	commit, err := git(ctx, r.dir, "rev-parse", "--verify", "--quiet", "HEAD")
	if err != nil {
		return "" // no commit yet
	}
	// Without optional locks it does not refresh the user's index.
	if changed, err := git(ctx, r.dir, "--no-optional-locks", "status", "--porcelain"); err != nil || changed != "" {
		commit += "+dirty"
	}
	return commit
}

// worktree is a commit, checked out for a while.
type worktree struct {
	repo *repo
	dir  string
	root string // of the module in it
}

func (r *repo) checkOut(ctx context.Context, commit string) (*worktree, error) {
	dir, err := os.MkdirTemp("", "trackbench-source-")
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // as git will call it
	}
	w := &worktree{r, dir, filepath.Join(dir, filepath.FromSlash(r.prefix))}
	// Hooks of the user are for the user's checkouts.
	_, err = git(ctx, r.dir, "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--quiet", "--detach", dir, commit)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("check out %s: %w", short(commit), err), w.remove())
	}
	return w, nil
}

// remove removes the checkout and what git remembers of it, even if everything else was
// told to stop.
func (w *worktree) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := git(ctx, w.repo.dir, "worktree", "remove", "--force", w.dir); err == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(w.dir), w.forget())
}

// forget removes what is left in the repository of a checkout that git does not remove,
// such as one that was interrupted. git worktree prune would do so for those of others,
// too, which may only be on a disk that is not there now.
func (w *worktree) forget() error {
	links, err := filepath.Glob(filepath.Join(w.repo.common, "worktrees", "*", "gitdir"))
	for _, link := range links {
		if to, readErr := os.ReadFile(link); readErr == nil && strings.TrimSpace(string(to)) == filepath.Join(w.dir, ".git") {
			err = errors.Join(err, os.RemoveAll(filepath.Dir(link)))
		}
	}
	return err
}

// git runs git in dir and returns what it printed.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := command(ctx, dir, "git", args...)
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), ofHook), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	switch {
	case err == nil:
		return strings.TrimSpace(out.String()), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case said.Len() > 0:
		return "", fmt.Errorf("git: %s", complaint(said.String()))
	}
	return "", fmt.Errorf("git %s: %w", args[0], err)
}

// ofHook says whether a variable is one that git sets for its hooks, and that would have
// us work on the index and the tree of whoever runs the hook.
func ofHook(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	switch name {
	case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR":
		return true
	}
	return false
}

// complaint is the line of git's that says what is wrong; advice may stand around it.
func complaint(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, line := range lines {
		if why, fatal := strings.CutPrefix(line, "fatal: "); fatal {
			return why
		}
	}
	return lines[len(lines)-1]
}

func short(commit string) string { return commit[:min(12, len(commit))] }
