package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process. It listens on nothing.
type embedded struct {
	ns   *natsserver.Server
	lock *os.File
	log  *natsLog
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
	e := &embedded{lock: lock, log: &natsLog{log: cfg.Logger}}
	opts := &natsserver.Options{
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
	if e.ns, err = natsserver.NewServer(opts); err != nil {
		lock.Close()
		return nil, fmt.Errorf("inbox: %w", err)
	}
	e.ns.SetLoggerV2(e.log, false, false, false)
	e.ns.Start()
	if !e.ns.ReadyForConnections(startTimeout) || !e.ns.JetStreamEnabled() {
		e.stop()
		return nil, fmt.Errorf("%w: the store in %s does not start: %s; restore it from a backup, or move it away to begin an empty one",
			ErrDamaged, cfg.Dir, e.log.worst())
	}
	return e, nil
}

func (e *embedded) stop() {
	e.ns.Shutdown()
	e.ns.WaitForShutdown()
	e.lock.Close()
}

// maxPayload of the embedded server, above what server.Config.MaxPayload usually
// is; NATS advises against more.
const maxPayload = 8 << 20

// natsLog passes on what the embedded server has to say, as far as it matters,
// and remembers the last of it.
type natsLog struct {
	log *slog.Logger

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
