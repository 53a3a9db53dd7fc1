package keeper

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"fanfare/cmd/fanfare/internal/upgrade"
)

// variable tells a process that a keeper has started it: the process ID of that. It is removed
// at the start.
const variable = "FANFARE_KEEPER"

// The descriptors of the server follow those of package upgrade.
const (
	socketFD = upgrade.FirstFD + iota
	memoryFD
)

// Kept is what a server needs for keep.Serve.
type Kept struct {
	Socket *net.UnixConn
	Memory *os.File
}

// Inherit returns what the keeper of this process has given it; nil if there is none.
func Inherit() (*Kept, error) {
	value, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(variable)
	if pid, err := strconv.Atoi(value); err != nil || pid != os.Getppid() {
		return nil, fmt.Errorf("keeper: %s is %q, which is not the parent process: unset it", variable, value)
	}
	c, err := upgrade.ConnOf(socketFD)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	return &Kept{c, os.NewFile(memoryFD, "marks")}, nil
}
