package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fanfare/cmd/fanfare/internal/settings"
)

const flagsDocument = "docs/operate.md"

// TestDocsFlagTable compares the table of flags with the program: every flag with its
// default, in the order of the help, and no others.
func TestDocsFlagTable(t *testing.T) {
	withoutRace(t)
	_, table, found := strings.Cut(document(t, flagsDocument), "| flag | default | meaning |\n")
	table, _, ended := strings.Cut(table, "\n\n")
	if !found || !ended {
		t.Fatal("found no table of flags")
	}
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (.*?) ?\\| (.+) \\|$").FindAllStringSubmatch(table, -1) {
		got = append(got, row[1]+" "+row[2])
	}
	// Where the default is not a value, the table has words.
	words := map[string]string{"max-connections": "by descriptors", "allow-origin": "the same host"}
	for _, f := range new(settings.Serve).Flags() {
		name, def := f.Name, f.Default
		if w, ok := words[name]; ok {
			def = w
		}
		want = append(want, name+" "+def)
	}
	for i := range max(len(got), len(want)) {
		g, w := "missing", "missing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("row %d of the table is %q, the flag is %q", i+1, g, w)
		}
	}
}

// TestDocsReload compares the flags that the document says a reload changes with those
// that do.
func TestDocsReload(t *testing.T) {
	withoutRace(t)
	_, section, _ := strings.Cut(document(t, flagsDocument), "These flags change:\n")
	section, _, found := strings.Cut(section, "\n### ")
	if !found {
		t.Fatal("found no list of flags")
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(section, -1) {
		named[m[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(named)), liveFlags(); !slices.Equal(got, want) {
		t.Errorf("the document names %q, and these change: %q", got, want)
	}
}

// TestDocsFlagsExist checks that everything written like a flag is one: of fanfare, or
// of a tool that the documents use.
func TestDocsFlagsExist(t *testing.T) {
	withoutRace(t)
	known := map[string]bool{"help": true, "topic": true, "no-console": true, "no-sse": true, "ready": true, "ca": true, "server-name": true, "client-cert": true, "client-key": true} // of other commands of fanfare
	for tool, flags := range map[string]string{
		"curl":          "json http1.1 max-time fail-with-body head silent no-buffer url-query",
		"docker":        "ulimit from chown",
		"systemctl":     "now",
		"nats-server":   "jetstream store_dir addr port config",
		"fanfare-bench": "rounds time warm settle servers server baseline scenarios cost pushes minutes storms stored",
		"node":          "experimental-websocket",
		"soak":          "sessions upgrades faults tls topics every",
	} {
		for f := range strings.FieldsSeq(flags) {
			known[f] = true
			_ = tool
		}
	}
	for _, f := range new(settings.Serve).Flags() {
		known[f.Name] = true
	}
	for file, text := range documents(t) {
		for _, m := range regexp.MustCompile("[ `(]--([a-z][a-z_.0-9-]*)").FindAllStringSubmatch(text, -1) {
			if name := strings.TrimRight(m[1], "."); !known[name] {
				t.Errorf("%s: --%s is not a flag", file, name)
			}
		}
	}
}

// TestDocsConfigFile starts a server with the config file of the document.
func TestDocsConfigFile(t *testing.T) {
	withoutRace(t)
	for _, b := range docBlocks(t, flagsDocument, "json") {
		if b.answer {
			continue
		}
		file := filepath.Join(t.TempDir(), "fanfare.json")
		if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
		startServer(t, nil, "--config="+file)
		return
	}
	t.Fatal("found no config file")
}

// TestDocsJSON parses every block of JSON; "…" stands for a value or a part of one.
func TestDocsJSON(t *testing.T) {
	withoutRace(t)
	for file := range documents(t) {
		for _, b := range docBlocks(t, file, "json") {
			text := strings.NewReplacer(`"…"`, `"x"`, `,…]`, `]`, `…`, `0`).Replace(b.text)
			for d := json.NewDecoder(strings.NewReader(text)); ; {
				var v any
				if err := d.Decode(&v); err == io.EOF {
					break
				} else if err != nil {
					t.Errorf("%s: %v", b, err)
					break
				}
			}
		}
	}
}

// TestDocsMetrics checks that the metrics the documents name are there. Those with
// labels appear when something was counted.
func TestDocsMetrics(t *testing.T) {
	withoutRace(t)
	p := startServer(t, nil, "--data-dir="+t.TempDir())
	p.connect("/ws?user=alice").Close()
	for _, path := range []string{"/ws", "/nowhere"} { // a rejected handshake
		r, err := http.NewRequest("GET", "http://"+p.public+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Upgrade", "websocket")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var text []byte
	for deadline := bound; deadline > 0 && !bytes.Contains(text, []byte("fanfare_closes_total{")); deadline -= pollEvery {
		text = get(t, "http://"+p.api+"/metrics")
	}
	pem := filepath.Join(t.TempDir(), "site.pem")
	certificate(t, pem)
	text = append(text, get(t, "http://"+startServer(t, nil, "--tls-cert="+pem, "--tls-key="+pem, "--data-dir="+t.TempDir(),
		"--revocation-age=1h", "--webhook=http://127.0.0.1:1/", "--webhook-secret-file="+signingFile(t)).api+"/metrics")...)
	text = append(text, get(t, "http://"+startServer(t, nil, "--nats=nats://127.0.0.1:1", "--node-name=a", "--webhook=http://127.0.0.1:1/",
		"--webhook-secret-file="+signingFile(t)).api+"/metrics")...)
	n := 0
	for file, doc := range documents(t) {
		for _, m := range regexp.MustCompile("`(fanfare_[a-z_]+)(\\{([a-z]+)\\})?`").FindAllStringSubmatch(doc, -1) {
			n++
			if !slices.ContainsFunc([]string{"{", " ", "_bucket{", "_bucket "}, func(end string) bool {
				return bytes.Contains(text, []byte("\n"+m[1]+end))
			}) {
				t.Errorf("%s: %s is not a metric", file, m[1])
			}
			if m[3] != "" && !bytes.Contains(text, []byte(m[1]+"{"+m[3]+"=")) {
				t.Errorf("%s: %s has no label %s", file, m[1], m[3])
			}
		}
	}
	if n < 20 {
		t.Errorf("found only %d metrics in the documents", n)
	}
}
