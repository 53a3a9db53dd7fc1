package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// foreignTime bounds a client; a JVM on a busy machine needs a while.
const foreignTime = 2 * time.Minute

// WebSocket clients of other languages connect with each version of TLS. Each sends messages
// of several sizes, compares what comes back, and closes with 1000.
func TestTLSWebSocketClients(t *testing.T) {
	withoutRace(t)
	a := newAuthority(t)
	cert, key := a.pair("server", "localhost")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key)
	url := wss(p.public)
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		node := installed(t, "node", "nodejs")
		var flags []string
		if !hasWebSocket(node) {
			flags = []string{"--experimental-websocket"} // before version 22
		}
		for _, version := range []string{"--tls-max-v1.2", "--tls-min-v1.3"} {
			args := append(flags, "--no-warnings", version, "testdata/tls/client.mjs", url)
			runClient(t, []string{"NODE_EXTRA_CA_CERTS=" + a.file}, node, args...)
		}
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		python := python(t)
		for _, version := range []string{"1.2", "1.3"} {
			runClient(t, nil, python, "testdata/tls/client.py", url, a.file, version)
		}
	})
	t.Run("java", func(t *testing.T) {
		t.Parallel()
		java, err := exec.LookPath("java")
		if err != nil || exec.Command("javac", "-version").Run() != nil {
			t.Skip("a JDK is not installed")
		}
		runClient(t, nil, java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "testdata/tls/Client.java", url, a.file, "1.2", "1.3")
	})
}

// A client of another language shows its certificate.
func TestTLSWebSocketClientCertificate(t *testing.T) {
	withoutRace(t)
	python := python(t)
	a := newAuthority(t)
	cert, key := a.pair("server", "localhost")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+a.file)
	clientCert, clientKey := a.pair("client", "client.test")
	for _, version := range []string{"1.2", "1.3"} {
		runClient(t, nil, python, "testdata/tls/client.py", wss(p.public), a.file, version, clientCert, clientKey)
	}
	out, err := clientCommand(t, nil, python, "testdata/tls/client.py", wss(p.public), a.file, "1.3").CombinedOutput()
	if err == nil || !strings.Contains(strings.ToLower(string(out)), "certificate required") {
		t.Errorf("without a certificate: %v: %s", err, out)
	}
}

// wss returns the URL of the echo endpoint. The certificate is for the name localhost.
func wss(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return "wss://localhost:" + port + "/echo"
}

func clientCommand(t *testing.T, env []string, program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), foreignTime)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func runClient(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	out, err := clientCommand(t, env, program, args...).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("%v: %v: %s", args, err, out)
	}
}

// installed returns the path of a program that make test installs.
func installed(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI has no %s: %v", program, err)
		}
		t.Skipf("%s is not installed: make test installs %s", program, pkg)
	}
	return path
}

// python returns a Python with the websockets library: the first one, or that of the system.
func python(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(program, "-c", "import websockets").Run() == nil {
			return program
		}
	}
	return installed(t, "python3 with websockets", "python3-websockets")
}
