package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestReferenceIsComplete(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repo, v1.bfbs))
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSchema(b)
	if err != nil {
		t.Fatal(err)
	}
	page := string(docs(s))
	for _, link := range regexp.MustCompile(`\(#([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		heading := "## " + strings.ToUpper(link[1][:1]) + link[1][1:] + "\n"
		if !strings.Contains(page, `<a id="`+link[1]+`">`) && !strings.Contains(page, heading) {
			t.Errorf("nothing is at #%s", link[1])
		}
	}
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			if !strings.Contains(page, "| "+m.Name+" | `") {
				t.Errorf("%s is missing", m.full())
			}
		}
	}
	for _, e := range s.Enums {
		if !strings.Contains(page, "### "+e.Name+"\n") {
			t.Errorf("%s is missing", e.Name)
		}
	}
	for _, o := range s.objects() {
		used := strings.Contains(page, "(#"+anchor(o.Name)+")")
		if used && !strings.Contains(page, "### "+o.Name+"\n") {
			t.Errorf("%s is missing", o.Name)
		}
	}
}
