// Package schematest holds a published JSON schema, the Go types that it is made of and
// the documents that are printed by it together. Only tests import it, those of load among
// them: it looks into no room.
package schematest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"testing"
)

// Schema is a published schema and where it comes from.
type Schema struct {
	File string       // where it is published, from the package under test
	ID   string       // what its documents have as their "schema"
	Root reflect.Type // what its documents are made of
	// As are types that are written in another way than their kind would be.
	As map[reflect.Type]map[string]any
	// From are the directories of the packages whose comments describe the types.
	From []string
}

// Instant is for As: a time in UTC, to the millisecond.
func Instant() map[string]any {
	return map[string]any{"type": "string", "format": "date-time", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`}
}

// Enum is for As: a text that may be one of few.
func Enum[T ~string](words ...T) map[string]any {
	return map[string]any{"type": "string", "enum": words}
}

// CheckPublished holds the published schema against that of the types and their comments,
// so that neither can say something else, and rewrites it if update is set.
func (s Schema) CheckPublished(t *testing.T, update bool) {
	t.Helper()
	want := s.written(t)
	if update {
		if err := os.WriteFile(s.File, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say; go test -run Schema -update in this directory rewrites it", s.File)
	}
}

func (s Schema) written(t *testing.T) []byte {
	t.Helper()
	w := &writer{t: t, as: s.As, words: map[string]string{}, defs: map[string]any{}}
	for _, dir := range s.From {
		w.read(dir)
	}
	root := w.object(s.Root)
	maps.Copy(root, map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:tracker:" + s.ID, "title": s.ID, "$defs": w.defs,
	})
	root["properties"].(map[string]any)["schema"] = map[string]any{"const": s.ID}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Faults are where a document is not what the published schema says, each with its place.
func (s Schema) Faults(t *testing.T, doc []byte) []string {
	t.Helper()
	text, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	j := judge{root: root}
	j.hold("$", value, root)
	return j.faults
}

// CheckRefuses holds the schema against a document that is good, each of the edits that
// make it bad, and a member that is not known yet: a schema that takes everything tests
// nothing.
func (s Schema) CheckRefuses(t *testing.T, good []byte, edits map[string]func(map[string]any)) {
	t.Helper()
	if faults := s.Faults(t, good); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, edit := range edits {
		if len(s.Faults(t, edited(t, good, edit))) == 0 {
			t.Errorf("%s was let through", name)
		}
	}
	more := edited(t, good, func(m map[string]any) { m["of_tomorrow"] = 1 })
	if faults := s.Faults(t, more); len(faults) > 0 {
		t.Errorf("a member that is not known yet: %v", faults)
	}
}

func edited(t *testing.T, doc []byte, edit func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
