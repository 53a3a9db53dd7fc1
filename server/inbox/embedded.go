package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/publisher"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// embedded is a NATS server in this process, which listens on nothing, and what
// belongs to its directory.
type embedded struct {
	// Immutable.
	dir     string
	opts    natsserver.Options
	log     *natsLog
	account *account.Account
	boot    string
	reserve *datadir.Reserve

	// shutdown ends a server and returns when it has ended; tests have it hang.
	shutdown func(*natsserver.Server)
	patience time.Duration // Config.StopTimeout

	// Owned by Open and then by the goroutine of heal.
	lock     *os.File      // nil: not acquired
	stopping chan struct{} // closed when a server that is shut down has ended; nil: none is

	publishers [subject.Kinds]*publisher.Publisher
	blocks     [subject.Kinds]account.BlockWatch

	// deleting is held by deletions. The reserve is not written meanwhile: an attempt on a
	// disk that is almost full takes the room of their tombstones. A leaf.
	deleting sync.RWMutex

	mu sync.Mutex
	ns *natsserver.Server // nil: not started; guarded by mu
}

// startTimeout bounds the recovery of the files: 100 million messages take less.
const startTimeout = 5 * time.Minute

// maxPayload of the embedded server; NATS advises against more.
const maxPayload = 8 << 20

func newEmbedded(cfg *Config) *embedded {
	e := &embedded{
		shutdown: func(ns *natsserver.Server) {
			ns.Shutdown()
			ns.WaitForShutdown()
		},
		patience: cfg.StopTimeout,
		dir:      cfg.Dir,
		log:      &natsLog{log: cfg.Logger, failed: make(chan string, 1)},
		account:  account.New(cfg.Dir, cfg.Sync < 0),
		boot:     bootOfMachine(),
		reserve:  datadir.NewReserve(cfg.Dir),
		opts: natsserver.Options{
			ServerName:             "fanfare",
			DontListen:             true,
			NoSigs:                 true,
			DisableJetStreamBanner: true,
			JetStream:              true,
			StoreDir:               cfg.Dir,
			// Each stream has a limit of its own.
			JetStreamMaxStore:  math.MaxInt64 / 2,
			JetStreamMaxMemory: 1 << 20, // no stream is in memory
			MaxPayload:         maxPayload,
			SyncInterval:       max(cfg.Sync, 0),
			SyncAlways:         cfg.Sync < 0,
			PingInterval:       noPings,
		},
	}
	for k := range e.publishers {
		e.publishers[k] = publisher.New(e.InProcessConn, cfg.Timeout)
	}
	return e
}

// noPings keeps the server from sending pings, which a publisher does not read while it has
// nothing to publish. Connections within a process do not break.
const noPings = 10 * 365 * 24 * time.Hour

// acquire makes the directory, and locks it for this process.
func (e *embedded) acquire() (err error) {
	if e.lock != nil {
		return nil
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return field.Wrapf("inbox: %w", err)
	}
	e.lock, err = datadir.LockDir(filepath.Join(e.dir, account.LockName))
	return err
}

// InProcessConn is how NATS's client connects, also to a server that was started
// again.
func (e *embedded) InProcessConn() (net.Conn, error) {
	ns := e.server()
	if ns == nil {
		return nil, net.ErrClosed
	}
	return ns.InProcessConn()
}

func (e *embedded) server() *natsserver.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ns
}

// start starts a server on the files.
func (e *embedded) start() error {
	if err := e.stop(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	for k := range e.blocks {
		e.blocks[k].Reset()
	}
	opts := e.opts // the server keeps what it is given, and changes that
	ns, err := natsserver.NewServer(&opts)
	if err != nil {
		return field.Wrapf("inbox: %w", err)
	}
	ns.SetLoggerV2(e.log, false, false, false)
	e.mu.Lock()
	e.ns = ns
	e.mu.Unlock()
	e.log.fatal.Store(false)
	ns.Start()
	// A server that has reported a fatal error expects the end of the process, and is never ready.
	if e.log.fatal.Load() || !ns.ReadyForConnections(startTimeout) || !ns.JetStreamEnabled() {
		says := e.log.worst()
		e.stop()
		if datadir.IsDiskFull(says) {
			return datadir.DiskFull(e.dir)
		}
		return fmt.Errorf("%w: the store in %s does not start: %s", store.ErrUnavailable, e.dir, says)
	}
	return nil
}

// errHangs reports that the embedded server does not stop. No other one may be started on
// its files: the server has them open, and its timers go on writing to them.
var errHangs = errors.New("the embedded NATS server hangs")

// stop stops the server, which flushes all files. It returns errHangs if the server does
// not stop in time; another call finds out whether it has stopped since.
func (e *embedded) stop() error {
	e.mu.Lock()
	ns := e.ns
	e.ns = nil
	e.mu.Unlock()
	patience := e.patience
	if ns != nil {
		for _, p := range e.publishers {
			p.Disconnect()
		}
		done := make(chan struct{})
		e.stopping = done
		go func() {
			defer close(done)
			e.shutdown(ns)
		}()
	} else if e.stopping != nil {
		patience = 0 // an earlier call has waited
	}
	if e.stopping != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-e.stopping:
			e.stopping = nil
		case <-timer.C:
			return errHangs
		}
	}
	select {
	case <-e.log.failed: // reported by the server that was stopped
	default:
	}
	return nil
}

// release gives the directory up. If the server hangs, the directory stays locked for as
// long as the process lives.
func (e *embedded) release() {
	if e.stop() != nil {
		return
	}
	e.account.Close()
	if e.lock != nil {
		e.lock.Close()
		e.lock = nil
	}
}

// flush syncs appended messages to disk, and then the account. The time now decides
// which files may have been written of late.
func (e *embedded) flush(now time.Time) error {
	size, durable := e.account.Sizes()
	if size == durable {
		return nil
	}
	for k := range subject.Ack {
		if err := account.SyncBlocks(e.dir, k, now); err != nil {
			return err
		}
	}
	if _, err := e.account.Sync(); err != nil {
		return err
	}
	e.account.SetDurable(size)
	return nil
}

// bootOfMachine is datadir.BootID; tests restart the machine.
var bootOfMachine = datadir.BootID

// markUsed marks the lock file and, if it exists, the reserve.
func (e *embedded) markUsed() error {
	e.reserve.Used = true
	reserve, err := os.OpenFile(e.reserve.File, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(account.WriteUsedMark(reserve), reserve.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return account.WriteUsedMark(e.lock)
}

// natsLog passes on the warnings of the embedded server, and remembers the last.
type natsLog struct {
	log    *slog.Logger
	failed chan string // reason why a stream stopped for good
	fatal  atomic.Bool // the server that was started last cannot go on

	mu   sync.Mutex
	last string // guarded by mu
}

func (l *natsLog) Noticef(string, ...any) {}
func (l *natsLog) Debugf(string, ...any)  {}
func (l *natsLog) Tracef(string, ...any)  {}

func (l *natsLog) Warnf(format string, args ...any)  { l.note(slog.LevelWarn, format, args) }
func (l *natsLog) Errorf(format string, args ...any) { l.note(slog.LevelError, format, args) }

func (l *natsLog) Fatalf(format string, args ...any) {
	level := slog.LevelError
	if l.worst() == says(fmt.Sprintf(format, args...)) {
		level = slog.LevelDebug // another attempt to start failed as the one before
	}
	l.note(level, format, args)
	l.fatal.Store(true)
}

func (l *natsLog) note(level slog.Level, format string, args []any) {
	s := fmt.Sprintf(format, args...)
	if strings.Contains(s, "metafile") || strings.Contains(s, "tream checksum file") {
		level = slog.LevelDebug // Check.Descriptions has it
	}
	l.log.Log(context.Background(), level, "embedded JetStream reports", "text", s)
	l.mu.Lock()
	l.last = s
	l.mu.Unlock()
	for _, end := range []string{"ritical write error", "will be DISABLED", "disabling JetStream"} {
		if strings.Contains(s, end) {
			select {
			case l.failed <- s:
			default:
			}
		}
	}
}

// worst returns the last warning.
func (l *natsLog) worst() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "JetStream gives no reason"
	}
	return says(l.last)
}

func says(text string) string { return "JetStream says: " + text }
