package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// target is a schema and where its bindings go.
type target struct {
	name    string // flatc's directory
	bfbs    string
	goDir   string
	goName  string
	tsDir   string
	runtime string // where the TypeScript sees the modules of its package
}

var (
	v1 = target{"v1", "pkg/wire/schema/tracker.bfbs", "pkg/wire/trk", "trk", "clients/ts/src/gen", "../"}
	// v2 is what the schema may become, for tests.
	v2 = target{"v2", "pkg/rpc/rpcgen/testdata/v2.bfbs", "pkg/wire/trk/internal/v2", "v2", "clients/ts/test/gen-v2", "#dist/"}
)

// files are contents by path from the root of the repository.
type files map[string][]byte

// fromFlatc takes what tools/flatc/gen.mjs wrote into dir.
func fromFlatc(dir string) (files, string, error) {
	out := files{}
	add := func(file, from string) error {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err == nil && strings.HasSuffix(file, ".go") {
			b, err = formatTables(b)
		}
		out[file] = b
		return err
	}
	errs := []error{add("pkg/rpc/rpcgen/reflection/reflection.go", "reflection.go")}
	for _, t := range []target{v1, v2} {
		errs = append(errs, add(t.bfbs, t.name+"/tracker.bfbs"), add(t.goDir+"/tables.go", t.name+"/tables.go"))
		base := filepath.Join(dir, t.name, "ts")
		errs = append(errs, filepath.Walk(base, func(file string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			rel, err := filepath.Rel(base, file)
			if err != nil {
				return err
			}
			return add(t.tsDir+"/"+filepath.ToSlash(rel), filepath.Join(t.name, "ts", rel))
		}))
	}
	version, err := os.ReadFile(filepath.Join(dir, "flatc.version"))
	return out, strings.TrimSpace(string(version)), errors.Join(append(errs, err)...)
}

// fromTree takes what flatc wrote before, if it would write the same now.
func fromTree(root string) (files, string, error) {
	s, err := readSeal(root)
	if err != nil {
		return nil, "", err
	}
	var errs []error
	for _, file := range sorted(s.inputs) {
		errs = append(errs, checkSum(root, file, s.inputs[file], "changed: flatc has to run, which needs Node; use scripts/generate"))
	}
	out := files{}
	for _, file := range sorted(s.flatc) {
		errs = append(errs, checkSum(root, file, s.flatc[file], "was edited by hand, but is flatc's: use scripts/generate (with Node)"))
		out[file], _ = os.ReadFile(filepath.Join(root, file))
	}
	return out, s.compiler, errors.Join(errs...)
}

// generate returns all generated files, from those of flatc.
func generate(root string, flatc files, compiler string, accept bool) (files, error) {
	seal := &sealed{compiler: compiler, inputs: map[string]string{}, flatc: map[string]string{}, rpcgen: map[string]string{}}
	for _, file := range inputs {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		seal.inputs[file] = sum(b)
	}
	all := files{}
	for file, b := range flatc {
		all[file], seal.flatc[file] = b, sum(b)
	}
	ours, err := bindings(root, flatc, accept)
	if err != nil {
		return nil, err
	}
	for file, b := range ours {
		all[file], seal.rpcgen[file] = b, sum(b)
	}
	all[sealFile] = seal.text()
	return all, nil
}

// bindings is what rpcgen itself makes.
func bindings(root string, flatc files, accept bool) (files, error) {
	s, err := readSchema(flatc[v1.bfbs])
	if err != nil {
		return nil, err
	}
	lock, err := checkLock(root, s, accept)
	if err != nil {
		return nil, err
	}
	later, err := readSchema(flatc[v2.bfbs])
	if err != nil {
		return nil, err
	}
	if _, broken := compareLocks(lockOf(s), lockOf(later)); broken != nil {
		return nil, fmt.Errorf("the later version of tools/flatc/v2.mjs breaks the schema: %w", broken)
	}
	out := files{lockFile: lock, docFile: docs(s)}
	if err := errors.Join(emit(out, v1, s), emit(out, v2, later)); err != nil {
		return nil, err
	}
	out[v1.goDir+"/tables_test.go"], err = goTests(s, v1.goName)
	return out, err
}

// checkLock returns what rpc.lock has to be.
func checkLock(root string, s *Schema, accept bool) ([]byte, error) {
	now := lockText(lockOf(s))
	b, err := os.ReadFile(filepath.Join(root, lockFile))
	if errors.Is(err, os.ErrNotExist) && accept {
		return now, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: without it nobody knows what may not change; restore it", err)
	}
	old, err := parseLock(b)
	if err != nil {
		return nil, err
	}
	added, broken := compareLocks(old, lockOf(s))
	if broken != nil {
		return nil, fmt.Errorf("the schema breaks what is on the wire:\n%w", broken)
	}
	if len(added) > 0 && !accept {
		return nil, fmt.Errorf("new in the schema, and from now on for ever:\n%s\ntake it in with: scripts/generate -accept", strings.Join(added, "\n"))
	}
	return now, nil
}

func emit(out files, t target, s *Schema) error {
	var errs [3]error
	hash := wireHash(s)
	out[t.goDir+"/services.go"], errs[0] = goServices(s, t.goName, hash)
	out[t.goDir+"/verify.go"], errs[1] = goVerify(s, t.goName)
	out[t.goDir+"/encode.go"], errs[2] = goEncode(s, t.goName)
	out[t.tsDir+"/messages.ts"] = tsMessages(s)
	out[t.tsDir+"/verify.ts"] = tsVerify(s)
	out[t.tsDir+"/services.ts"] = tsServices(s, hash, t.runtime)
	return errors.Join(errs[:]...)
}

// write has the tree under root be what was generated, and removes what was once.
func write(root string, all files) error {
	for _, file := range generatedFiles(root) {
		if all[file] == nil {
			if err := os.Remove(filepath.Join(root, file)); err != nil {
				return err
			}
		}
	}
	for _, file := range sorted(all) {
		at := filepath.Join(root, file)
		if old, err := os.ReadFile(at); err == nil && bytes.Equal(old, all[file]) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, all[file], 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", file)
	}
	return nil
}

// compare holds the tree against what was generated, both ways.
func compare(root string, all files) error {
	var errs []error
	for _, file := range sorted(all) {
		b, err := os.ReadFile(filepath.Join(root, file))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s is missing: run scripts/generate", file))
		case !bytes.Equal(b, all[file]):
			errs = append(errs, fmt.Errorf("%s is not what is generated now: run scripts/generate", file))
		}
	}
	for _, file := range generatedFiles(root) {
		if all[file] == nil {
			errs = append(errs, fmt.Errorf("%s is left over: nothing generates it; remove it", file))
		}
	}
	return errors.Join(errs...)
}
