package server

import (
	"fmt"
	"log/slog"
)

// fasthttpLog passes what fasthttp has to say on. It is about single requests
// of clients that break the protocol, so it is for those who look for it.
type fasthttpLog struct{ log *slog.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
