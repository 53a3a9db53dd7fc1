package api

import (
	"fmt"
	"log/slog"
)

// logger logs what fasthttp reports, at debug level because it concerns single requests of
// clients that break the protocol.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
