package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composeFile is what this test needs to know of compose.yaml.
type composeFile struct {
	Services map[string]struct {
		Build       struct{ Context, Dockerfile string }
		Environment map[string]string
		Networks    []string
		Secrets     []string
		Volumes     []string
		Ports       []string
	}
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet string }
		}
	}
	Secrets map[string]struct{ File string }
}

// TestDeployCompose checks the environment of each node with the program, and that the
// parts of the file fit together.
func TestDeployCompose(t *testing.T) {
	withoutRace(t)
	var c composeFile
	if err := yaml.Unmarshal([]byte(readDeploy(t, "docker/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, text := range map[string]string{"jwt-secret": oldSecret, "api-keys": oldKey} {
		if c.Secrets[name].File != "./"+name {
			t.Errorf("the secret %s is not in the file %s", name, name)
		}
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var nodes []string
	for name, service := range c.Services {
		if service.Build.Dockerfile == "" {
			continue
		}
		nodes = append(nodes, name)
		if service.Environment["FANFARE_NODE_NAME"] != name || service.Environment["FANFARE_TRUSTED_PROXY"] != c.Networks["inside"].IPAM.Config[0].Subnet {
			t.Errorf("%s: %v", name, service.Environment)
		}
		if _, err := os.Stat(filepath.Join(deployDir, "docker", service.Build.Context, service.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
		var env []string
		for k, v := range service.Environment {
			env = append(env, k+"="+strings.ReplaceAll(v, "/run/secrets", secrets))
		}
		if r := runProgram(t, "", env, "check"); r.code != exitOK || r.stderr != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	slices.Sort(nodes)
	proxy := readDeploy(t, "docker/haproxy.cfg")
	var served []string
	for _, m := range regexp.MustCompile(`(?m)^    server (\w+) (\w+):(\d+)$`).FindAllStringSubmatch(proxy, -1) {
		if m[1] != m[2] {
			t.Errorf("the server %s is at %s", m[1], m[2])
		}
		served = append(served, m[3]+" "+m[1])
	}
	var want []string
	for _, port := range []string{"8080", "8081"} {
		for _, n := range nodes {
			want = append(want, port+" "+n)
		}
	}
	if !slices.Equal(served, want) || len(nodes) != 3 {
		t.Errorf("HAProxy serves %q, want %q", served, want)
	}

	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy.cfg is not checked, HAProxy is not installed")
	}
	if out, err := exec.Command(haproxy, "-c", "-q", "-f", filepath.Join(deployDir, "docker/haproxy.cfg")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
