package rpc

import (
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden frames of docs/rpc.md")

const page = "../../docs/rpc.md"

type golden struct {
	name  string
	bytes []byte
	head  bool // shown apart from the body
}

func goldens() []golden {
	frame := func(name string, f Frame) golden { return golden{name, AppendFrame(nil, f), true} }
	tail := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	noDevice := &Error{Status: NotFound, Reason: "no_device", RetryAfter: 1500 * time.Millisecond, NotRun: true}
	return []golden{
		{"hello", appendHello(nil, &Hello{ProtoMin: 1, ProtoMax: 1, MaxFrame: 1 << 20, SchemaHash: 0x0102030405060708,
			Features: 1, AuthKind: AuthBearer, Client: "trk/1.0.0", Auth: []byte("token")}), false},
		{"welcome", appendWelcome(nil, &Welcome{Proto: 1, MaxFrame: 1 << 20, ConnID: 7, Epoch: 9, MaxInflight: 4096,
			MaxInflightBytes: 4 << 20, MaxSubs: 256, MaxCredit: 1 << 16, MaxMessage: 4 << 20, Idle: time.Minute,
			Features: 1, Now: time.UnixMilli(1 << 32)}), false},
		frame("request", req(7, 0x0101, sumBody(1, 2))),
		frame("deadline", Frame{Kind: KindReq, ID: 8, Code: 0x0102, Aux: 250}),
		frame("answer", Frame{Kind: KindRsp, ID: 7, Body: []byte{3, 0, 0, 0, 0, 0, 0, 0}}),
		{"error", appendErrFrame(nil, KindErr, 8, noDevice), true},
		frame("cancel", Frame{Kind: KindCancel, ID: 8}),
		frame("notify", Frame{Kind: KindNotify, Code: 0x0103, Body: []byte("x")}),
		frame("event", Frame{Kind: KindEvent, ID: 9, Code: 1, Aux: 3, Body: append([]byte{10, 0, 0, 0, 0, 0, 0, 0}, "abc"...)}),
		frame("credit", Frame{Kind: KindCredit, ID: 9, Body: []byte{64, 0, 0, 0}}),
		frame("end", Frame{Kind: KindEnd, ID: 9, Aux: 2}),
		frame("ping", Frame{Kind: KindPing, Body: tail}),
		frame("pong", Frame{Kind: KindPong, Body: tail}),
		{"goaway", appendGoAwayFrame(nil, 8, &Error{Status: Unauthenticated, Reason: "expired", NotRun: true}), true},
		frame("first part", Frame{Kind: KindReq, Flags: FlagMore, ID: 10, Code: 0x0103, Body: []byte("ab")}),
		frame("last part", Frame{Kind: KindReq, ID: 10, Code: 0x0103, Body: []byte("c")}),
		frame("metadata", Frame{Kind: KindReq, Flags: FlagMeta, ID: 11, Code: 0x0103, Body: append([]byte{2, 0}, "abcde"...)}),
	}
}

func TestGoldenFramesOfTheDocs(t *testing.T) {
	var b strings.Builder
	for _, g := range goldens() {
		text := hex.EncodeToString(g.bytes)
		if g.head && len(text) > 2*HeaderSize {
			text = text[:2*HeaderSize] + " " + text[2*HeaderSize:]
		}
		b.WriteString(strings.TrimSpace((g.name + "           ")[:11]+text) + "\n")
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(have), "\nhello ")
	_, after, ok := strings.Cut("\nhello "+rest, "\n```\n")
	if !ok {
		t.Fatal("no golden frames in " + page)
	}
	want := before + "\n" + b.String() + "```\n" + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(have) != want {
		t.Errorf("%s does not show what the code makes; it is\n%s", page, b.String())
	}
}

// Every fault and every status has its line in the docs.
func TestDocsNameWhatIsCounted(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(string(b)), " ")
	for _, f := range Faults() {
		if !strings.Contains(flat, "`"+f.String()+"`") {
			t.Errorf("fault %q is not in %s", f, page)
		}
	}
	lines := map[string]string{} // of the table, by what is counted
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for _, name := range strings.Split(cells[3], ",") {
			name = strings.Trim(name, " `")
			lines[name] += cells[2]
		}
	}
	for name, row := range badInputs() {
		said := lines[row.fault.String()]
		answer := map[Kind]string{KindGoAway: "GOAWAY", KindErr: "ERR", 255: "closed"}[row.kind]
		if answer == "ERR" && row.code == OutOfRange {
			answer = "END"
		}
		if row.code == Canceled {
			continue // it is no fault
		}
		if !strings.Contains(said, answer) || row.code != OK && row.fault != FaultAuth && !strings.Contains(said, row.code.String()) {
			t.Errorf("%s: the test wants %s %v, the page says %q", name, answer, row.code, said)
		}
	}
	for s, d := range statuses {
		if !strings.Contains(flat, d.name) {
			t.Errorf("status %d, %q, is not in %s", s, d.name, page)
		}
	}
}
