package schematest

import (
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// writer writes a schema of types, with their comments as descriptions.
type writer struct {
	t     *testing.T
	as    map[reflect.Type]map[string]any
	words map[string]string // by package.Type and package.Type.Field
	defs  map[string]any
}

// read takes the comments of a package.
func (w *writer) read(dir string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				w.note(f.Name.Name+".", d)
			}
		}
	}
}

func (w *writer) note(where string, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		spec, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		name := where + spec.Name.Name
		w.words[name] = prose(decl.Doc.Text())
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, n := range f.Names {
				w.words[name+"."+n.Name] = prose(f.Doc.Text() + f.Comment.Text())
			}
		}
	}
}

// prose is a comment on one line.
func prose(text string) string {
	var p comment.Parser
	var pr comment.Printer
	return strings.Join(strings.Fields(string(pr.Text(p.Parse(text)))), " ")
}

func (w *writer) of(t reflect.Type) map[string]any {
	if as := w.as[t]; as != nil {
		return maps.Clone(as) // the member adds its description
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": w.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": w.of(t.Elem())}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Pointer:
		one := w.of(t.Elem())
		if t.Elem().Kind() != reflect.Struct {
			one["type"] = []any{one["type"], "null"}
		}
		return one
	case reflect.Struct:
		if w.defs[t.Name()] == nil {
			w.defs[t.Name()] = true // it may hold itself
			w.defs[t.Name()] = w.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	}
	w.t.Fatalf("no schema of %v", t)
	return nil
}

func (w *writer) object(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous { // its members are ours
			inner := w.object(f.Type)
			maps.Copy(props, inner["properties"].(map[string]any))
			required = append(required, inner["required"].([]string)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		one := w.of(f.Type)
		if words := w.words[t.String()+"."+f.Name]; words != "" {
			one["description"] = words
		}
		props[name] = one
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": props, "required": required}
	if words := w.words[t.String()]; words != "" {
		out["description"] = words
	}
	return out
}
