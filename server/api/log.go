package api

import (
	"fmt"
	"log/slog"
)

// logger passes what fasthttp has to say on. It is about single requests
// of clients that break the protocol, so it is for those who look for it.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
