package api

import (
	"fmt"
	"log/slog"
)

// logger logs what fasthttp reports. It is about single requests of clients that break the
// protocol, and so at debug level.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
