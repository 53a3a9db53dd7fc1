package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A hookPlan is flags about a hook, and what the error about them says; empty: there is none.
type hookPlan struct {
	args []string
	want string
}

// testHookPlan tests the flags of the hook that flag names, together with others. more returns
// what only this hook has, for flags with its URL and its secrets.
func testHookPlan(t *testing.T, flag string, others []string, more func(url, key string) []hookPlan) {
	flag = "--" + flag
	concurrency := flag + "-concurrency"
	if flag == "--message-hook" { // which bounds what else messages may be for
		concurrency = "--message-concurrency"
	}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return flag + "-key-file=" + path
	}
	url, plain := flag+"=https://backend.example/x", flag+"=http://backend.example/x"
	key := file("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n# the next\na-secret-of-more-than-24-bytes\n")
	for _, tt := range append(more(url, key), []hookPlan{
		{[]string{url}, flag + " needs " + flag + "-key-file"},
		{[]string{url, key}, ""},
		{[]string{url, file("short")}, flag + "-key-file has a secret of 5 bytes: want at least 24"},
		{[]string{url, file("whsec_???")}, "begins with whsec_ and is not base64"},
		{[]string{url, file("# none")}, "has no key"},
		{[]string{plain, key}, flag + ` is "http://backend.example/x": the URL is http`},
		{[]string{plain, key}, "unless this is allowed by " + flag + "-insecure-http"},
		{[]string{plain, key, flag + "-insecure-http"}, ""},
		{[]string{flag + "=http://127.0.0.1:1/x", key}, ""},
		{[]string{url, key, flag + "-timeout=1h"}, flag + "-timeout is 1h0m0s"},
		{[]string{url, key, concurrency + "=100000"}, concurrency + " is 100000: want 1 to 16384"},
	}...) {
		plan, err := parseServe(t, slices.Concat(others, tt.args, []string{"--data-dir=none"})...).Plan(slog.New(slog.DiscardHandler))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "MfKQ9r8") {
			t.Error("the error has a secret")
		}
		if err == nil && (plan.Hook != nil || plan.MessageHook != nil) != (len(tt.args) > 0) {
			t.Errorf("%q: the hooks are %v and %v", tt.args, plan.Hook, plan.MessageHook)
		}
	}
}
