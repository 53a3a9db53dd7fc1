package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// expressions returns the PromQL of the alert rules and of the dashboard, with where it is
// from.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(readDeploy(t, "monitoring/alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	var board struct {
		Templating struct {
			List []struct{ Definition string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readDeploy(t, "monitoring/dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for i, target := range p.Targets {
			all["panel "+p.Title+" "+string(rune('A'+i))] = target.Expr
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			all["variable"] = v.Definition
		}
	}
	if len(all) < 50 {
		t.Fatalf("found only %d expressions", len(all))
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(fanfare|process|go)_[a-z_]+`)
	selector   = regexp.MustCompile(`\b((?:fanfare|process|go)_[a-z_]+)\{([^}]*)\}`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\) \((?:rate|increase)\(((?:fanfare|process|go)_[a-z_]+)`)
	labelName  = regexp.MustCompile(`([a-z]+)(?:=~?|!=|!~)"`)
)

// TestDeployMetrics compares the rules and the dashboard with what a node of a cluster
// with a store really exports: each name, and each label.
func TestDeployMetrics(t *testing.T) {
	withoutRace(t)
	nats := "127.0.0.1:" + freePorts(t, 1)[0]
	sh := newShell(t)
	sh.ports = strings.NewReplacer("127.0.0.1:4222", nats)
	_, port, _ := strings.Cut(nats, ":")
	if err := sh.start(start{"nats-server", []string{"--jetstream", "--store_dir", t.TempDir(), "--addr", "127.0.0.1", "--port", port}, sh.env}); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, nil, "--nats=nats://"+nats, "--node-name=a", "--webhook="+startBackend(t).URL+" session.*", "--webhook-secret-file="+signingFile(t))
	p.connect("/ws?user=alice").Close()
	for _, path := range []string{"/ws", "/nowhere"} { // rejected
		p.handshakeStatus(path)
	}
	var exported string
	for wait := bound; wait > 0 && !strings.Contains(exported, "fanfare_closes_total{"); wait -= pollEvery {
		exported = string(get(t, "http://"+p.api+"/metrics"))
	}
	pem := filepath.Join(t.TempDir(), "site.pem")
	certificate(t, pem)
	exported += string(get(t, "http://"+startServer(t, nil, "--tls-cert="+pem, "--tls-key="+pem).api+"/metrics"))
	known := make(map[[2]string]bool) // names recur, and the search is slow
	has := func(name, label string) (found bool) {
		if found, ok := known[[2]string{name, label}]; ok {
			return found
		}
		defer func() { known[[2]string{name, label}] = found }()
		pattern := `(?m)^` + name + `(\{| )`
		if label != "" {
			pattern = `(?m)^` + name + `\{([^}]*,)?` + label + `="`
		}
		return regexp.MustCompile(pattern).MatchString(exported)
	}
	const ofPrometheus = " job instance " // labels that the scrape adds
	for where, expr := range expressions(t) {
		for _, name := range metricName.FindAllString(expr, -1) {
			if !has(name, "") {
				t.Errorf("%s: %s is not a metric", where, name)
			}
		}
		check := func(name, label string) {
			if label = strings.TrimSpace(label); !strings.Contains(ofPrometheus, " "+label+" ") && !has(name, label) {
				t.Errorf("%s: %s has no label %s", where, name, label)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				check(m[1], l[1])
			}
		}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(m[1], ",") {
				check(m[2], label)
			}
		}
	}
}

// TestDeployRules checks the rules with promtool, runs their tests, and checks the
// expressions of the dashboard as if they were rules.
func TestDeployRules(t *testing.T) {
	withoutRace(t)
	promtool := installed(t, "promtool", "prometheus")
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	board := group{Name: "dashboard"}
	for where, expr := range expressions(t) {
		if strings.HasPrefix(where, "panel ") {
			board.Rules = append(board.Rules, rule{"a:b:" + regexp.MustCompile(`\W`).ReplaceAllString(where, "_"), strings.ReplaceAll(expr, "$__rate_interval", "5m")})
		}
	}
	text, err := yaml.Marshal(map[string][]group{"groups": {board}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"},
		{"check", "config", "--syntax-only", "prometheus.yml"}, {"check", "rules", file},
	} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = filepath.Join(deployDir, "monitoring")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}
