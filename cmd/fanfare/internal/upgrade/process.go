package upgrade

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// variable tells a process that it replaces another one: the process ID of that. It follows
// the form of LISTEN_PID, and is removed at the start.
const variable = "FANFARE_UPGRADE_OF"

// The descriptors of the new process: exec.Cmd numbers ExtraFiles from 3 on.
const (
	peerFD     = 3
	sessionsFD = 4
	FirstFD    = 5 // of Extra
)

// Process is the new process, as the old one sees it.
type Process struct {
	Peer
	Sessions *net.UnixConn // for Server.HandOver
	cmd      *exec.Cmd
	done     chan struct{}
	err      error // of Wait; valid when done is closed
}

// Extra is what a new process gets besides.
type Extra struct {
	Files []*os.File // from FirstFD on
	Env   []string
}

// Start starts the program at path with the arguments of this process.
func Start(path string, args []string, with Extra) (*Process, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	sessions, theirSessions, err := pair()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, err
	}
	defer theirs.Close()
	defer theirSessions.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append([]*os.File{theirs, theirSessions}, with.Files...)
	cmd.Env = append(append(environ(os.Environ()), variable+"="+strconv.Itoa(os.Getpid())), with.Env...)
	if err := cmd.Start(); err != nil {
		ours.Close()
		sessions.Close()
		return nil, fmt.Errorf("upgrade: cannot start %s: %w", path, err)
	}
	p := &Process{Peer: Peer{conn: ours}, Sessions: sessions, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// environ is the environment of the new process: not what concerns one process only
// (sd_listen_fds(3), sd_watchdog_enabled(3)).
func environ(all []string) (kept []string) {
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", variable:
		default:
			kept = append(kept, v)
		}
	}
	return kept
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process, and returns how it ended when it has.
func (p *Process) Kill() error {
	p.Peer.Close()
	p.Sessions.Close()
	p.cmd.Process.Kill()
	<-p.done
	return p.err
}

// Release lets the process go on without this one.
func (p *Process) Release() { p.Peer.Close() }

// Predecessor is the old process, as the new one sees it.
type Predecessor struct {
	Peer
	Sessions *net.UnixConn // for Server.TakeOver
	pid      int
}

// Inherit returns the process that this one replaces; nil if there is none.
func Inherit() (*Predecessor, error) {
	value, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(variable)
	pid, err := strconv.Atoi(value)
	if err != nil || pid != os.Getppid() {
		return nil, fmt.Errorf("upgrade: %s is %q, which is not the parent process: unset it", variable, value)
	}
	p := &Predecessor{pid: pid}
	if p.conn, err = ConnOf(peerFD); err == nil {
		p.Sessions, err = ConnOf(sessionsFD)
	}
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return p, nil
}

// Alive reports whether the old process has not ended.
func (p *Predecessor) Alive() bool { return os.Getppid() == p.pid }

// ConnOf returns the connection on a descriptor, which it closes.
func ConnOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "upgrade")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("the descriptor is not a Unix socket")
	}
	return u, nil
}

// pair returns a connection, and its other end for another process.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, true)
	}
	theirs := os.NewFile(uintptr(fds[1]), "upgrade")
	ours, err := ConnOf(fds[0])
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}
