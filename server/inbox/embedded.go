package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process. It listens on nothing.
type embedded struct {
	// Immutable.
	opts natsserver.Options
	lock *os.File
	log  *natsLog

	mu sync.Mutex
	ns *natsserver.Server // guarded by mu
}

// startTimeout bounds the recovery of the files: 100 million messages take less.
const startTimeout = 5 * time.Minute

func embed(cfg *Config) (*embedded, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	lock, err := lockDir(filepath.Join(cfg.Dir, "LOCK"))
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock, log: &natsLog{log: cfg.Logger, failed: make(chan string, 1)}}
	e.opts = natsserver.Options{
		ServerName:             "fanfare",
		DontListen:             true,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               cfg.Dir,
		// Acknowledgements and durable topics are beside the inboxes.
		JetStreamMaxStore:  3 * cfg.Disk,
		JetStreamMaxMemory: 1 << 20, // no stream is in memory
		MaxPayload:         maxPayload,
		SyncInterval:       max(cfg.Sync, 0),
		SyncAlways:         cfg.Sync < 0,
	}
	if err := e.start(); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *embedded) stop() {
	if ns := e.server(); ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
	e.lock.Close()
}

// maxPayload of the embedded server, above what server.Config.MaxPayload usually
// is; NATS advises against more.
const maxPayload = 8 << 20

// natsLog passes on what the embedded server has to say, as far as it matters,
// and remembers the last of it.
type natsLog struct {
	log    *slog.Logger
	failed chan string // what was said when a stream stopped for good

	mu   sync.Mutex
	last string // guarded by mu
}

func (l *natsLog) Noticef(string, ...any) {}
func (l *natsLog) Debugf(string, ...any)  {}
func (l *natsLog) Tracef(string, ...any)  {}
func (l *natsLog) Warnf(format string, args ...any) {
	l.note(slog.LevelWarn, format, args)
}
func (l *natsLog) Errorf(format string, args ...any) { l.note(slog.LevelError, format, args) }
func (l *natsLog) Fatalf(format string, args ...any) { l.note(slog.LevelError, format, args) }

func (l *natsLog) note(level slog.Level, format string, args []any) {
	s := fmt.Sprintf(format, args...)
	l.log.Log(context.Background(), level, "nats: "+s)
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

// worst is the last that was wrong.
func (l *natsLog) worst() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "NATS gives no reason"
	}
	return "NATS says: " + l.last
}
