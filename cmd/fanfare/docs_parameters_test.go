package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestDocsOpenAPIUnknownParameter sends every operation of the document an unknown parameter.
// The answer names it, and the parameters that the operation takes: exactly those of the
// document.
func TestDocsOpenAPIUnknownParameter(t *testing.T) {
	withoutRace(t)
	api := loadOpenAPI(t)
	p := startServer(t, nil, "--data-dir="+t.TempDir(), "--pprof")
	names := strings.NewReplacer("{user}", "alice", "{topic}", "news", "{profile}", "heap", "{id}", "x")
	operations := 0
	for path, item := range api["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			operations++
			method = strings.ToUpper(method)
			body := ""
			if method == "POST" {
				body = `{"users":["alice"],"data":1}`
			}
			r, err := http.NewRequest(method, "http://"+p.api+names.Replace(path)+"?nothing=1", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var problem struct {
				Error struct{ Code, Message string }
			}
			status, answer := send(t, r)
			if err := json.Unmarshal(answer, &problem); err != nil || status != 400 || problem.Error.Code != "bad_query" {
				t.Errorf("%s %s: %d %s %v", method, path, status, answer, err)
				continue
			}
			known := api.queryParameters(item.(map[string]any), op.(map[string]any))
			list, ok := strings.CutPrefix(problem.Error.Message, `unknown parameter "nothing"; want `)
			got := strings.Split(list, ", ")
			slices.Sort(got)
			if len(known) == 0 {
				known = []string{"none here"}
			}
			if !ok || !slices.Equal(got, known) {
				t.Errorf("%s %s: %s; the document has the parameters %q", method, path, problem.Error.Message, known)
			}
		}
	}
	if operations < 25 {
		t.Errorf("only %d operations were tried", operations)
	}
}

func send(t *testing.T, r *http.Request) (status int, body []byte) {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: bound}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// queryParameters returns the names of an operation's parameters, sorted.
func (api openAPI) queryParameters(item, op map[string]any) (names []string) {
	for _, list := range []any{item["parameters"], op["parameters"]} {
		all, _ := list.([]any)
		for _, p := range all {
			if q := api.follow(p); q["in"] == "query" {
				names = append(names, fmt.Sprint(q["name"]))
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestDocsOpenAPIUnknownMember sends documents with each member of the schema, and one that
// it does not have: the answer names it, and exactly those of the schema.
func TestDocsOpenAPIUnknownMember(t *testing.T) {
	withoutRace(t)
	api := loadOpenAPI(t)
	p := startServer(t, nil)
	var known []string
	schema := api["components"].(map[string]any)["schemas"].(map[string]any)["Document"].(map[string]any)
	for name := range schema["properties"].(map[string]any) {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, path := range []string{"/v1/push", "/v1/batch"} {
		r, err := http.NewRequest("POST", "http://"+p.api+path, strings.NewReader(`{"users":["alice"],"data":1,"unheardOf":1}`+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Error struct{ Code, Message string }
		}
		_, answer := send(t, r)
		if err := json.Unmarshal(answer, &problem); err != nil || problem.Error.Code != "bad_json" {
			t.Errorf("%s: %s, %v", path, answer, err)
		}
		_, list, ok := strings.Cut(problem.Error.Message, `unknown field "unheardOf"; want `)
		got := strings.Split(list, ", ")
		slices.Sort(got)
		if !ok || !slices.Equal(got, known) {
			t.Errorf("%s: %s; the document has the members %q", path, problem.Error.Message, known)
		}
	}
}
