package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// deployDir has the files for operators.
const deployDir = docRoot + "/deploy"

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mostExposed is what systemd-analyze security may say, in tenths: it rates services from
// 0 (sealed) to 10, and calls up to 2 "OK".
const mostExposed = 20

// TestDeployUnits lets systemd judge the units: nothing in them is unknown, and the
// sandbox is tight.
func TestDeployUnits(t *testing.T) {
	withoutRace(t)
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("the units are not verified, systemd-analyze is not installed")
	}
	version, err := exec.Command(analyze, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(string(regexp.MustCompile(`\d+`).Find(version)))
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"fanfare.service", "fanfare.socket", "fanfare-api.socket"} {
		// The program need not be installed, but has to be a program.
		text := strings.ReplaceAll(readDeploy(t, "systemd/"+name), "/usr/local/bin/fanfare", must(os.Executable()))
		if number < 253 {
			text = strings.ReplaceAll(text, "Type=notify-reload\n", "Type=notify\n")
		}
		unit := filepath.Join(dir, name)
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	verify := func() string {
		out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	if out := verify(); out != "" {
		t.Errorf("systemd %d: %s", number, out)
	}
	security := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold="+strconv.Itoa(mostExposed), units[0])
	if out, err := security.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The test finds what it is for.
	if err := os.WriteFile(units[0], []byte("[Service]\nExecStart=/nowhere/fanfare\nLimitNOFIEL=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := verify(); !strings.Contains(out, "LimitNOFIEL") || !strings.Contains(out, "/nowhere/fanfare") {
		t.Errorf("a bad unit: %s", out)
	}
}

// TestDeploySockets: the names in the socket units are those that the program knows.
func TestDeploySockets(t *testing.T) {
	withoutRace(t)
	for unit, name := range map[string]string{"fanfare.socket": publicSocket, "fanfare-api.socket": apiSocket} {
		if text := readDeploy(t, "systemd/"+unit); !strings.Contains(text, "\nFileDescriptorName="+name+"\n") {
			t.Errorf("%s does not name %s", unit, name)
		}
	}
}

// TestDeployConfig checks the config file with the program.
func TestDeployConfig(t *testing.T) {
	withoutRace(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"fanfare.json": strings.ReplaceAll(readDeploy(t, "systemd/fanfare.json"), "/etc/fanfare", dir),
		"jwt-secret":   oldSecret,
		"api-keys":     oldKey,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := runProgram(t, "", nil, "check", "--config="+dir+"/fanfare.json"); r.code != exitOK || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if !bytes.Contains([]byte(readDeploy(t, "systemd/fanfare.service")), []byte("serve --config /etc/fanfare/fanfare.json\n")) {
		t.Error("the service does not use it")
	}
}
