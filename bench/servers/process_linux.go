package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fanfare/bench/proc"

	"github.com/valyala/fasthttp"
)

// A Server is a running server.
type Server struct {
	Spec   Spec
	Listen netip.AddrPort
	API    string // base URL; empty where there is none
	Key    string // of the API; may be empty
	scheme string // before the key

	dir     string  // of its files, removed by Stop; may be empty
	backend Backend // of a Product; nil: commonAPI

	credentials Credentials

	withTLS bool
	path    string // request target of all connections; empty: each scenario has its own
	pid     int    // 0 where it is not known
	http    *fasthttp.Client

	apiConns atomic.Int32  // open connections to the API
	slots    chan struct{} // for calls, set by Connect; nil: any number at a time

	// Of a server that Start started:
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when the process has ended
}

// Start starts a server on free loopback ports, with the given ping interval, and waits until it is ready.
func Start(ctx context.Context, spec Spec, ping time.Duration) (*Server, error) {
	return StartWithKey(ctx, spec, ping, "")
}

// StartWithKey starts a server as Start does, with an API that requires a key.
func StartWithKey(ctx context.Context, spec Spec, ping time.Duration, key string) (*Server, error) {
	return start(ctx, spec, ping, key, false)
}

// StartTLS starts a server as Start does, with a new certificate.
func StartTLS(ctx context.Context, spec Spec, ping time.Duration) (*Server, error) {
	return start(ctx, spec, ping, "", true)
}

func start(ctx context.Context, spec Spec, ping time.Duration, key string, withTLS bool) (*Server, error) {
	if spec.Target != nil {
		return spec.Target.open(ctx, spec)
	}
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	api, err := freePort()
	if err != nil {
		return nil, err
	}
	at := Addresses{Listen: listen.String(), API: api.String()}
	if spec.Product != nil {
		key = apiKey
	}
	credentials, err := spec.prepare(&at, ping)
	if err != nil {
		return nil, err
	}
	if withTLS {
		if err := at.writeCertificate(); err != nil {
			os.RemoveAll(at.Dir)
			return nil, err
		}
	}
	argv := spec.Args(at, ping)
	s := &Server{
		Spec: spec, Listen: listen, Key: key, scheme: "Bearer ", API: "http://" + api.String(), http: newAPIClient(),
		dir: at.Dir, withTLS: withTLS, credentials: credentials,
		cmd: exec.Command(argv[0], argv[1:]...), log: new(tail), done: make(chan struct{}),
	}
	s.http.Dial = s.dialAPI
	s.cmd.Env = proc.Environ(spec.Debug)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	// A process group of its own, so that Ctrl-C reaches the parent only. The server ends with the parent.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.removeFiles()
		return nil, fmt.Errorf("servers: %s: %w", spec.Name, err)
	}
	s.pid = s.cmd.Process.Pid
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	if spec.Product != nil {
		if s.backend, err = spec.Product.Backend(s); err != nil {
			s.Stop()
			return nil, err
		}
	}
	if err := s.ready(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// startTime is the time limit for a server to become ready.
const startTime = 30 * time.Second

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := s.api().Ready(ctx)
		if err == nil {
			// Some servers start their API first.
			var c net.Conn
			if c, err = net.Dial("tcp", s.Listen.String()); err == nil {
				c.Close()
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("servers: %s ended: %v: %s", s.Spec.Name, s.cmd.ProcessState, s.log)
		case <-ctx.Done():
			return fmt.Errorf("servers: %s is not ready after %v: %w: %s", s.Spec.Name, startTime, err, s.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// PID returns the process number, or 0 if it is unknown.
func (s *Server) PID() int { return s.pid }

// Path returns the request target to use where a scenario has path, of a stream of events or of a WebSocket.
func (s *Server) Path(path string, events bool) string {
	if p := s.Spec.Product; p != nil {
		if events || p.Path == "" {
			return p.Events
		}
		return p.Path
	}
	if s.path != "" {
		return s.path
	}
	if s.credentials.Token != nil {
		return strings.Replace(path, "user={user}", "token={token}", 1)
	}
	return path
}

// Log returns the end of the server's output.
func (s *Server) Log() string {
	if s.log == nil {
		return ""
	}
	return s.log.String()
}

// Stop ends a server that Start started, with SIGTERM, and after 15 seconds with SIGKILL.
func (s *Server) Stop() {
	s.http.CloseIdleConnections()
	if s.cmd == nil {
		return
	}
	defer s.removeFiles()
	s.api().Close()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		return
	case <-time.After(15 * time.Second):
	}
	s.cmd.Process.Kill()
	<-s.done
}

// freePort returns a free port below the range that the kernel gives to clients (ip_local_port_range begins at 32768), so that
// no client connection takes it before the server does.
func freePort() (netip.AddrPort, error) {
	for range 100 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20000+rand.IntN(12000)))
		l, err := net.Listen("tcp4", addr.String())
		if err == nil {
			l.Close()
			return addr, nil
		}
	}
	return netip.AddrPort{}, errors.New("servers: found no free port from 20000 to 32000")
}

// A tail keeps the last bytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
