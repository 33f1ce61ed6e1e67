// Command rpcgen makes the bindings of the services: out of the compiled schema, Go and
// TypeScript that serve and call, verify and encode, and the reference.
//
//	tracker.fbs ─ flatc ─┬─ tracker.bfbs ─ rpcgen ─┬─ servers, clients, verifiers, encoders
//	 (tools/flatc, Node) └─ tables in Go and TS    ├─ docs/services.md
//	                                               └─ rpc.lock, gen.lock
//
// rpc.lock keeps what may never change, and rpcgen refuses a schema that breaks it.
// gen.lock has the sums of everything, so that a stale or edited file is found without
// Node. scripts/generate runs both steps.
package main

import (
	"flag"
	"fmt"
	"os"
)

const usage = `usage: rpcgen [-root DIR] [-flatc DIR] [-accept] [-check]

Makes the bindings of the services from the compiled schema. scripts/generate runs it
with everything it needs.

`

func main() {
	root := flag.String("root", ".", "of the repository")
	flatc := flag.String("flatc", "", "what tools/flatc/gen.mjs wrote; default: what it wrote before, from the tree")
	accept := flag.Bool("accept", false, "take what is new in the schema into rpc.lock, for ever; without it additions are refused, and changes always are")
	check := flag.Bool("check", false, "write nothing and compare")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*root, *flatc, *accept, *check); err != nil {
		fmt.Fprintf(os.Stderr, "rpcgen: %v\n", err)
		os.Exit(1)
	}
}

func run(root, dir string, accept, check bool) error {
	var stage1 files
	var compiler string
	var err error
	if dir != "" {
		stage1, compiler, err = fromFlatc(dir)
	} else {
		stage1, compiler, err = fromTree(root)
	}
	if err != nil {
		return err
	}
	if err := checkRuntime(root, compiler); err != nil {
		return err
	}
	all, err := generate(root, stage1, compiler, accept)
	if err != nil {
		return err
	}
	if check {
		return compare(root, all)
	}
	return write(root, all)
}
