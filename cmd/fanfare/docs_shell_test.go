package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanfare/cmd/fanfare/internal/settings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// The programs that documents call are this test binary, by wrappers in the PATH. They
// ask the test to run servers in the background, so that one is stopped before
// another is started at the same address, and all of them when the test ends.
const (
	beTool      = "BE_DOCS_TOOL" // fanfare, nats-server
	toolControl = "DOCS_CONTROL" // the test's socket
	beNATS      = "BE_DOCS_NATS" // run a NATS server
	pollEvery   = 20 * time.Millisecond
)

func init() {
	if os.Getenv(beNATS) != "" {
		os.Exit(runNATS(os.Args[1:]))
	}
	switch tool := os.Getenv(beTool); {
	case tool == "fanfare" && (len(os.Args) < 2 || os.Args[1] != "serve"):
		os.Exit(run(os.Args[1:]))
	case tool != "":
		os.Exit(askTest(tool))
	}
}

// start is what a wrapper asks of the test; the answer is an error, or nothing.
type start struct {
	Tool      string
	Args, Env []string
}

func askTest(tool string) int {
	c, err := net.Dial("unix", os.Getenv(toolControl))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	ask := start{tool, os.Args[1:], slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, beTool) })}
	if err := json.NewEncoder(c).Encode(ask); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) > 0 {
		fmt.Fprintf(os.Stderr, "%s%v\n", answer, err)
		return 1
	}
	return 0
}

// roomForStreams is what NATS servers of tests grant to streams, in bytes. Without it a server
// grants three quarters of what is free on the disk of this machine.
const roomForStreams = 64 << 30

// runNATS is the command nats-server, until SIGTERM.
func runNATS(args []string) int {
	opts, err := natsserver.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError), args, nil, nil, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if opts.JetStreamMaxStore <= 0 {
		opts.JetStreamMaxStore = roomForStreams
	}
	if err := natsserver.Run(must(natsserver.NewServer(opts))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {} // signals end it
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

// shell runs the commands of one document: all in one directory, with the ports of the
// document replaced by free ones.
type shell struct {
	t       *testing.T
	dir     string
	ports   *strings.Replacer
	env     []string
	mu      sync.Mutex
	running map[string]*running // by address; guarded by mu
}

// running is a server in the background.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// docPorts are those in the documents.
var docPorts = []string{"8080", "8081", "8090", "8091", "4222"}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, tool := range []string{"curl", "openssl", "bash"} {
		installed(t, tool, tool)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sh := &shell{t: t, dir: t.TempDir(), running: make(map[string]*running)}
	// A Unix socket's path is short; that of a test's directory may not be.
	sockets, err := os.MkdirTemp("", "docs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	control := filepath.Join(sockets, "control")
	sh.listen(control)

	var pairs []string
	free := freePorts(t, len(docPorts))
	for i, port := range docPorts {
		pairs = append(pairs, port, free[i])
	}
	sh.ports = strings.NewReplacer(pairs...)
	bin := filepath.Join(sh.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"fanfare":     beTool + "=fanfare exec '" + self + "' \"$@\"",
		"nats-server": beTool + "=nats-server exec '" + self + "' \"$@\"",
		"curl":        "exec " + must(exec.LookPath("curl")) + " -sS --fail-with-body --max-time 30 \"$@\"",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, settings.EnvPrefix) && name != "GOMEMLIMIT" && name != "STATE_DIRECTORY" && name != "XDG_STATE_HOME" {
			sh.env = append(sh.env, e)
		}
	}
	sh.env = append(sh.env, "PATH="+bin+":"+os.Getenv("PATH"), toolControl+"="+control, "GORACE=atexit_sleep_ms=0", "HOME="+sh.dir,
		"FANFARE_LISTEN="+sh.ports.Replace("127.0.0.1:8080"), "FANFARE_API="+sh.ports.Replace("127.0.0.1:8081"))
	t.Cleanup(func() {
		for _, at := range slices.Sorted(maps.Keys(sh.running)) { // NATS may be the last one, its clients give up
			sh.stop(at)
		}
	})
	return sh
}

// freePorts returns ports on which nothing listens, below those that the kernel gives to
// outgoing connections and to listeners that want any.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for tries := 0; len(ports) < n; tries++ {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil && tries > 100 {
			t.Fatal(err)
		}
		if err == nil {
			defer l.Close() // all of them together, so that they differ
			ports = append(ports, port)
		}
	}
	return ports
}

// listen serves the wrappers.
func (sh *shell) listen(control string) {
	l, err := net.Listen("unix", control)
	if err != nil {
		sh.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				var s start
				err := json.NewDecoder(c).Decode(&s)
				if err == nil {
					err = sh.start(s)
				}
				if err != nil {
					fmt.Fprintln(c, err)
				}
			})
		}
	})
	sh.t.Cleanup(func() { l.Close(); serving.Wait() })
}

func (sh *shell) start(s start) error {
	address := sh.ports.Replace("127.0.0.1:4222")
	env, ready := beNATS+"=1", "http://"+sh.ports.Replace("127.0.0.1:8081")+"/readyz"
	if s.Tool == "fanfare" {
		address, env = sh.ports.Replace("127.0.0.1:8081"), beProgram+"=1"
		for i, arg := range s.Args {
			if arg == "--api" && i+1 < len(s.Args) {
				address = s.Args[i+1]
			}
		}
		ready = "http://" + address + "/readyz"
	}
	sh.stop(address)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, s.Args...)
	cmd.Dir, cmd.Env = sh.dir, append(s.Env, env)
	log, err := os.CreateTemp(sh.t.TempDir(), s.Tool)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	r := &running{cmd, make(chan struct{})}
	go func() {
		defer close(r.ended)
		cmd.Wait()
	}()
	sh.mu.Lock()
	sh.running[address] = r
	sh.mu.Unlock()
	for wait := bound; wait > 0 && r.runs(); wait -= pollEvery {
		if s.Tool == "fanfare" && status(ready) == http.StatusOK || s.Tool != "fanfare" && reachable(address) {
			return nil
		}
		time.Sleep(pollEvery)
	}
	text, _ := os.ReadFile(log.Name())
	return fmt.Errorf("%s %q is not ready: %s", s.Tool, s.Args, text)
}

func (sh *shell) stop(address string) {
	sh.mu.Lock()
	r := sh.running[address]
	delete(sh.running, address)
	sh.mu.Unlock()
	if r == nil {
		return
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(bound, func() { r.cmd.Process.Kill() })
	defer late.Stop()
	<-r.ended
}

func (r *running) runs() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// status of a GET, 0 without an answer.
func status(url string) int {
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func reachable(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// get returns the body of an answer with status 200.
func get(t *testing.T, url string) []byte {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: bound}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s %v", url, resp.Status, body, err)
	}
	return body
}

// connectAlice makes sure that alice has a session, subscribed to weather, where the
// server lets her: the documents' first example is a push to her.
func (sh *shell) connectAlice() {
	base := sh.ports.Replace("127.0.0.1:8080")
	var user struct{ Online bool }
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get(sh.ports.Replace("http://127.0.0.1:8081/v1/users/alice"))
	if err != nil {
		sh.t.Fatal(err)
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&user); user.Online || resp.StatusCode != http.StatusOK {
		return
	}
	c, _, _, err := ws.Dial(sh.t.Context(), "ws://"+base+"/ws?user=alice&topic=weather")
	var rejected ws.StatusError
	if errors.As(err, &rejected) {
		return // she has no token
	}
	if err != nil {
		sh.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // pings are answered, and messages read
		defer close(done)
		for {
			if _, _, err := wsutil.ReadServerData(c); err != nil {
				return
			}
		}
	}()
	sh.t.Cleanup(func() { c.Close(); <-done })
	for _, node := range sh.nodes() { // all of which find out by and by
		waitOnline(sh.t, node, "alice")
	}
}

// nodes are the addresses of the APIs of running servers.
func (sh *shell) nodes() []string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(sh.running)), func(at string) bool { return at == sh.ports.Replace("127.0.0.1:4222") })
}

// run returns the output of a block.
func (sh *shell) run(b *block) (string, error) {
	ctx, cancel := context.WithTimeout(sh.t.Context(), 2*bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -eo pipefail\n"+sh.ports.Replace(b.text))
	cmd.WaitDelay = time.Second
	cmd.Dir, cmd.Env = sh.dir, sh.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w\n%s\n%s%s", err, b.text, &stdout, &stderr)
	}
	return stdout.String(), err
}
