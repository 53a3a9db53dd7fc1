package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// metricPrefixes are those of metrics that a document names by their prefix.
var metricPrefixes = []string{"fanfare_connect_hook_", "fanfare_message_hook_", "fanfare_tickets_"}

// TestDocsNameEveryMetric: the documents name every metric of the server, and counters are there, with 0,
// before anything happens.
func TestDocsNameEveryMetric(t *testing.T) {
	withoutRace(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServerStoring(t, dir, nil, "--data-dir="+filepath.Join(dir, "data"), "--auth=hook", "--connect-hook=http://127.0.0.1:9/", "--connect-hook-key-file="+secret,
		"--message-hook=http://127.0.0.1:9/", "--message-hook-key-file="+secret, "--webhook=http://127.0.0.1:9/", "--webhook-secret-file="+secret,
		"--revocation-age=1h", "--resume-tickets="+secret)
	body := string(get(t, "http://"+p.api+"/metrics"))
	documents := ""
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents += string(text)
	}
	if strings.Contains(body, "process_network_") {
		t.Error("metrics of the whole network namespace")
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (fanfare_[a-z_]+) `).FindAllStringSubmatch(body, -1) {
		named := strings.Contains(documents, "`"+m[1])
		for _, prefix := range metricPrefixes {
			named = named || strings.HasPrefix(m[1], prefix) && strings.Contains(documents, "`"+prefix+"…")
		}
		if !named {
			t.Errorf("no document names %s", m[1])
		}
	}
	for _, want := range append(metricPrefixes, "fanfare_webhook_", "fanfare_revocations", "fanfare_store_") {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("%s is not there", want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^(fanfare_[a-z_]+_total(?:\{.*\})?) (\S+)$`).FindAllStringSubmatch(body, -1) {
		if m[2] != "0" && !strings.HasPrefix(m[1], "fanfare_api_") {
			t.Errorf("at the start, %s is %s", m[1], m[2])
		}
	}
}
