package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// backend answers the connect hook, and counts.
type backend struct {
	url    string
	calls  atomic.Int64
	server *http.Server
}

func startBackend(takes time.Duration) (*backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("storm: backend: %w", err)
	}
	b := &backend{url: "http://" + l.Addr().String() + "/connect"}
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		var q struct{ Query map[string][]string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Query["user"]) != 1 {
			http.Error(w, "want one user", http.StatusBadRequest)
			return
		}
		time.Sleep(takes)
		json.NewEncoder(w).Encode(map[string]any{"user": q.Query["user"][0], "topics": []string{"news", "chat.*"}})
	})}
	go b.server.Serve(l)
	return b, nil
}

func (b *backend) close() { b.server.Close() }

// cluster is two nodes that share a NATS server.
type cluster struct {
	nats *process
	a, b *process
}

func (c *cluster) end() {
	for _, p := range []*process{c.a, c.b, c.nats} {
		if p != nil {
			p.kill()
		}
	}
}

func startCluster(ctx context.Context, o *Options, dir, hook string, tickets bool) (c *cluster, err error) {
	c = new(cluster)
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	secret, keys := filepath.Join(dir, "hook"), filepath.Join(dir, "tickets")
	for _, name := range []string{secret, keys} {
		if err := os.WriteFile(name, []byte(strings.Repeat("k", 44)+"\n"), 0o600); err != nil {
			return c, fmt.Errorf("storm: %w", err)
		}
	}
	port, err := freePort()
	if err != nil {
		return c, err
	}
	c.nats, err = start(ctx, dir, "nats", regexp.MustCompile(`Server is ready()()`), o.Programs.NATS, "-js", "-sd", filepath.Join(dir, "js"), "-a", "127.0.0.1", "-p", strconv.Itoa(port))
	if err != nil {
		return c, err
	}
	serving := regexp.MustCompile(`msg=serving .*listen=http://([^/]+)/.* api=http://([^/]+)/`)
	for _, node := range []struct {
		name string
		p    **process
	}{{"a", &c.a}, {"b", &c.b}} {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--nats", "nats://127.0.0.1:" + strconv.Itoa(port), "--node-name", node.name,
			"--echo", "--max-connections", strconv.Itoa(o.Sessions + o.Healthy + 100), "--control", "none",
			"--auth", "hook", "--connect-hook", hook, "--connect-hook-key-file", secret, "--connect-hook-query", "user"}
		if tickets {
			args = append(args, "--resume-tickets", keys)
		}
		if *node.p, err = start(ctx, dir, node.name, serving, o.Programs.Fanfare, args...); err != nil {
			return c, err
		}
	}
	return c, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("storm: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// process is a server that runs.
type process struct {
	cmd         *exec.Cmd
	public, api string
	ended       chan struct{}
}

// start waits until the log has ready, whose groups are the addresses.
func start(ctx context.Context, dir, name string, ready *regexp.Regexp, program string, args ...string) (*process, error) {
	file := filepath.Join(dir, name+".log")
	log, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	defer log.Close()
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	for ctx.Err() == nil {
		text, _ := os.ReadFile(file)
		if m := ready.FindSubmatch(text); m != nil {
			p.public, p.api = string(m[1]), string(m[2])
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("storm: %s has ended: %s", name, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.kill()
	return nil, errors.Join(fmt.Errorf("storm: %s does not start", name), ctx.Err())
}

// kill ends the process at once.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}
