package filter

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what is generated")

const (
	page  = "../../docs/filter.md"
	begin = "<!-- begin keys -->\n"
	end   = "<!-- end keys -->\n"
)

// TestDocsListTheKeys holds the table of the page against the keys.
func TestDocsListTheKeys(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the keys", page)
	}
	want := table()
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s does not list the keys; go test ./pkg/filter -update rewrites it", page)
	}
	if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("\n| key | means | such as |\n|---|---|---|\n")
	for _, k := range Keys {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", k.Name, k.Help, strings.ReplaceAll(k.Example, " or ", "` or `"))
	}
	b.WriteString("\n")
	return b.String()
}

// TestExamplesOfThePageParse takes the first column of its other table, and what its
// commands pass.
func TestExamplesOfThePageParse(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(.+?)` \\||--filter '(.+?)'").FindAllStringSubmatch(string(text), -1)
	if len(rows) < len(Keys)+15 {
		t.Errorf("only %d examples", len(rows))
	}
	for _, row := range rows {
		expr := strings.ReplaceAll(row[1]+row[2], `\|`, "|") // a table's way to write it
		if _, err := Parse(expr); err != nil {
			t.Errorf("%v", err)
		}
	}
}
