package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// openAPI is docs/openapi.yaml, as plain maps and slices.
type openAPI map[string]any

func loadOpenAPI(t *testing.T) openAPI {
	t.Helper()
	text, err := os.ReadFile(docRoot + "/docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var api map[string]any
	if err := yaml.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	return api
}

// follow returns what v refers to, if it is a reference.
func (api openAPI) follow(v any) map[string]any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	at := any(map[string]any(api))
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[name]
	}
	if at == nil {
		panic("openapi.yaml: " + ref + " leads nowhere")
	}
	return api.follow(at)
}

// check compares a JSON value with a schema and returns what does not match. It knows
// the keywords that openapi.yaml uses, and no others.
func (api openAPI) check(schema any, value any, at string) (wrong []string) {
	s := api.follow(schema)
	say := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	object, _ := value.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		switch want := s[key]; key {
		case "description", "format", "contentEncoding", "default", "minLength", "maxLength":
		case "type":
			if got := typeOf(value); got != want && (got != "integer" || want != "number") {
				say("is %s, not %v", got, want)
			}
		case "enum":
			if !slices.Contains(want.([]any), value) {
				say("%v is not one of %v", value, want)
			}
		case "required":
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; object != nil && !ok {
					say("lacks %v", name)
				}
			}
		case "minProperties":
			if len(object) < want.(int) {
				say("has %d members", len(object))
			}
		case "properties":
			for name, v := range object {
				if p, ok := want.(map[string]any)[name]; ok {
					wrong = append(wrong, api.check(p, v, at+"."+name)...)
				}
			}
		case "additionalProperties":
			known, _ := s["properties"].(map[string]any)
			for name, v := range object {
				if _, ok := known[name]; ok {
					continue
				}
				if want == false {
					say("has the member %q, which is not in the document", name)
				} else {
					wrong = append(wrong, api.check(want, v, at+"."+name)...)
				}
			}
		case "items":
			list, _ := value.([]any)
			for i, v := range list {
				wrong = append(wrong, api.check(want, v, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "oneOf":
			var all []string
			matches := 0
			for _, one := range want.([]any) {
				if w := api.check(one, value, at); len(w) > 0 {
					all = append(all, w...)
				} else {
					matches++
				}
			}
			if matches != 1 {
				say("%d of the schemas of oneOf match: %q", matches, all)
			}
		default:
			say("the check does not know the keyword %s", key)
		}
	}
	return wrong
}

func typeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	}
	return "null"
}

// TestDocsOpenAPICheck shows that the check finds what is wrong.
func TestDocsOpenAPICheck(t *testing.T) {
	withoutRace(t)
	api := loadOpenAPI(t)
	for _, c := range []struct {
		schema, value string
		right         bool
	}{
		{"Receivers", `{"receivers":1}`, true},
		{"Receivers", `{"receivers":1.5}`, false},
		{"Receivers", `{"receivers":"1"}`, false},
		{"Receivers", `{"receivers":1,"more":1}`, false},
		{"Receivers", `{}`, false},
		{"Receivers", `[]`, false},
		{"Error", `{"error":{"code":"a","message":"b"}}`, true},
		{"Error", `{"error":{"code":"a"}}`, false},
		{"DocumentAnswer", `{"offsets":{"a":1},"receivers":1}`, true},
		{"DocumentAnswer", `{"offsets":{"a":"1"},"receivers":1}`, false},
		{"DocumentAnswer", `{"offset":1,"receivers":1}`, true},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.value), &v); err != nil {
			t.Fatal(err)
		}
		schema := map[string]any{"$ref": "#/components/schemas/" + c.schema}
		if wrong := api.check(schema, v, c.schema); (len(wrong) == 0) != c.right {
			t.Errorf("%s %s: %q", c.schema, c.value, wrong)
		}
	}
}
