package upgrade

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"fanfare/bench/servers"
)

// Options of Run.
type Options struct {
	Fanfare  string // the program; empty: it is built
	Sessions int
	TLS      bool // the sessions use TLS 1.3
	Upgrades int
	Faults   bool // every second upgrade fails, because the new process is killed at a random time
	Topics   int
	Every    time.Duration // between two messages of a topic
	Log      func(format string, args ...any)
}

// Result is what the clients noticed. Times are in milliseconds.
type Result struct {
	Sessions int      `json:"sessions"`
	TLS      bool     `json:"tls"`
	Upgrades int      `json:"upgrades"`
	Failed   int      `json:"failed"` // upgrades whose new process was killed before it had taken over
	Messages int      `json:"messages"`
	Usual    Pauses   `json:"usual"`   // the longest delay of each session in a second without an upgrade
	Pauses   []Pauses `json:"pauses"`  // the same during each upgrade
	Took     []int    `json:"took_ms"` // of each upgrade
	Faults   []string `json:"faults"`  // lost, doubled or reordered messages, disconnects, API errors
}

// Pauses are the longest delays of the sessions.
type Pauses struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Err returns an error if the clients noticed more than a delay.
func (r *Result) Err() error {
	if len(r.Faults) > 0 {
		return fmt.Errorf("upgrade: %d faults, the first: %s", len(r.Faults), r.Faults[0])
	}
	return nil
}

// Run starts a server, connects clients, and replaces the server.
func Run(ctx context.Context, o Options) (*Result, error) {
	dir, err := os.MkdirTemp("", "fanfare-upgrade-")
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	defer os.RemoveAll(dir)
	if o.Fanfare == "" {
		o.Fanfare = filepath.Join(dir, "fanfare")
		if err := servers.Build(ctx, o.Fanfare); err != nil {
			return nil, err
		}
	}
	s, err := startServer(dir, &o)
	if err != nil {
		return nil, err
	}
	defer s.end()
	clients, err := connectAll(s, &o)
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	o.Log("%d sessions are connected", len(clients))
	receivers := make([]int, o.Topics)
	for _, c := range clients {
		receivers[c.topic]++
	}
	p := newPusher(s.api, o.Topics, o.Every, receivers)
	r := &Result{Sessions: o.Sessions, TLS: o.TLS, Faults: []string{}}
	time.Sleep(2 * time.Second)
	pauses(clients)
	time.Sleep(time.Second)
	r.Usual = pauses(clients)
	for i := range o.Upgrades {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		out, err := s.upgrade(ctx, o.Faults && i%2 == 1)
		took := time.Since(began)
		time.Sleep(2 * o.Every)
		pause := pauses(clients)
		r.Pauses, r.Took = append(r.Pauses, pause), append(r.Took, int(took.Milliseconds()))
		r.Upgrades++
		if err != nil {
			r.Failed++
		}
		if err != nil && !o.Faults {
			r.Faults = append(r.Faults, err.Error())
		}
		o.Log("upgrade %d: %s; pause p50 %.0f ms, p99 %.0f ms, max %.0f ms", i+1, out, pause.P50, pause.P99, pause.Max)
	}
	counts, faults := p.stop()
	r.Faults = append(r.Faults, faults...)
	deadline := time.Now().Add(10 * time.Second)
	for _, c := range clients {
		for got, fault := c.state(); got < counts[c.topic] && fault == "" && time.Now().Before(deadline); got, fault = c.state() {
			time.Sleep(10 * time.Millisecond)
		}
		got, fault := c.state()
		if fault == "" && got != counts[c.topic] {
			fault = fmt.Sprintf("a session of topic %d got %d of %d messages", c.topic, got, counts[c.topic])
		}
		if fault != "" {
			r.Faults = append(r.Faults, fault)
		}
	}
	for _, n := range counts {
		r.Messages += n
	}
	return r, nil
}

// pauses returns the longest delays of the clients since the last call.
func pauses(clients []*client) Pauses {
	all := make([]float64, len(clients))
	for i, c := range clients {
		all[i] = float64(c.takeLongest().Microseconds()) / 1000
	}
	slices.Sort(all)
	return Pauses{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

func connectAll(s *server, o *Options) ([]*client, error) {
	clients := make([]*client, o.Sessions)
	var failed error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < o.Sessions; i += 32 {
				c, err := connect(s.public, o.TLS, "u"+strconv.Itoa(i), i%o.Topics)
				mu.Lock()
				clients[i] = c
				if err != nil {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(clients, func(c *client) bool { return c == nil }), failed
}

// server is the process that serves now.
type server struct {
	program, dir string
	public, api  string
	sessions     int
	pid          int
	log          string
}

func startServer(dir string, o *Options) (*server, error) {
	s := &server{program: o.Fanfare, dir: dir, sessions: o.Sessions, log: filepath.Join(dir, "log")}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"), "--control", s.control(),
		"--handshake-rate", "1000000", "--max-connections", strconv.Itoa(o.Sessions + 1000), "--drain-timeout", "10s"}
	if o.TLS {
		cert, key, err := certificate(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(s.program, args...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	s.pid = cmd.Process.Pid
	go cmd.Wait()
	serving := regexp.MustCompile(`msg=serving .*listen=https?://([^/]+)/.* api=http://([^/]+)/`)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(s.log)
		if m := serving.FindSubmatch(text); m != nil {
			s.public, s.api = string(m[1]), string(m[2])
			return s, nil
		}
	}
	s.end()
	return nil, errors.New("upgrade: the server does not start")
}

func (s *server) control() string { return filepath.Join(s.dir, "control") }

// upgrade replaces the process. With fault the new process is killed at a random time.
func (s *server) upgrade(ctx context.Context, fault bool) (out string, err error) {
	cmd := exec.CommandContext(ctx, s.program, "upgrade", "--control", s.control())
	over := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		if fault {
			s.killSuccessor(over)
		}
	}()
	text, err := cmd.CombinedOutput()
	close(over)
	<-killed
	out = strings.TrimSpace(string(text))
	if err != nil {
		return out, fmt.Errorf("upgrade: %w: %s", err, out)
	}
	if _, err := fmt.Sscanf(out, "process %d,", &s.pid); err != nil {
		return out, fmt.Errorf("upgrade: unexpected output %q", out)
	}
	return out, nil
}

// killSuccessor kills the child of the server, unless it has taken over sessions.
func (s *server) killSuccessor(over <-chan struct{}) {
	wait, _ := rand.Int(rand.Reader, big.NewInt(150))
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
		}
		if pid, ok := firstChild(s.pid); ok {
			time.Sleep(time.Duration(wait.Int64()) * time.Millisecond)
			select {
			case <-over:
				return
			default:
			}
			// A process that has taken over sessions must not be killed. While it is stopped no further
			// session moves, and the old process still has the descriptors of all that remain.
			syscall.Kill(pid, syscall.SIGSTOP)
			time.Sleep(50 * time.Millisecond)
			if left, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid)); len(left) >= s.sessions {
				syscall.Kill(pid, syscall.SIGKILL)
			} else {
				syscall.Kill(pid, syscall.SIGCONT)
			}
			return
		}
	}
}

// firstChild returns a child of any thread of the process.
func firstChild(pid int) (child int, ok bool) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				return child, true
			}
		}
	}
	return 0, false
}

func (s *server) end() {
	syscall.Kill(s.pid, syscall.SIGTERM)
	for end := time.Now().Add(15 * time.Second); syscall.Kill(s.pid, 0) == nil && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	syscall.Kill(s.pid, syscall.SIGKILL)
}

// certificate writes a certificate that signs itself.
func certificate(dir string) (cert, key string, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("upgrade: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return "", "", fmt.Errorf("upgrade: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return "", "", fmt.Errorf("upgrade: %w", err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
}
