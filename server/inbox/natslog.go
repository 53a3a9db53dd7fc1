package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// natsLog passes on the warnings of the embedded server, and remembers the last.
type natsLog struct {
	log    *slog.Logger
	failed chan string // reason why a stream stopped for good

	mu   sync.Mutex
	last string // guarded by mu
}

func (l *natsLog) Noticef(string, ...any) {}
func (l *natsLog) Debugf(string, ...any)  {}
func (l *natsLog) Tracef(string, ...any)  {}

func (l *natsLog) Warnf(format string, args ...any)  { l.note(slog.LevelWarn, format, args) }
func (l *natsLog) Errorf(format string, args ...any) { l.note(slog.LevelError, format, args) }
func (l *natsLog) Fatalf(format string, args ...any) { l.note(slog.LevelError, format, args) }

func (l *natsLog) note(level slog.Level, format string, args []any) {
	s := fmt.Sprintf(format, args...)
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
	return "JetStream says: " + l.last
}
