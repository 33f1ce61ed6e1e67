package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const sealHead = `# What the generated files were made from, and what they are: sums of the inputs, of
# what flatc wrote and of what rpcgen wrote. Made by scripts/generate; the tests hold it
# against the tree, without Node.
`

const (
	sealFile   = "pkg/wire/schema/gen.lock"
	lockFile   = "pkg/wire/schema/rpc.lock"
	schemaFile = "pkg/wire/schema/tracker.fbs"
	docFile    = "docs/services.md"
)

// inputs decide what flatc writes.
var inputs = []string{
	schemaFile,
	"tools/flatc/gen.mjs",
	"tools/flatc/package-lock.json",
	"tools/flatc/v2.mjs",
}

// owned are the places where nothing is that was not generated. In the Go packages
// files may stand beside the generated ones that do not say they are.
var owned = []string{
	"clients/ts/src/gen",
	"clients/ts/test/gen-v2",
	"pkg/rpc/rpcgen/reflection",
	"pkg/wire/trk",
}

// sealed is gen.lock: sums by path.
type sealed struct {
	compiler              string // version of flatc, and its package
	inputs, flatc, rpcgen map[string]string
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func (s *sealed) text() []byte {
	var t text
	t.WriteString(sealHead)
	t.p("\ncompiler %s", s.compiler)
	for _, part := range s.parts() {
		t.p("")
		for _, file := range sorted(part.sums) {
			t.p("%s %s %s", part.name, part.sums[file], file)
		}
	}
	return t.Bytes()
}

type sealPart struct {
	name string
	sums map[string]string
}

func (s *sealed) parts() []sealPart {
	return []sealPart{{"input", s.inputs}, {"flatc", s.flatc}, {"rpcgen", s.rpcgen}}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func readSeal(root string) (*sealed, error) {
	b, err := os.ReadFile(filepath.Join(root, sealFile))
	if err != nil {
		return nil, fmt.Errorf("%w: scripts/generate makes it", err)
	}
	s := &sealed{inputs: map[string]string{}, flatc: map[string]string{}, rpcgen: map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "compiler "); ok {
			s.compiler = rest
			continue
		}
		for _, part := range s.parts() {
			if words := strings.Fields(line); len(words) == 3 && words[0] == part.name {
				part.sums[words[2]] = words[1]
			}
		}
	}
	return s, lines.Err()
}

// checkSeal holds the tree under root against its gen.lock.
func checkSeal(root string) error {
	s, err := readSeal(root)
	if err != nil {
		return err
	}
	errs := []error{checkRuntime(root, s.compiler)}
	for _, file := range sorted(s.inputs) {
		errs = append(errs, checkSum(root, file, s.inputs[file], "changed since the generated files were made: run scripts/generate (with Node)"))
	}
	for _, part := range s.parts()[1:] {
		for _, file := range sorted(part.sums) {
			errs = append(errs, checkSum(root, file, part.sums[file], "was edited by hand, but is generated: change what it is made from and run scripts/generate"))
		}
	}
	return errors.Join(append(errs, checkExtra(root, s))...)
}

func checkSum(root, file, want, what string) error {
	b, err := os.ReadFile(filepath.Join(root, file))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: run scripts/generate", file)
	}
	if err != nil {
		return err
	}
	if sum(b) != want {
		return fmt.Errorf("%s %s", file, what)
	}
	return nil
}

// checkExtra finds files that were generated once, or that nobody generated.
func checkExtra(root string, s *sealed) error {
	var errs []error
	for _, file := range generatedFiles(root) {
		if s.flatc[file] == "" && s.rpcgen[file] == "" {
			errs = append(errs, fmt.Errorf("%s is left over: nothing generates it; remove it", file))
		}
	}
	return errors.Join(errs...)
}

// generatedFiles are those in the owned places that are, or should be, generated.
func generatedFiles(root string) []string {
	var found []string
	for _, dir := range owned {
		_ = filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // a place that is not there has no files
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			rel = filepath.ToSlash(rel)
			ofGo := !strings.HasPrefix(rel, "clients/")
			if path.Ext(rel) == ".go" && !saysGenerated(file) || ofGo && strings.Contains(rel, "/testdata/") {
				return nil
			}
			found = append(found, rel)
			return nil
		})
	}
	slices.Sort(found)
	return found
}

func saysGenerated(file string) bool {
	b, err := os.ReadFile(file)
	return err == nil && bytes.HasPrefix(b, []byte("// Code generated "))
}

// checkRuntime holds the module's FlatBuffers against the compiler's.
func checkRuntime(root, compiler string) error {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	version, _, _ := strings.Cut(compiler, " ")
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "github.com/google/flatbuffers" {
			continue
		}
		if have, _, _ := strings.Cut(words[1], "+"); have != "v"+version {
			return fmt.Errorf("go.mod has FlatBuffers %s, flatc is %s: they go together; see tools/flatc", have, version)
		}
		return nil
	}
	return errors.New("go.mod: FlatBuffers is missing")
}
